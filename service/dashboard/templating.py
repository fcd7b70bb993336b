"""Templates: every value is escaped, an unknown name is an error, and no text can turn its own direction round."""

from __future__ import annotations

import re
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from service.alerts.past_answers import instant, micros
from service.alerts.priority import scheme
from service.dashboard.assets import address_of
from service.dashboard.casebook import as_reported

_INVISIBLE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]"
)
# Of the page being made: macros are imported without its values, and one process may serve several sites
_zone: ContextVar[tzinfo] = ContextVar("zone", default=UTC)
_MINUTE: Final = timedelta(minutes=1)
_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
_DAYS_SHOWN_AS_DAYS: Final = 99


def _finalise(value: Any) -> Any:
    """Take controls out of text that came from elsewhere: they could hide or turn round what is read."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return _INVISIBLE.sub("\N{REPLACEMENT CHARACTER}", value)
    return value


def how_long(microseconds: int, now: datetime) -> str:
    """The time between an instant of the store and now, as a pharmacist says it (``3 d``)."""
    span = abs(now - instant(microseconds))
    if span < _MINUTE:
        return "just now"
    if span < _HOUR:
        return f"{span // _MINUTE} min"
    if span < 2 * _DAY:
        return f"{span // _HOUR} h"
    if span.days <= _DAYS_SHOWN_AS_DAYS:
        return f"{span.days} d"
    return f"{span.days // 30} mo"


def span_words(microseconds: int) -> str:
    """A length of time as a person says it (``40 min``, ``5 h``)."""
    span = timedelta(microseconds=microseconds)
    if span < _HOUR:
        return f"{span // _MINUTE} min"
    return f"{span // _HOUR} h" if span < 2 * _DAY else f"{span.days} d"


def moment(microseconds: int) -> str:
    """An instant of the store as a day and a time in the zone of the site, which is named."""
    return instant(microseconds).astimezone(_zone.get()).strftime("%Y-%m-%d %H:%M %Z")


def told_moment(said: str) -> str:
    """A moment in ISO 8601, as runs keep theirs, as a day and a time in the zone of the site; "" stays ""."""
    return moment(micros(datetime.fromisoformat(said))) if said else ""


def day(at: datetime) -> str:
    """The day of an instant in the zone of the site."""
    return at.astimezone(_zone.get()).strftime("%Y-%m-%d")


def in_words(code: str) -> Markup:
    """A code of ours as words (``data-problem`` is ``data problem``)."""
    return escape(_finalise(code.replace("-", " ")))


def at_slashes(reference: str) -> Markup:
    """A reference that a narrow screen breaks behind its slashes, and not in the middle of an id."""
    return Markup("/<wbr>").join(_finalise(part) for part in reference.split("/"))


def stays(nonce: str, address: str) -> Markup:
    """Attributes of a form that is sent without leaving the page: what comes back takes the place of the content.

    Without JavaScript the form is sent as any other. htmx obeys no element that lacks the nonce of its page.
    """
    return Markup(
        'hx-post="{}" hx-target="#main" hx-select="#main" hx-swap="outerHTML" hx-replace-url="true" hx-nonce="{}"'
    ).format(address, nonce)


def turns(nonce: str) -> Markup:
    """Attributes of a link, or a form that asks, whose answer takes the place of the content, with its own address."""
    return Markup(
        'hx-boost="true" hx-target="#main" hx-select="#main" hx-swap="outerHTML" hx-nonce="{}"'
    ).format(nonce)


_environment = Environment(
    loader=PackageLoader("service.dashboard"),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=_finalise,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
_environment.globals["asset"] = address_of
_environment.globals["how_long"] = how_long
_environment.globals["span_words"] = span_words
_environment.globals["part_title"] = lambda code: scheme().titles.get(code, code)
_environment.globals["stays"] = stays
_environment.globals["turns"] = turns
_environment.filters["moment"] = moment
_environment.filters["told_moment"] = told_moment
_environment.filters["at_slashes"] = at_slashes
_environment.filters["day"] = day
_environment.filters["in_words"] = in_words
_environment.filters["as_reported"] = as_reported


def render(template: str, **values: Any) -> str:
    """A page as text; the zone of ``now`` is that of all its days and times."""
    now = values.get("now")
    _zone.set(now.tzinfo or UTC if isinstance(now, datetime) else UTC)
    return _environment.get_template(template).render(**values)
