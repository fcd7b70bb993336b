"""A profile is read strictly, named precisely when wrong, and taken over while the service runs."""

import os

import pytest
import yaml

from service.cds_hooks.clients import ClientRegistry, ProfileRefused, read_profile
from tests.service.trust.conftest import ISSUER, written_profile


@pytest.fixture
def folder(tmp_path):
    return tmp_path


def write(folder, name="one", **changes):
    file = folder / f"{name}.yaml"
    changes.setdefault("trust__jwks", {"keys": []})
    file.write_text(yaml.safe_dump(written_profile(**changes)))
    # Two writes within one tick of the file system's clock would look like one.
    os.utime(file, ns=(write.tick, write.tick))
    write.tick += 1_000_000
    return file


write.tick = 1_700_000_000_000_000_000


@pytest.mark.parametrize("name", ["generic", "epic", "oracle-health", "sandbox"])
def test_the_examples_can_be_read(name, root):
    profile = read_profile(root / "examples" / "clients" / f"{name}.yaml")
    assert profile.trust is not None
    assert profile.tz


def test_the_examples_do_not_contradict_each_other(root):
    assert len(ClientRegistry.load(root / "examples" / "clients").profiles) == 4


def test_epics_limits_stand_in_its_example(root):
    epic = read_profile(root / "examples" / "clients" / "epic.yaml")
    assert epic.cards.selection_behavior == "any"
    assert epic.cards.one_action_per_suggestion
    assert epic.trust.max_life == 900
    assert (epic.key_of("meds"), epic.key_of("-user")) == ("medicationRequests", "-user")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"rules": {"accept_draft": True}}, "rules.mode"),
        ({"rules": {"mode": "live"}}, "rules.accept_draft"),
        ({"rules": {"mode": "loud", "accept_draft": True}}, "rules.mode"),
        ({"trust__algorithms": ["HS256"]}, "trust.algorithms.0"),
        ({"trust__algorithms": ["none"]}, "trust.algorithms.0"),
        ({"trust__algorithms": []}, "trust.algorithms"),
        ({"trust__issuers": []}, "trust.issuers"),
        ({"trust__jku": "https://a.example/j"}, "exactly one"),
        ({"trust__jwks": None}, "exactly one"),
        ({"trust__max_life": 86_400}, "trust.max_life"),
        ({"trust__audience_base": "http://cds.example.org"}, "https"),
        ({"trust__jwks": None, "trust__jku": "http://keys.example.org/j"}, "https"),
        ({"trust__jwks": None, "trust__jwks_from": {"file": "a", "env": "B"}}, "exactly one"),
        ({"trust__jwks": None, "trust__jwks_from": {"file": "missing.json"}}, "cannot be read"),
        (
            {"trust__jwks": None, "trust__jwks_from": {"env": "NOT_SET_ANYWHERE"}},
            "NOT_SET_ANYWHERE",
        ),
        ({"fhir": {"bases": ["http://ehr.example.org/fhir"]}}, "https"),
        ({"fhir": {"bases": ["https://169.254.169.254/"]}}, "link-local"),
        ({"fhir": {"version": "R6"}}, "fhir.version"),
        ({"prefetch": {"medications": {"sent_as": ["x"]}}}, "prefetch.medications"),
        (
            {"prefetch": {"inr": {"sent_as": ["x"]}, "patient": {"sent_as": ["x"]}}},
            "'x' stands for",
        ),
        ({"origins": ["https://ehr.example.org/app"]}, "no origin"),
        ({"origins": ["*"]}, "origins"),
        ({"zone": "Mars/Olympus"}, "no time zone"),
        ({"deadline_ms": 60_000}, "deadline_ms"),
        ({"id": "Two Words"}, "id"),
        ({"colour": "red"}, "colour"),
        ({"cards": {"selection_behavior": "all"}}, "cards.selection_behavior"),
        ({"trust": None}, "trust"),
    ],
)
def test_a_wrong_profile_is_refused_where_it_is_wrong(folder, changes, told):
    file = write(
        folder, **({"trust__jwks": {"keys": []}} | changes if "trust" not in changes else {})
    )
    if "trust" in changes:
        file.write_text(
            yaml.safe_dump({k: v for k, v in written_profile().items() if k != "trust"})
        )
    with pytest.raises(ProfileRefused) as caught:
        ClientRegistry.load(folder)
    assert told in str(caught.value)
    assert "one.yaml" in str(caught.value)


def test_a_member_that_stands_twice_is_refused(folder):
    file = write(folder)
    file.write_text(file.read_text() + "id: other\n")
    with pytest.raises(ProfileRefused, match="stands twice"):
        ClientRegistry.load(folder)


def test_a_refusal_never_shows_a_secret(folder):
    source = {"file": "x", "env": "Y", "value": "canary-secret"}
    write(folder, trust__jwks=None, trust__jwks_from=source)
    with pytest.raises(ProfileRefused) as caught:
        ClientRegistry.load(folder)
    assert "canary-secret" not in str(caught.value)


def test_secrets_come_from_files_beside_the_profile_or_the_environment(folder, monkeypatch):
    (folder / "key.bin").write_bytes(b"0123456789abcdef")
    write(folder, trust__jwks=None, trust__jwks_from={"file": "key.bin"})
    registry = ClientRegistry.load(folder)
    profile = registry.by_id("example")
    source = profile.trust.jwks_from
    assert registry.secret(profile, source) == b"0123456789abcdef"
    (folder / "key.bin").write_bytes(b" \n")
    with pytest.raises(ProfileRefused, match="empty"):
        registry.secret(profile, source)


def test_two_profiles_may_not_claim_one_caller(folder):
    write(folder, "one")
    write(folder, "two", id="second")
    with pytest.raises(ProfileRefused, match="same issuer"):
        ClientRegistry.load(folder)
    write(folder, "two", id="second", trust__tenants=["north"])
    registry = ClientRegistry.load(folder)
    assert registry.for_issuer(ISSUER, "north").id == "second"
    assert registry.for_issuer(ISSUER, "south").id == "example"
    assert registry.for_issuer(ISSUER, None).id == "example"
    assert registry.for_issuer("https://other.example", None) is None
    write(folder, "three", id="second", trust__issuers=["https://other.example"])
    with pytest.raises(ProfileRefused, match="'second' stands in"):
        ClientRegistry.load(folder)


def test_an_empty_or_missing_folder_is_refused(folder):
    with pytest.raises(ProfileRefused, match="no client profile"):
        ClientRegistry.load(folder)
    with pytest.raises(ProfileRefused, match="no folder"):
        ClientRegistry.load(folder / "missing")


def test_a_change_is_taken_over_while_running(folder):
    write(folder)
    registry = ClientRegistry(folder=folder, look_every=0)
    assert not registry.refresh()
    write(folder, deadline_ms=700)
    assert registry.refresh()
    assert registry.by_id("example").deadline_ms == 700
    write(folder, "two", id="second", trust__tenants=["north"], origins=["https://b.example"])
    assert registry.refresh()
    assert registry.origins == {"https://b.example"}
    (folder / "two.yaml").unlink()
    assert registry.refresh()
    assert registry.by_id("second") is None


def test_a_change_for_the_worse_leaves_the_last_good_profiles_in_force(folder):
    write(folder, deadline_ms=700)
    registry = ClientRegistry(folder=folder, look_every=0)
    for broken in ({"deadline_ms": 1}, {"id": "!"}):
        write(folder, **broken)
        assert not registry.refresh()
        assert registry.by_id("example").deadline_ms == 700
        assert "one.yaml" in registry.problem
    (folder / "one.yaml").unlink()
    assert not registry.refresh()
    assert registry.by_id("example").deadline_ms == 700
    write(folder, deadline_ms=800)
    assert registry.refresh()
    assert registry.problem == ""


def test_the_folder_is_not_looked_at_more_often_than_stated(folder):
    seconds = [0.0]
    write(folder)
    registry = ClientRegistry(folder=folder, look_every=1.0, clock=lambda: seconds[0])
    write(folder, deadline_ms=700)
    seconds[0] = 0.9
    assert not registry.refresh()
    seconds[0] = 1.1
    assert registry.refresh()


def test_links_are_allowed_by_origin_and_path(folder):
    write(folder, cards={"links": ["https://cds.example.org/dashboard"]})
    cards = ClientRegistry.load(folder).by_id("example").cards
    assert cards.allows_link("https://cds.example.org/dashboard/a/7")
    assert not cards.allows_link("https://cds.example.org/dashboard-evil")
    assert not cards.allows_link("https://cds.example.org.evil.example/dashboard")
    assert not cards.allows_link("javascript:alert(1)")
