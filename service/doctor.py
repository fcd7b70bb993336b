"""Looks at everything the service needs, and says what to do about what is missing."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.markup import escape

from rules.errors import DekacardError

if TYPE_CHECKING:
    from service.settings import Settings

_PASSWORD = re.compile(r"(://[^:/@\s]+:)[^@\s]+@")
State = Literal["good", "attention", "bad"]
_SIGNS = {
    "good": "[green]good[/]     ",
    "attention": "[yellow]attention[/]",
    "bad": "[red]bad[/]      ",
}


@dataclass(frozen=True)
class Finding:
    """One thing looked at; ``remedy`` is the exact thing to do."""

    state: State
    what: str
    remedy: str = ""


def examine() -> bool:
    """Print every finding; True when nothing is bad."""
    console = Console(highlight=False, soft_wrap=True)
    healthy = True
    for look in (_python, _packages, _durable, _settings, _knowledge, _engines, _clients):
        for finding in _guarded(look):
            healthy = healthy and finding.state != "bad"
            console.print(f"{_SIGNS[finding.state]} {escape(finding.what)}")
            if finding.remedy:
                console.print(f"           [bold]{escape(finding.remedy)}[/]")
    return healthy


def _guarded(look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except DekacardError as error:
        yield Finding("bad", str(error))


def _python() -> Iterator[Finding]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info < (3, 11):  # noqa: UP036 - the doctor is asked where things do not fit
        yield Finding("bad", f"Python {version}", "Use Python 3.11 or newer.")
    else:
        yield Finding("good", f"Python {version}")


def _packages() -> Iterator[Finding]:
    from importlib.metadata import packages_distributions

    from service.installation import OWN_PACKAGES, foreign_files

    known = packages_distributions()
    others = {
        name: sorted(set(known.get(name, ())) - {"dekacard"})
        for name in OWN_PACKAGES
        if set(known.get(name, ())) - {"dekacard"}
    }
    foreign = foreign_files()
    for name, owners in others.items():
        yield Finding(
            "bad",
            f"the package {name!r} belongs to {', '.join(owners)} as well",
            f"pip uninstall {' '.join(owners)}, then reinstall dekacard; or give dekacard its own environment.",
        )
    if foreign and not others:
        yield Finding(
            "bad",
            f"files that dekacard did not bring lie in its packages: {', '.join(foreign[:3])}",
            "pip install --force-reinstall dekacard, in an environment of its own.",
        )
    if not others and not foreign:
        yield Finding(
            "good", "no other distribution uses the packages rules, fhir_adapter, service"
        )


def _durable() -> Iterator[Finding]:
    from rules.driver import explain_import_error

    problem = explain_import_error()
    if problem:
        yield Finding("bad", "durable_rules cannot be imported", problem)
    else:
        yield Finding("good", "durable_rules is there")


def _settings() -> Iterator[Finding]:
    from service.settings import Settings

    settings = Settings.read()
    yield Finding("good", f"settings: engine {settings.engine}, vitamin D bands {settings.profile}")


def _knowledge() -> Iterator[Finding]:
    from service.settings import Settings
    from service.site_knowledge import site_rulebook

    settings = Settings.read()
    book = site_rulebook(settings)
    today = datetime.now(UTC).date()
    for pack in book.packs:
        name = f"pack {pack.head.id} {pack.head.version}, {len(pack.rules)} rules"
        if pack.head.status == "reviewed":
            yield Finding("good", name)
        else:
            yield Finding(
                "attention", f"{name}: {pack.head.status}, not signed by a named clinician"
            )
    overdue = sorted(name for name, card in book.cards.items() if card.review_due < today)
    if overdue:
        yield Finding(
            "attention",
            f"past their review date: {', '.join(overdue)}",
            "Have the sources read again, then set reviewed and review_due.",
        )


def _engines() -> Iterator[Finding]:
    from rules.driver import explain_import_error
    from service.bootstrap import build_engine
    from service.parts import warm_up
    from service.settings import Settings

    names = ("compiled",) if explain_import_error() else ("durable", "compiled")
    for name in names:
        settings = Settings.read(engine=name)
        engine = build_engine(settings)
        warm_up(engine, settings.profile, datetime.now(UTC))
        engine.close()
        yield Finding(
            "good", f"engine {name}: every rule compiles, a patient without data is evaluated"
        )


def _clients() -> Iterator[Finding]:
    from service.settings import Settings

    settings = Settings.read()
    if settings.clients is None:
        yield Finding(
            "attention",
            "no client profiles: only 'dekacard serve --dev' will start",
            "Write one with 'dekacard clients new', and set DEKACARD_CLIENTS to its folder.",
        )
        return
    from service.site_knowledge import site_clients

    registry = site_clients(settings, settings.clients)
    for profile in registry.profiles:
        drafts = "accepts drafts" if profile.rules.accept_draft else "reviewed rules only"
        yield Finding("good", f"client {profile.id}: rules {profile.rules.mode}, {drafts}")


def print_settings(settings: Settings) -> None:
    """Print every setting in force, passwords left out, then look at all that they name.

    Raises:
        SettingsRefused: something would keep the service from starting; all of it was printed.
    """
    from service.config_check import look_at
    from service.settings import SettingsRefused

    console = Console(highlight=False, soft_wrap=True)
    for name in sorted(type(settings).model_fields):
        value = _PASSWORD.sub(r"\1***@", str(getattr(settings, name)))
        console.print(f"DEKACARD_{name.upper()} = {escape(value)}")
    bad = 0
    for look in look_at(settings):
        console.print(f"{_SIGNS[look.state]} {escape(look.says)}")
        bad += look.state == "bad"
    if bad:
        raise SettingsRefused(f"{bad} of these would keep the service from starting.")
    console.print("[green]Settings, and what they name, can be used.[/]")
