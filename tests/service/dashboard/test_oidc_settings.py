"""What a site writes about its OpenID provider: refused where it would open the door too far, and demanded where it asks."""

from datetime import UTC, datetime

import pytest
import yaml

from service.identity_providers import ProvidersRefused, read_providers
from tests.service.dashboard.openid_provider import BACK, OpenIdProvider, come_back, entry
from tests.service.dashboard.production import Hospital, settings_in


@pytest.fixture
def provider():
    made = OpenIdProvider(redirect_uri=BACK)
    yield made
    made.close()


def test_a_provider_that_is_silent_or_says_it_is_another_is_refused(provider, tmp_path):
    (tmp_path / "oidc.yaml").write_text(
        yaml.safe_dump([entry(provider, tmp_path)]), encoding="utf-8"
    )
    site = Hospital(settings_in(tmp_path, oidc=tmp_path / "oidc.yaml"), now=datetime.now(UTC))
    try:
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
    finally:
        provider.honest()
        site.close()


def test_a_weaker_log_in_than_was_asked_for_is_refused(provider, tmp_path):
    told = entry(provider, tmp_path, acr_values=["level-2"])
    (tmp_path / "oidc.yaml").write_text(yaml.safe_dump([told]), encoding="utf-8")
    site = Hospital(settings_in(tmp_path, oidc=tmp_path / "oidc.yaml"), now=datetime.now(UTC))
    try:
        for acr, status in ((None, 403), ("level-1", 403), ("level-2", 303)):
            provider.honest()
            provider.claims |= {"acr": acr}
            assert come_back(site).status_code == status
        assert provider.asked[-1]["acr_values"] == "level-2"
    finally:
        site.close()


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
    ],
)
def test_a_file_that_would_open_the_door_too_far_is_refused(provider, tmp_path, changes, says):
    file = tmp_path / "oidc.yaml"
    file.write_text(yaml.safe_dump([entry(provider, tmp_path, **changes)]), encoding="utf-8")
    with pytest.raises(ProvidersRefused, match=says) as told:
        read_providers(file)
    assert "written here" not in str(told.value)
