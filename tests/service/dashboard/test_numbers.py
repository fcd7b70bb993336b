"""A number in an address that no record can have is an address that leads nowhere, at every door."""

import re

import pytest
from fastapi.testclient import TestClient

BEYOND = (2**31, 2**63 - 1, 2**63, 2**64, 10**40, int("9" * 4000))


def addresses(app):
    """Every address with something to fill in, and how it may be called."""
    described = {
        (method.upper(), path)
        for path, operations in app.openapi()["paths"].items()
        for method in operations
    }
    shown = {
        (method, path)
        for route in app.routes
        for path in (getattr(route, "path", ""),)
        for method in getattr(route, "methods", None) or ()
    }
    return sorted((method, path) for method, path in described | shown if "{" in path)


def test_the_doors_with_numbers_are_among_those_that_are_tried(site):
    app = site.app
    numbered = [one for one in addresses(app) if re.search(r"\{(number|alert|\w+:row)", one[1])]
    assert {"/a/{number:row}", "/silences/{number:row}"} <= {path for _, path in numbered}
    assert any(path.startswith("/api/v1/") for _, path in numbered)


@pytest.mark.parametrize("number", [*map(str, BEYOND), "9" * 5000, "-1", "-" + "9" * 30])
def test_no_number_in_an_address_breaks_a_door(site, number):
    client = TestClient(site.app, base_url="http://127.0.0.1:8080", raise_server_exceptions=False)
    client.cookies.update(site.client.cookies)
    told = {}
    for method, path in addresses(site.app):
        address = re.sub(r"\{[^}]*\}", number, path)
        answer = client.request(method, address, headers={"sec-fetch-site": "same-origin"})
        told[f"{method} {path}"] = answer.status_code
    assert not {where: status for where, status in told.items() if status >= 500}
    assert told["GET /a/{number:row}"] == 404
