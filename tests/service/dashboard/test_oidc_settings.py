"""What a site writes about its OpenID provider: refused where it would open the door too far, and demanded where it asks."""

import re
from datetime import UTC, datetime, timedelta

import pyotp
import pytest
import yaml

from service.identity_providers import ProvidersRefused, read_providers
from tests.service.dashboard.openid_provider import BACK, OpenIdProvider, come_back, entry, leave
from tests.service.dashboard.production import BASE, OURS, Hospital, settings_in
from tests.service.dashboard.stores import new_store, postgres_server  # noqa: F401 - fixtures


@pytest.fixture
def provider():
    made = OpenIdProvider(redirect_uri=BACK)
    yield made
    made.close()


@pytest.fixture
def site_with(provider, new_store, tmp_path):  # noqa: F811
    """Opens a site whose entry for the provider says more."""
    opened = []

    def open_it(settings=None, **more):
        (tmp_path / "oidc.yaml").write_text(
            yaml.safe_dump([entry(provider, tmp_path, **more)]), encoding="utf-8"
        )
        given = {"store_url": new_store(), "oidc": tmp_path / "oidc.yaml"} | (settings or {})
        opened.append(Hospital(settings_in(tmp_path, **given), now=datetime.now(UTC)))
        return opened[-1]

    yield open_it
    for one in opened:
        one.close()


def test_a_provider_that_is_silent_or_says_it_is_another_is_refused(provider, site_with):
    site = site_with()
    provider.answers = False
    answer = site.client.get("/oidc/hospital/start")
    assert answer.status_code == 503
    assert "provider" in answer.text
    provider.honest()
    for lie in (
        {"issuer": "https://evil.example"},
        {"token_endpoint": "http://evil.example/token"},
        {"jwks_uri": None},
    ):
        provider.metadata_changes = lie
        assert site.client.get("/oidc/hospital/start").status_code == 401, lie
    provider.honest()
    assert site.client.get("/oidc/hospital/start").status_code == 303


def test_a_weaker_log_in_than_was_asked_for_is_refused(provider, site_with):
    site = site_with(acr_values=["level-2", "level-3"])
    for acr, status in ((None, 403), ("level-1", 403), (["level-2"], 403), ("level-2", 303)):
        provider.honest()
        provider.claims |= {"acr": acr}
        assert come_back(site).status_code == status, acr
    assert provider.asked[-1]["acr_values"] == "level-2 level-3"


def test_a_log_in_by_other_means_than_were_asked_for_is_refused(provider, site_with):
    site = site_with(amr_values=["mfa", "hwk"])
    for amr, status in (
        (None, 403), ([], 403), (["pwd"], 403), ("mfa", 401), ([["mfa"]], 403), (["pwd", "mfa"], 303), (["hwk"], 303),
    ):  # fmt: skip
        provider.honest()
        provider.claims |= {"amr": amr}
        assert come_back(site).status_code == status, amr


def test_an_older_log_in_than_was_asked_for_is_refused(provider, site_with):
    site = site_with(max_age_minutes=10)
    now = int(site.now.timestamp())
    for at, status in (
        (None, 403), (now - 662, 403), (now + 90, 403), (True, 403), ("now", 401), (now - 590, 303), (now, 303),
    ):  # fmt: skip
        provider.honest()
        provider.claims |= {"auth_time": at}
        assert come_back(site).status_code == status, at
    assert provider.asked[-1]["max_age"] == "600"


def test_what_a_provider_does_not_say_of_a_log_in_is_made_up_for_here(provider, site_with):
    site = site_with()
    provider.claims |= {
        "groups": ["vk-leads"],
        "acr": "whatever",
        "amr": ["mfa"],
    }  # nobody asked for either
    assert come_back(site).headers["location"] == "/login/factor"
    assert site.client.get("/work").headers["location"] == "/login"
    page = site.client.get("/login/factor").text
    app = pyotp.TOTP(re.search(r'class="secret">([A-Z2-7]+)<', page)[1])
    codes = site.client.post("/login/factor", data={"code": app.at(site.now)}, headers=OURS)
    assert "recovery codes" in codes.text
    account = site.client.get("/account").text
    assert "nora, lead" in account
    assert "oidc+code hospital" in account
    assert "10 recovery codes" in account
    site.client = site.browser()
    assert come_back(site).headers["location"] == "/login/code"
    assert site.client.get("/work").headers["location"] == "/login"
    site.now += timedelta(minutes=1)
    answer = site.client.post("/login/code", data={"code": app.at(site.now)}, headers=OURS)
    assert answer.headers["location"] == "/work"
    provider.claims |= {"groups": ["vk-pharmacists"], "sub": "s-7", "preferred_username": "paul"}
    site.client = site.browser()
    assert come_back(site).headers["location"] == "/work"  # a role that needs none


@pytest.mark.parametrize(
    "known", [{"second_factor": "provider"}, {"acr_values": ["level-2"]}, {"amr_values": ["mfa"]}]
)
def test_where_the_strength_is_known_nothing_more_is_asked(provider, site_with, known):
    site = site_with(**known)
    provider.claims |= {"groups": ["vk-leads"], "acr": "level-2", "amr": ["mfa"]}
    assert come_back(site).headers["location"] == "/work"


def test_one_subject_at_two_providers_is_two_people(provider, new_store, tmp_path):  # noqa: F811
    other = OpenIdProvider(redirect_uri=BACK.replace("hospital", "clinic"))
    second = entry(other, tmp_path, id="clinic", redirect_uri=other.redirect_uri)
    file = tmp_path / "oidc.yaml"
    file.write_text(yaml.safe_dump([entry(provider, tmp_path), second]), encoding="utf-8")
    site = Hospital(settings_in(tmp_path, store_url=new_store(), oidc=file), now=datetime.now(UTC))
    try:
        assert come_back(site).headers["location"] == "/work"
        assert (
            "nora, pharmacist of mercy, signed in by hospital" in site.client.get("/account").text
        )
        site.client = site.browser()
        address = leave(site, "clinic")
        wrong_door = address.replace("/oidc/clinic/", "/oidc/hospital/")
        assert site.client.get(wrong_door.removeprefix(BASE)).status_code == 401
        assert come_back(site, leave(site, "clinic")).headers["location"] == "/work"
        assert re.search(
            "nora-[0-9a-f]{6}, pharmacist of mercy, signed in by clinic",
            site.client.get("/account").text,
        )
        mine = site.browser().post(
            "/oidc/hospital/out", data={"logout_token": provider.logout_token()}
        )
        assert mine.status_code == 200
        assert site.client.get("/work").status_code == 200  # the other provider's stays
    finally:
        site.close()
        other.close()


def test_whom_the_provider_signs_out_does_not_finish_half_a_sign_in(provider, site_with):
    site = site_with()
    provider.claims |= {"groups": ["vk-leads"]}
    come_back(site)
    page = site.client.get("/login/factor").text
    app = pyotp.TOTP(re.search(r'class="secret">([A-Z2-7]+)<', page)[1])
    token = provider.logout_token(sid=None)
    assert (
        site.browser().post("/oidc/hospital/out", data={"logout_token": token}).status_code == 200
    )
    code = {"code": app.at(site.now)}
    assert site.client.post("/login/factor", data=code, headers=OURS).status_code == 401
    assert site.client.get("/work").headers["location"] == "/login"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"issuer": "http://login.example"}, "issuer"),
        ({"issuer": "https://login.example?x=1"}, "issuer"),
        ({"redirect_uri": "https://cds.example.org/other"}, "redirect_uri"),
        ({"roles": {}}, "roles"),
        ({"roles": {"x": "root"}}, "roles"),
        ({"algorithms": ["none"]}, "algorithms"),
        ({"algorithms": ["HS256"]}, "algorithms"),
        ({"secret": "written here"}, "secret"),
        ({"client_secret_file": "/nowhere/secret"}, "client_secret_file"),
        ({"id": "a/b"}, "id"),
        ({"max_age_minutes": 0}, "max_age_minutes"),
        ({"second_factor": "nobody"}, "second_factor"),
    ],
)
def test_a_file_that_would_open_the_door_too_far_is_refused(provider, tmp_path, changes, says):
    file = tmp_path / "oidc.yaml"
    file.write_text(yaml.safe_dump([entry(provider, tmp_path, **changes)]), encoding="utf-8")
    with pytest.raises(ProvidersRefused, match=says) as told:
        read_providers(file)
    assert "written here" not in str(told.value)
