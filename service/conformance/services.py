"""Checks of a discovery document: its services and their prefetch templates, against the restricted query set of 2.0."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from service.conformance.findings import Finding, Notes
from service.conformance.responses import check_empties

_ID = re.compile(r"[A-Za-z0-9._~-]+")
_KEY = re.compile(r"[A-Za-z0-9_-]+")
_TOKEN = re.compile(r"\{\{(.*?)\}\}")
_PLAIN = re.compile(
    r"\s*(context\.[A-Za-z][A-Za-z0-9]*|userPractitionerId|userPractitionerRoleId|userPatientId|userRelatedPersonId)\s*"
)
_READ = re.compile(r"[A-Z][A-Za-z]+/[^/?]+|[^/?{}]*\{\{context\.userId\}\}")
_SEARCH = re.compile(r"[A-Z][A-Za-z]+\?.+")
_PARAMETER = re.compile(r"[A-Za-z_-]+(:in)?")
_NOT_IN_SUBSET = {
    "_include",
    "_revinclude",
    "_has",
    "_filter",
    "_query",
    "_elements",
    "_summary",
    "_text",
    "_content",
}


def check_discovery(body: object) -> tuple[Finding, ...]:
    """Check the parsed answer of ``GET {base}/cds-services``; no findings if all is well."""
    notes = Notes()
    services = body.get("services") if isinstance(body, dict) else None
    if not isinstance(body, dict) or not isinstance(services, list):
        notes.add("discovery-services", "$.services", "is missing or no array")
        return tuple(notes.found)
    check_empties(body, notes, allowed=("services",))
    for path, service in notes.objects(body, "services", "discovery-services", "$"):
        _check_service(service, notes, path)
    ids = Counter(str(one.get("id")) for one in services if isinstance(one, dict))
    for name, times in ids.items():
        if times > 1:
            notes.add("service-id-twice", "$.services", f"{name!r} stands {times} times")
    return tuple(notes.found)


def _check_service(service: dict[str, Any], notes: Notes, where: str) -> None:
    notes.text(service, "hook", "service-hook", where)
    name = notes.text(service, "id", "service-id", where)
    if name is not None and not _ID.fullmatch(name):
        notes.add("service-id", f"{where}.id", "is not safe in a URL")
    notes.text(service, "description", "service-description", where)
    notes.text(service, "title", "service-title", where)
    notes.optional(service, "usageRequirements", str, "service-usage", where)
    notes.optional(service, "extension", dict, "extension-object", where)
    prefetch = notes.optional(service, "prefetch", dict, "prefetch-shape", where) or {}
    for key, template in prefetch.items():
        path = f"{where}.prefetch.{key}"
        if not _KEY.fullmatch(key):
            notes.add("prefetch-key", path, "holds other characters")
        if isinstance(template, str) and template.strip():
            notes.extend(check_template(template, path))
        else:
            notes.add("prefetch-shape", path, "is no text")


def check_template(template: str, where: str = "template") -> tuple[Finding, ...]:
    """Check one prefetch template."""
    notes = Notes()
    for token in _TOKEN.findall(template):
        if _PLAIN.fullmatch(token):
            continue
        simple = re.fullmatch(r"\s*[\w.]+\s*", token)
        notes.add("prefetch-token" if simple else "prefetch-token-3", where, f"{token.strip()!r}")
    if _TOKEN.sub("", template).count("{{") or not (
        _READ.fullmatch(template) or _SEARCH.fullmatch(template)
    ):
        notes.add("prefetch-query", where, "is no relative read or search")
        return tuple(notes.found)
    _, _, query = template.partition("?")
    names = [one.partition("=")[0] for one in query.split("&")] if query else []
    for name in names:
        if name.startswith("sort:"):
            notes.add("prefetch-sort", where, f"{name!r} is in no FHIR release")
        elif not _PARAMETER.fullmatch(name) or name in _NOT_IN_SUBSET:
            notes.add("prefetch-subset", where, f"{name!r} is not in the restricted set")
    for name, times in Counter(names).items():
        if times > 1:
            notes.add("prefetch-repeat", where, f"{name!r} stands {times} times")
    return tuple(notes.found)
