"""The OpenAPI document: the hooks by the JSON Schemas that lie beside this file, and every refusal as it is sent."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from service.cds_hooks.discovery import SERVICES
from service.cds_hooks.outcomes import FHIR_JSON

if TYPE_CHECKING:
    from fastapi import FastAPI

_JSON: Final = "application/json"
_ENDING: Final = ".schema.json"
_WORDS: Final = {
    "400": "Not strict JSON, a required member is missing, or the hook is not the service's.",
    "401": "The caller could not be identified.",
    "403": "Known, but not allowed.",
    "404": "There is no such service.",
    "412": "No list of medications could be had at all.",
    "413": "The body is too large.",
    "415": "The body is not JSON in UTF-8.",
    "429": "This client calls more often than was agreed; try again after Retry-After.",
    "500": "An unexpected error; nothing was evaluated.",
    "503": "The rules could not be evaluated; try again.",
}
_RECORD: Final = "/api/v1/"
_OF_RECORD: Final = {
    "400": "The request cannot be read, or is not possible as things stand.",
    "422": "A parameter or member has not the expected form.",
}
_REFUSED: Final = {FHIR_JSON: {"schema": {"$ref": "#/components/schemas/OperationOutcome"}}}
_OUTCOME: Final = {
    "title": "OperationOutcome",
    "description": "FHIR OperationOutcome; it never repeats the input.",
    "type": "object",
    "required": ["resourceType", "issue"],
    "properties": {
        "resourceType": {"const": "OperationOutcome"},
        "issue": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "object", "required": ["severity", "code"]},
        },
    },
}


@cache
def schemas() -> dict[str, dict[str, Any]]:
    """The published schemas by name (``request``, ``request-order-sign``, ``response`` ...)."""
    folder = resources.files("service.cds_hooks").joinpath("schemas")
    return {
        file.name.removesuffix(_ENDING): json.loads(file.read_text(encoding="utf-8"))
        for file in sorted(folder.iterdir(), key=lambda one: one.name)
        if file.name.endswith(_ENDING)
    }


def describe(app: FastAPI) -> None:
    """Let ``/openapi.json`` of ``app`` say what the hooks take and answer; it is made when first asked for."""
    plain = app.openapi

    def complete() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = plain()
            held = document.setdefault("components", {}).setdefault("schemas", {})
            held["OperationOutcome"] = _OUTCOME
            held |= {name: _relocated(schema, name) for name, schema in schemas().items()}
            _describe_paths(document["paths"])
            _describe_refusals(document["paths"])
            for unused in ("HTTPValidationError", "ValidationError"):
                held.pop(unused, None)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = complete  # type: ignore[method-assign]


def _describe_paths(paths: dict[str, Any]) -> None:
    requests = [{"$ref": f"#/components/schemas/request-{one.hook}"} for one in SERVICES.values()]
    paths["/cds-services"]["get"]["responses"] = _answers(
        "discovery", "401", "403", "429", "500", "503"
    )
    call = paths["/cds-services/{service_id}"]["post"]
    call["requestBody"] = _body({"anyOf": requests})
    call["responses"] = _answers("response", *_WORDS)
    feedback = paths["/cds-services/{service_id}/feedback"]["post"]
    feedback["requestBody"] = _body({"$ref": "#/components/schemas/feedback"})
    refused = _answers("feedback", *(status for status in _WORDS if status != "412"))
    feedback["responses"] = refused | {"200": {"description": "Taken over; the body is empty."}}
    for operation in (call, feedback):
        for parameter in operation["parameters"]:
            parameter["schema"] = {"type": "string", "enum": sorted(SERVICES)}


def _describe_refusals(paths: dict[str, Any]) -> None:
    """The interface of the record refuses as the hooks do; the framework would promise a form of its own."""
    for path, operations in paths.items():
        if not path.startswith(_RECORD):
            continue
        for operation in operations.values():
            told = operation["responses"]
            of_body = ("413", "415") if "requestBody" in operation else ()
            for status in ("400", "401", "403", "404", *of_body, "422", "500", "503"):
                words = told.get(status, {}).get("description") if status != "422" else None
                told[status] = {
                    "description": words or _OF_RECORD.get(status) or _WORDS[status],
                    "content": _REFUSED,
                }


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {_JSON: {"schema": schema}}}


def _answers(name: str, *statuses: str) -> dict[str, Any]:
    done = {"schema": {"$ref": f"#/components/schemas/{name}"}}
    return {"200": {"description": "Answered.", "content": {_JSON: done}}} | {
        status: {"description": _WORDS[status], "content": _REFUSED} for status in statuses
    }


def _relocated(value: Any, home: str) -> Any:
    """A schema as a component: references within and between files become references within the document."""
    if isinstance(value, list):
        return [_relocated(one, home) for one in value]
    if not isinstance(value, dict):
        return value
    kept = {key: _relocated(one, home) for key, one in value.items() if key != "$schema"}
    if isinstance(kept.get("$ref"), str):
        file, _, place = kept["$ref"].partition("#")
        kept["$ref"] = f"#/components/schemas/{file.removesuffix(_ENDING) or home}{place}"
    return kept
