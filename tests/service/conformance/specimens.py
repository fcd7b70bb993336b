"""A discovery document and a response without fault, and a service that behaves, for tests that then break them."""

import copy
import json
import uuid

import httpx2

BASE = "https://cds.example.org"
ORIGIN = "https://sandbox.cds-hooks.org"
DRAFTS = frozenset({"MedicationRequest/draft-1"})

DISCOVERY = {
    "services": [
        {
            "hook": "order-sign",
            "id": "good-order-sign",
            "title": "Good",
            "description": "Answers as it should.",
            "usageRequirements": "Needs medications.",
            "prefetch": {
                "patient": "Patient/{{context.patientId}}",
                "meds": "MedicationRequest?patient={{context.patientId}}",
                "labs": "Observation?patient={{context.patientId}}&code=http://loinc.org|6301-6&_sort=-date",
            },
        },
        {"hook": "zz-other", "id": "other", "title": "Other", "description": "Has no sample."},
    ]
}

RESPONSE = {
    "cards": [
        {
            "uuid": "3f0c4b1e-6d6b-4a55-9a0e-0d4f3f8f1a01",
            "summary": "Warfarin and a new vitamin K product: check the INR",
            "indicator": "warning",
            "detail": "**Why now**: a product was added. See <https://example.org/why> and `a < b`.",
            "source": {
                "label": "Good service",
                "url": "https://example.org/source",
                "topic": {
                    "code": "GOOD01",
                    "system": "https://example.org/topics",
                    "display": "Good",
                },
            },
            "selectionBehavior": "at-most-one",
            "suggestions": [
                {
                    "uuid": "3f0c4b1e-6d6b-4a55-9a0e-0d4f3f8f1a02",
                    "label": "Order an INR",
                    "isRecommended": True,
                    "actions": [
                        {
                            "type": "create",
                            "description": "Order an INR",
                            "resource": {"resourceType": "ServiceRequest", "status": "draft"},
                        }
                    ],
                },
                {
                    "uuid": "3f0c4b1e-6d6b-4a55-9a0e-0d4f3f8f1a03",
                    "label": "Another order instead",
                    "actions": [
                        {
                            "type": "delete",
                            "description": "Remove the draft",
                            "resourceId": "MedicationRequest/draft-1",
                        },
                        {
                            "type": "create",
                            "description": "Order another",
                            "resource": {"resourceType": "MedicationRequest", "status": "draft"},
                        },
                    ],
                },
            ],
            "overrideReasons": [
                {"code": "a", "system": "https://example.org/reasons", "display": "Patient refuses"}
            ],
            "links": [{"label": "Guide", "url": "https://example.org/guide", "type": "absolute"}],
            "extension": {"org.example.x": {"y": 1}},
        },
        {
            "uuid": "3f0c4b1e-6d6b-4a55-9a0e-0d4f3f8f1a04",
            "summary": "Vitamin D is due",
            "indicator": "info",
            "source": {
                "label": "Good service",
                "topic": {"code": "GOOD02", "system": "https://example.org/topics"},
            },
        },
    ],
    "extension": {"org.example.review": {"gaps": [{"code": "none"}]}},
}


def changed(document: dict, *path, to=..., drop: bool = False) -> dict:
    """A copy in which the member at ``path`` has another value, or is gone."""
    copied = copy.deepcopy(document)
    owner = copied
    for step in path[:-1]:
        owner = owner[step]
    if drop:
        del owner[path[-1]]
    else:
        owner[path[-1]] = to
    return copied


def outcome(status: int, text: str = "refused") -> httpx2.Response:
    """A refusal with an OperationOutcome."""
    issue = {"severity": "error", "code": "invalid", "details": {"text": text}}
    return httpx2.Response(status, json={"resourceType": "OperationOutcome", "issue": [issue]})


class GoodService(httpx2.BaseTransport):
    """A small service that conforms; a test overrides one method to break it."""

    discovery = DISCOVERY
    response = RESPONSE

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        request.read()
        answer = self.route(request)
        answer.headers["access-control-allow-origin"] = ORIGIN
        return answer

    def route(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.path.rstrip("/")
        if request.method == "OPTIONS":
            return self.preflight()
        if path == "/cds-services":
            return self.discover(request)
        if path not in {"/cds-services/good-order-sign", "/cds-services/good-order-sign/feedback"}:
            return outcome(404)
        if request.method != "POST":
            return outcome(405)
        if request.headers["content-type"] not in {"application/json", "application/fhir+json"}:
            return outcome(415)
        try:
            body = json.loads(request.content, parse_constant=_refuse)
        except ValueError:
            return outcome(400)
        if path.endswith("/feedback"):
            return self.feedback(body)
        if not isinstance(body, dict) or not isinstance(body.get("context"), dict):
            return outcome(400)
        if body.get("hook") != "order-sign" or "hookInstance" not in body:
            return outcome(400)
        return self.call(body)

    def preflight(self) -> httpx2.Response:
        return httpx2.Response(
            200, headers={"access-control-allow-headers": "authorization, content-type"}
        )

    def discover(self, request) -> httpx2.Response:
        return httpx2.Response(200, json=self.discovery)

    def feedback(self, body) -> httpx2.Response:
        return httpx2.Response(200)

    def call(self, body) -> httpx2.Response:
        prefetch = body.get("prefetch")
        if not prefetch or all(_failed(value) for value in prefetch.values()):
            return outcome(412, "medications are missing")
        return self.answer(body)

    def answer(self, body) -> httpx2.Response:
        response = copy.deepcopy(self.response)
        for card in response["cards"]:
            card["uuid"] = str(uuid.uuid4())
        return httpx2.Response(200, json=response)


def _failed(value) -> bool:
    return isinstance(value, dict) and value.get("resourceType") == "OperationOutcome"


def _refuse(name):
    raise ValueError(name)
