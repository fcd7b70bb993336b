"""Keys are fetched from the configured address only, rarely, and the last good ones outlive a failure."""

import asyncio
import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from structlog.testing import capture_logs

from rules.errors import NotTrusted
from service.cds_hooks import jwks
from service.cds_hooks.client_profile import ClientProfile, ProfileRefused
from service.cds_hooks.jwks import KeyCache, KeysRefused, import_keys, read_keys
from service.cds_hooks.minting import make_key, read_key
from service.telemetry_log import allow_listed
from tests.fhir_server.server import Answers, FhirServer, redirecting
from tests.service.trust.conftest import claims, sign

SET = "/jwks.json"


class Clock:
    """Seconds that pass only when a test says so."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def source(es_key):
    with FhirServer() as running:
        running.documents[SET] = json.dumps(es_key.public_set()).encode()
        yield running


@pytest.fixture
def fetched(build, es_key, source, clock):
    """A client whose keys are fetched, with a clock of its own."""
    house = build(es_key, trust__jku=source.origin + SET)
    house.keys = KeyCache(read_secret=house.registry.secret, clock=clock)
    return house


def knock(house, key, jti) -> str:
    try:
        return house.identify(sign(key, claims(jti=jti))).profile.id
    except NotTrusted as refusal:
        return refusal.reason


@pytest.mark.requirement("C70")
def test_keys_are_fetched_once_and_kept(fetched, es_key, source):
    assert [knock(fetched, es_key, str(n)) for n in range(4)] == ["example"] * 4
    assert len(source.seen) == 1
    assert "authorization" not in source.seen[0].headers


@pytest.mark.requirement("C70")
def test_a_rotated_key_is_asked_for_once_in_thirty_seconds(fetched, es_key, source, clock):
    assert knock(fetched, es_key, "1") == "example"
    new = make_key("ES384", "es-2")
    assert [knock(fetched, new, str(n)) for n in range(5)] == ["kid-unknown"] * 5
    assert len(source.seen) == 1  # asked a moment ago
    clock.now += 31
    assert knock(fetched, new, "2") == "kid-unknown"  # asked again, not there yet
    source.documents[SET] = json.dumps(new.public_set()).encode()
    assert knock(fetched, new, "3") == "kid-unknown"
    clock.now += 31
    assert knock(fetched, new, "4") == "example"
    assert knock(fetched, es_key, "5") == "kid-unknown"  # withdrawn with the old set
    assert len(source.seen) == 3


def test_no_stranger_makes_us_ask(fetched, es_key, source):
    for token in (
        sign(es_key, claims(iss="https://evil.example")),
        sign(es_key, claims(), jku="https://evil.example/jwks.json"),
        "a.b.c",
    ):
        with pytest.raises(NotTrusted):
            fetched.identify(token)
    assert source.seen == []


@pytest.mark.parametrize(
    "fault",
    [
        Answers(500, b"{}"),
        Answers(200, b"<html>"),
        Answers(200, b'{"keys": []}'),
        Answers(200, b'{"keys": [' + b" " * 70_000 + b"]}"),
        Answers(200, b"[" * 60_000),
        redirecting("http://127.0.0.1:9/jwks.json"),
    ],
    ids=["500", "html", "no keys", "too large", "nested", "redirect"],
)
def test_the_last_good_keys_outlive_a_source_that_fails(fetched, es_key, source, clock, fault):
    assert knock(fetched, es_key, "1") == "example"
    del source.documents[SET]
    source.faults[SET.strip("/")] = fault
    source.prefix = ""
    clock.now += 7_200
    assert knock(fetched, make_key("ES384", "es-2"), "2") == "kid-unknown"
    assert knock(fetched, es_key, "3") == "example"
    assert len(source.seen) >= 2
    clock.now += jwks.KEEP_AFTER_FAILURE
    assert knock(fetched, es_key, "4") == "kid-unknown"


def test_a_source_that_fails_is_told_with_its_reason(fetched, es_key, source, clock):
    told = []
    fetched.keys.on_failure = told.append
    assert knock(fetched, es_key, "1") == "example"
    assert told == []
    del source.documents[SET]
    source.faults[SET.strip("/")] = Answers(500, b"{}")
    source.prefix = ""
    clock.now += 7_200
    with capture_logs() as lines:
        assert knock(fetched, make_key("ES384", "es-2"), "2") == "kid-unknown"
    assert told == ["example"]
    (line,) = [one for one in lines if one["event"] == "jwks_not_renewed"]
    kept = allow_listed(None, "", dict(line))
    assert (kept["client"], kept["reason"], kept["count"]) == (
        "example", "the server of the keys answered 500", 1,
    )  # fmt: skip


def test_a_source_that_is_down_from_the_start_lets_nobody_in(build, es_key):
    with FhirServer() as gone:
        address = gone.origin + SET
    house = build(es_key, trust__jku=address)
    assert knock(house, es_key, "1") == "kid-unknown"


def test_stale_keys_are_renewed_behind_the_call(fetched, es_key, source, clock):
    source.cache_control = "public, max-age=600"

    async def run():
        keys, profile = fetched.keys, fetched.registry.profiles[0]
        await keys.renew(profile)
        clock.now += 599
        keys.renew_when_stale(profile)
        assert not keys._renewing
        clock.now += 2
        keys.renew_when_stale(profile)
        assert len(keys._renewing) == 1
        await asyncio.gather(*keys._renewing)

    fetched.loop.run(run())
    assert len(source.seen) == 2


def test_many_callers_with_an_unknown_kid_cause_one_question(fetched, source):
    async def run():
        profile = fetched.registry.profiles[0]
        await asyncio.gather(*(fetched.keys.renew(profile) for _ in range(20)))

    fetched.loop.run(run())
    assert len(source.seen) == 1


@pytest.mark.parametrize(
    ("stated", "seconds"),
    [
        ("max-age=60", 300),
        ("public, max-age=7200", 7_200),
        ("max-age=999999", 86_400),
        ("no-cache", 300),
        ("", 3_600),
    ],
)
def test_freshness_is_what_the_source_says_within_bounds(stated, seconds):
    assert jwks._fresh_for(stated) == seconds


def test_a_set_with_a_private_or_symmetric_key_is_refused(es_key):
    for entry in (es_key.private_json(), {"kty": "oct", "k": "c2VjcmV0", "kid": "s"}):
        with pytest.raises(KeysRefused):
            import_keys({"keys": [*es_key.public_set()["keys"], entry]})


@pytest.mark.filterwarnings(
    "ignore::joserfc.errors.SecurityWarning"
)  # the size is looked at afterwards
def test_keys_that_cannot_be_used_are_left_out(es_key):
    good = es_key.public_set()["keys"][0]
    numbers = rsa.generate_private_key(65537, 1024).public_key().public_numbers()
    modulus = base64.urlsafe_b64encode(numbers.n.to_bytes(128, "big")).decode().rstrip("=")
    weak = {"kty": "RSA", "kid": "w", "e": "AQAB", "n": modulus, "use": "sig"}
    others = [
        good | {"kid": "e", "use": "enc"},
        good | {"kid": None},
        weak,
        {"kty": "XX", "kid": "x"},
    ]
    assert [key.kid for key in import_keys({"keys": [*others, good]})] == ["es-1"]
    with pytest.raises(KeysRefused):
        import_keys({"keys": others})
    with pytest.raises(KeysRefused):
        import_keys({"keys": [good] * 21})
    for document in (None, [], {}, {"keys": {}}, {"keys": ["x"]}):
        with pytest.raises(KeysRefused):
            import_keys(document)
    with pytest.raises(KeysRefused):
        read_keys(b"\xff")


@pytest.mark.requirement("C72")
def test_keys_may_come_from_a_file_or_the_environment(build, es_key, tmp_path, monkeypatch):
    text = json.dumps(es_key.public_set())
    (tmp_path / "clients").mkdir()
    (tmp_path / "clients" / "keys.json").write_text(text)
    house = build(es_key, trust__jwks_from={"file": "keys.json"}, trust__jwks=None)
    assert knock(house, es_key, "1") == "example"
    monkeypatch.setenv("EHR_KEYS", text)
    house = build(es_key, trust__jwks_from={"env": "EHR_KEYS"}, trust__jwks=None)
    assert knock(house, es_key, "2") == "example"
    monkeypatch.setenv("EHR_KEYS", "no keys")
    house.keys._static.clear()
    assert knock(house, es_key, "3") == "keys-unusable"


def test_a_client_without_trust_has_no_keys_and_nothing_to_fetch(source):
    """A profile of development has no ``trust``: nobody may knock with a token in its name."""
    profile = ClientProfile.model_validate(
        {"id": "open", "title": "Open", "rules": {"mode": "shadow", "accept_draft": False}}
    )
    cache = KeyCache(read_secret=lambda *_: b"")
    assert cache.keys(profile) == ()
    assert not cache.may_renew(profile)
    asyncio.run(cache.renew(profile))
    assert source.seen == []
    assert profile.audiences(["/cds-services/x"]) == frozenset()


def test_a_renewal_under_way_is_given_up_when_the_service_ends(fetched, clock):
    async def run():
        keys, profile = fetched.keys, fetched.registry.profiles[0]
        await keys.renew(profile)
        clock.now += 7_200
        keys.renew_when_stale(profile)
        (task,) = keys._renewing
        await keys.close()
        await asyncio.wait([task], timeout=20)
        return task

    assert fetched.loop.run(run()).cancelled()


@pytest.mark.parametrize(
    ("text", "told"),
    [(b" " * (jwks.LARGEST_SET + 1), "too large"), (b"[", "no JSON")],
    ids=["too large", "no JSON"],
)
def test_a_document_that_is_no_key_set_is_refused_before_its_keys_are_read(text, told):
    with pytest.raises(KeysRefused, match=told):
        read_keys(text)


def test_a_key_of_a_kind_that_signs_no_token_of_ours_is_never_chosen(es_key):
    edwards = {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}  # fmt: skip
    keys = import_keys({"keys": [edwards, *es_key.public_set()["keys"]]})
    assert [key.kid for key in keys if key.fits("ES384")] == ["es-1"]
    assert not keys[0].fits("EdDSA")


@pytest.mark.parametrize("missing", ["kid", "alg"])
def test_a_signing_key_names_itself_and_its_algorithm(es_key, missing):
    stated = {name: one for name, one in es_key.private_json().items() if name != missing}
    for document in (stated, [stated]):
        with pytest.raises(ProfileRefused, match="no 'kid' or no 'alg'"):
            read_key(document)


def test_a_public_or_a_shared_key_signs_nothing(es_key):
    shared = {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQ", "kid": "s", "alg": "HS256"}
    for document in (es_key.public_set()["keys"][0], shared):
        with pytest.raises(ProfileRefused, match="no private EC or RSA key"):
            read_key(document)
