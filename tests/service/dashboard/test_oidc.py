"""Signing in through an OpenID provider: what an honest one gives, and everything that a hostile answer does not get."""

import json
import logging
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from sqlalchemy import select

from service.alerts import identity_tables, models
from service.alerts.access import accounts, disable_account
from tests.service.dashboard.openid_provider import (
    BACK,
    LOGOUT,
    OpenIdProvider,
    come_back,
    entry,
    leave,
)
from tests.service.dashboard.production import BASE, CLIENT, Hospital, settings_in
from tests.service.dashboard.stores import new_store, postgres_server  # noqa: F401 - fixtures


@pytest.fixture(scope="module")
def provider():
    made = OpenIdProvider(redirect_uri=BACK)
    yield made
    made.close()


@pytest.fixture(scope="module")
def served(provider, new_store, tmp_path_factory):  # noqa: F811
    place = tmp_path_factory.mktemp("site")
    (place / "oidc.yaml").write_text(yaml.safe_dump([entry(provider, place)]), encoding="utf-8")
    made = Hospital(
        settings_in(place, store_url=new_store(), oidc=place / "oidc.yaml"), now=datetime.now(UTC)
    )
    yield made
    made.close()


@pytest.fixture
def site(served, provider):
    provider.honest()
    served.now = datetime.now(UTC)
    served.client = served.browser()
    return served


def sessions(site):
    with site.record.database.reading() as connection:
        return connection.execute(select(identity_tables.session)).all()


def test_whom_the_provider_knows_gets_in_with_the_role_of_the_claim(site, provider):
    provider.claims |= {"acr": "level-2", "amr": ["pwd", "otp"]}
    answer = come_back(site)
    assert (answer.status_code, answer.headers["location"]) == (303, "/work")
    (cookie,) = [one for one in answer.headers.get_list("set-cookie") if "Max-Age=0" not in one]
    name, *marks = [one.strip().lower() for one in cookie.split(";")]
    assert name.startswith("__host-dekacard=")
    assert {"secure", "httponly", "samesite=lax", "path=/"} <= set(marks)
    assert "nora" in site.client.get("/work").text
    (account,) = [one for one in accounts(site.record.database, CLIENT) if one["name"] == "nora"]
    assert account["role"] == "pharmacist"
    held = max(sessions(site), key=lambda one: one.created)
    assert (held.method, held.outside, held.acr, held.amr) == (
        "oidc",
        "there-1",
        "level-2",
        "pwd otp",
    )
    asked = provider.asked[-1]
    assert len(asked["state"]) >= 20
    assert len(asked["nonce"]) >= 20
    assert asked["scope"].split()[0] == "openid"
    assert provider.tokens_asked[-1]["redirect_uri"] == BACK


def test_the_role_is_that_of_today_and_none_is_given_by_default(site, provider):
    come_back(site)
    provider.claims |= {"groups": ["others", "vk-leads", "vk-pharmacists"]}
    come_back(site)
    assert {one["name"]: one["role"] for one in accounts(site.record.database, CLIENT)}[
        "nora"
    ] == "lead"
    for groups in (
        None,
        [],
        ["vk-lead"],
        "",
        "vk-leads vk-pharmacists",
        {"vk-leads": 1},
        [["vk-leads"]],
        7,
    ):
        provider.claims |= {"groups": groups}
        site.client = site.browser()
        answer = come_back(site)
        assert answer.status_code == 403, groups
        assert site.client.get("/work").status_code == 303


def test_a_provider_adds_three_addresses_and_no_other(site):
    needs = site.app.state.dashboard.needs
    assert {route: need for route, need in needs.items() if route[1].startswith("/oidc")} == {
        ("GET", "/oidc/hospital/start"): "anyone",
        ("GET", "/oidc/hospital/back"): "anyone",
        ("POST", "/oidc/hospital/out"): "anyone",
    }


LIES = {
    "another nonce": {"changes": {"nonce": "x"}},
    "no nonce": {"changes": {"nonce": None}},
    "another audience": {"changes": {"aud": "another"}},
    "audiences without us": {"changes": {"aud": ["a", "b"]}},
    "no audience": {"changes": {"aud": None}},
    "another issuer": {"changes": {"iss": "https://evil.example"}},
    "no issuer": {"changes": {"iss": None}},
    "no subject": {"changes": {"sub": None}},
    "expired": {"changes": {"exp": 1_700_000_000}},
    "no end": {"changes": {"exp": None}},
    "others are meant too": {"changes": {"aud": ["dekacard", "b"], "azp": "dekacard"}},
    "made for another party": {"changes": {"aud": ["dekacard", "b"], "azp": "b"}},
    "no signature": {"header": {"alg": "none"}},
    "an unknown key": {"header": {"kid": "k9"}},
    "no identity token": {"token_changes": {"id_token": None}},
    "no token at all": {"token_changes": {"id_token": "x.y.z"}},
    "an access token of somebody else": {"changes": {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}},
    "an answer of another issuer": {"answer_changes": {"iss": "https://evil.example"}},
    "an error": {"answer_changes": {"error": "access_denied", "code": None}},
    "no code": {"answer_changes": {"code": None}},
    "another code": {"answer_changes": {"code": "stolen"}},
    "another state": {"answer_changes": {"state": "another"}},
    "no state": {"answer_changes": {"state": None}},
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_hostile_answer_lets_nobody_in(site, provider, lie):
    for name, value in LIES[lie].items():
        setattr(provider, name, value)
    before = len(sessions(site))
    answer = come_back(site)
    assert answer.status_code == 401
    assert "__Host-dekacard=" not in answer.headers.get("set-cookie", "")
    assert site.client.get("/work").status_code == 303
    assert len(sessions(site)) == before


def test_an_audience_may_be_a_list_of_us_alone(site, provider):
    provider.changes = {"aud": ["dekacard"]}
    assert come_back(site).status_code == 303
    token = provider.logout_token(aud=["dekacard"])
    answer = site.browser().post("/oidc/hospital/out", data={"logout_token": token})
    assert answer.status_code == 200
    assert site.client.get("/work").status_code == 303


def test_a_signature_with_another_or_a_public_key_lets_nobody_in(site, provider):
    provider.header, provider.signing = {"alg": "ES256"}, provider.other_key
    assert come_back(site).status_code == 401
    provider.header = {
        "alg": "HS256"
    }  # signed with what everybody can read, as if it were a shared secret
    assert come_back(site).status_code == 401


def test_an_answer_counts_once_and_only_in_the_browser_that_asked(site, provider):
    address = leave(site)
    other = site.browser()
    assert other.get(address.removeprefix(BASE)).status_code == 401
    cookies = dict(site.client.cookies)
    assert come_back(site, address).status_code == 303
    asked = len(provider.tokens_asked)
    again = site.browser()
    again.cookies.update(cookies)
    assert again.get(address.removeprefix(BASE)).status_code == 401
    assert again.get("/work").status_code == 303
    # Refused here, without asking the provider about the code
    assert len(provider.tokens_asked) == asked


def test_an_answer_that_comes_too_late_is_refused(site):
    address = leave(site)
    site.now += timedelta(minutes=11)
    assert come_back(site, address).status_code == 401


def test_the_session_of_before_ends_and_its_number_is_not_used_again(site):
    come_back(site)
    first = site.client.cookies["__Host-dekacard"]
    come_back(site)
    second = site.client.cookies["__Host-dekacard"]
    assert first != second
    old = site.browser()
    old.cookies.set("__Host-dekacard", first)
    assert old.get("/work").status_code == 303
    planted = site.browser()
    planted.cookies.set("__Host-dekacard", "chosen-by-an-attacker")
    site.client = planted
    answer = come_back(site)
    assert "chosen-by-an-attacker" not in answer.headers["set-cookie"]


def test_a_name_that_is_taken_makes_nobody_somebody_else(site, provider):
    site.account("boss", "lead", password="")
    provider.claims |= {"sub": "s-2", "preferred_username": "boss"}
    come_back(site)
    held = {one["name"]: one["role"] for one in accounts(site.record.database, CLIENT)}
    assert held["boss"] == "lead"
    (marked,) = [name for name in held if name.startswith("boss-")]
    assert held[marked] == "pharmacist"
    assert marked in site.client.get("/work").text
    provider.claims |= {"sub": "s-3", "preferred_username": "../etc\u202e"}
    assert come_back(site).status_code == 303
    assert "user" in {one["name"] for one in accounts(site.record.database, CLIENT)}


def test_a_disabled_person_stays_out(site, provider):
    provider.claims |= {"sub": "s-4", "preferred_username": "gone"}
    come_back(site)
    disable_account(
        site.record.database, site.record.keyring, tenant=CLIENT, name="gone", actor="operator", now=site.now
    )  # fmt: skip
    assert site.client.get("/work").status_code == 303
    assert come_back(site).status_code == 403


def test_a_password_does_not_open_the_account_of_a_provider(site):
    come_back(site)
    answer = site.browser().post(
        "/login", data={"name": "nora", "password": "seven grey geese fly"}, headers={"sec-fetch-site": "same-origin"}
    )  # fmt: skip
    assert answer.status_code == 401
    assert (
        site.post("/account/password", password="", new="x" * 20, again="x" * 20).status_code == 422
    )


def test_the_provider_signs_somebody_out(site, provider):
    come_back(site)
    token = provider.logout_token()
    sent = {"sec-fetch-site": "cross-site"}  # a server sends this form, and no browser of ours
    assert (
        site.browser()
        .post("/oidc/hospital/out", data={"logout_token": token}, headers=sent)
        .status_code
        == 200
    )
    assert site.client.get("/work").status_code == 303
    come_back(site)
    token = provider.logout_token(sid=None)
    assert (
        site.browser().post("/oidc/hospital/out", data={"logout_token": token}).status_code == 200
    )
    assert site.client.get("/work").status_code == 303


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "another"}, {"aud": ["dekacard", "b"]}, {"aud": None}, {"iss": "https://evil.example"}, {"events": {}}, {"events": None}, {"events": LOGOUT},
        {"nonce": "n"}, {"sub": None, "sid": None}, {"iat": 1_700_000_000}, {"iat": None}, {"iat": True},
    ],
)  # fmt: skip
def test_what_is_no_log_out_token_signs_nobody_out(site, provider, changes):
    come_back(site)
    token = provider.logout_token(**changes)
    assert (
        site.browser().post("/oidc/hospital/out", data={"logout_token": token}).status_code == 400
    )
    assert site.client.get("/work").status_code == 200


def test_a_log_out_token_without_our_providers_signature_signs_nobody_out(site, provider):
    come_back(site)
    provider.header = {"alg": "none"}
    tokens = ["", "x", provider.logout_token()]
    provider.header, provider.signing = {"alg": "ES256"}, provider.other_key
    tokens.append(provider.logout_token())
    for token in tokens:
        answer = site.browser().post("/oidc/hospital/out", data={"logout_token": token})
        assert answer.status_code == 400
    assert site.client.get("/work").status_code == 200


def test_another_person_and_an_older_log_out_leave_a_session_alone(site, provider):
    come_back(site)
    tokens = (
        provider.logout_token(sub="s-9", sid=None),
        provider.logout_token(sid="there-9"),
        provider.logout_token(iat=int(site.now.timestamp()) - 200),
    )
    for token in tokens:
        site.browser().post("/oidc/hospital/out", data={"logout_token": token})
        assert site.client.get("/work").status_code == 200


def test_no_token_of_the_provider_is_kept_or_logged(site, caplog):
    caplog.set_level(logging.DEBUG)
    come_back(site)
    said = caplog.text
    with site.record.database.reading() as connection:
        for table in models.metadata.sorted_tables:
            said += repr(connection.execute(select(table)).all())
    assert "canary-access-token" not in said
    assert "eyJ" not in said  # how every JWT begins
    assert "code_verifier" not in said


def test_the_address_to_the_provider_holds_no_secret(site):
    address = site.client.get("/oidc/hospital/start").headers["location"]
    query = parse_qs(urlsplit(address).query)
    assert set(query) == {
        "response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge",
        "code_challenge_method",
    }  # fmt: skip
    with site.record.database.reading() as connection:
        kept = repr(connection.execute(select(identity_tables.sign_in_step)).all())
    for secret in ("code_verifier", query["nonce"][0], query["state"][0]):
        assert secret not in kept
    assert json.dumps(query)
