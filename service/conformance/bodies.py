"""Request bodies of a visit: one invented patient, shaped for whatever hook and prefetch a service declares."""

from __future__ import annotations

import copy
import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from importlib.resources import files
from typing import Any

_DAYS = re.compile(r"@today-(\d+)")
_TYPE = re.compile(r"[A-Z][A-Za-z]+")


@dataclass(frozen=True)
class Samples:
    """The bundled patient, with its days counted back from ``today``."""

    today: date

    @cached_property
    def _document(self) -> dict[str, Any]:
        text = files("service.conformance").joinpath("samples/samples.json").read_text("utf-8")
        document: dict[str, Any] = json.loads(text)
        return document

    @property
    def canaries(self) -> tuple[str, ...]:
        """Names and tokens that no answer may repeat."""
        return tuple(self._document["canaries"])

    @property
    def draft_references(self) -> frozenset[str]:
        """References of the draft orders."""
        draft = self._document["draft"]
        return frozenset({f"{draft['resourceType']}/{draft['id']}"})

    def knows(self, hook: str) -> bool:
        """Whether there is a context for this hook."""
        return hook in self._document["contexts"]

    def call(self, service: Mapping[str, Any]) -> dict[str, Any]:
        """A complete, proper body for a service as discovery describes it."""
        context = copy.deepcopy(self._document["contexts"][service["hook"]])
        for name, value in context.items():
            if value == "@drafts":
                draft = self._document["draft"]
                context[name] = {
                    "resourceType": "Bundle",
                    "type": "collection",
                    "entry": [{"resource": draft}],
                }
        body = {"hookInstance": str(uuid.uuid4()), "hook": service["hook"], "context": context}
        prefetch = {key: self._answer(text) for key, text in self._templates(service).items()}
        dated: dict[str, Any] = self._dated(body | ({"prefetch": prefetch} if prefetch else {}))
        return dated

    def with_prefetch(
        self, service: Mapping[str, Any], value: Callable[[str], Any]
    ) -> dict[str, Any]:
        """A body in which every prefetch value is ``value(template)``."""
        body = self.call(service)
        return body | {
            "prefetch": {key: value(text) for key, text in self._templates(service).items()}
        }

    @staticmethod
    def _templates(service: Mapping[str, Any]) -> dict[str, str]:
        prefetch = service.get("prefetch")
        stated = prefetch if isinstance(prefetch, dict) else {}
        return {key: text for key, text in stated.items() if isinstance(text, str)}

    def _answer(self, template: str) -> Any:
        """What a client's server would answer to a template: a resource for a read, a Bundle for a search."""
        found = _TYPE.match(template)
        kind = found[0] if found else ""
        resources = [one for one in self._document["resources"] if one["resourceType"] == kind]
        if "?" not in template:
            return resources[0] if resources else None
        codes = set(re.findall(r"\d+-\d", template))
        kept = [one for one in resources if not codes or codes & set(_codes(one))]
        entries = [{"resource": one, "search": {"mode": "match"}} for one in kept]
        bundle = {"resourceType": "Bundle", "type": "searchset", "total": len(kept)}
        return bundle | ({"entry": entries} if entries else {})

    def _dated(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._dated(one) for name, one in value.items()}
        if isinstance(value, list):
            return [self._dated(one) for one in value]
        back = _DAYS.fullmatch(value) if isinstance(value, str) else None
        return (self.today - timedelta(days=int(back[1]))).isoformat() if back else value


def empty_bundle(template: str) -> dict[str, Any] | None:
    """Nothing found, as servers of 2.0 say it: null for a read, an empty Bundle for a search."""
    return {"resourceType": "Bundle", "type": "searchset", "total": 0} if "?" in template else None


def failed_fetch(_: str) -> dict[str, Any]:
    """A prefetch that failed: an OperationOutcome stands where the data should."""
    issue = {"severity": "error", "code": "timeout", "diagnostics": "the archive did not answer"}
    return {"resourceType": "OperationOutcome", "issue": [issue]}


def _codes(resource: Mapping[str, Any]) -> list[str]:
    coding = resource.get("code", {}).get("coding", [])
    return [one.get("code", "") for one in coding]
