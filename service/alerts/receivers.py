"""The file that names who is told of unclaimed critical alerts: a YAML list of name, client, url, secret, minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from rules.errors import DekacardError, KnowledgeError
from rules.yaml_files import read_yaml
from service.alerts.values import Receiver
from service.cds_hooks.loopback import is_loopback


class ReceiversRefused(DekacardError):
    """The file of receivers cannot be used; the message names the member, never the secret."""


class _Written(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: Annotated[str, Field(min_length=1)]
    client: Annotated[str, Field(min_length=1)]
    url: str
    secret: Annotated[str, Field(min_length=16)]
    after_minutes: Annotated[float, Field(ge=0)] = Receiver(
        name="", tenant="", url=""
    ).after_minutes

    @field_validator("url")
    @classmethod
    def _is_guarded(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme != "https" and not (
            parts.scheme == "http" and is_loopback(parts.hostname or "")
        ):
            raise ValueError("must be https (http only on this machine)")
        return value


def read_receivers(file: Path) -> tuple[Receiver, ...]:
    """The receivers in ``file``; each client's names are unique.

    Raises:
        ReceiversRefused: unreadable, unknown or missing members, a name twice.
    """
    try:
        written = TypeAdapter(list[_Written]).validate_python(read_yaml(file))
    except (KnowledgeError, OSError, UnicodeDecodeError) as error:
        raise ReceiversRefused(f"{file}: {error}") from None
    except ValidationError as error:
        told = "; ".join(
            f"{'.'.join(str(step) for step in one['loc']) or 'the file'}: {one['msg']}"
            for one in error.errors(include_input=False, include_url=False)
        )
        raise ReceiversRefused(f"{file}: {told}.") from None
    names = [(one.client, one.name) for one in written]
    if len(set(names)) != len(names):
        raise ReceiversRefused(f"{file}: a client has two receivers of one name.")
    return tuple(
        Receiver(
            name=one.name,
            tenant=one.client,
            url=one.url,
            secret=one.secret,
            after_minutes=one.after_minutes,
        )
        for one in written
    )
