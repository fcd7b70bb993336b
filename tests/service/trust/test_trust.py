"""A token is believed only if everything about it is right, and the caller never learns what was wrong."""

import hashlib
import hmac
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.errors import NotTrusted, Unavailable
from service.cds_hooks.minting import make_key, mint_token, read_key
from service.cds_hooks.trust import REASONS, bearer, endpoint_paths, verify
from tests.service.trust.conftest import BASE, ISSUER, NOW, PATHS, claims, part, raw, sign


def refused(house, token, **options) -> str:
    """The reason for which ``token`` is refused; the error itself must not carry it to the caller."""
    with pytest.raises(NotTrusted) as caught:
        house.verify(token, **options)
    assert caught.value.reason in REASONS
    assert caught.value.status == 401
    assert str(caught.value) == "not trusted"
    return caught.value.reason


@pytest.mark.requirement("C69")
def test_a_good_token_names_its_client(house, es_key, rs_key):
    for number, key in enumerate((es_key, rs_key)):
        client = house.verify(sign(key, claims(jti=f"good-{number}")))
        assert (client.profile.id, client.issuer, client.tenant) == ("example", ISSUER, None)


@pytest.mark.requirement("C69")
def test_what_epic_adds_is_accepted(house, rs_key):
    payload = claims(
        nbf=int(NOW) - 300, sub="some-app", aud=[BASE + PATHS[0], "https://elsewhere.example"]
    )
    assert house.verify(sign(rs_key, payload)).jti == "one-time-1"


def _hs256_with_the_public_key(house) -> str:
    head = part({"alg": "HS256", "typ": "JWT", "kid": house.key.kid})
    body = part(claims())
    secret = house.key.value.as_pem(private=False)
    mac = hmac.new(secret, f"{head}.{body}".encode(), hashlib.sha256).digest()
    return f"{head}.{body}.{raw(mac)}"


def _with(position, replacement):
    def changed(house) -> str:
        parts = sign(house.key, claims()).split(".")
        parts[position] = replacement(parts[position])
        return ".".join(parts)

    return changed


def _claims(**changes):
    return lambda house: sign(house.key, claims(**changes))


HOSTILE = {
    "no signature at all (alg none)": (
        lambda house: (
            f"{part({'alg': 'none', 'typ': 'JWT', 'kid': house.key.kid})}.{part(claims())}."
        ),
        "alg-refused",
    ),
    "HMAC with our public key as the secret": (_hs256_with_the_public_key, "alg-refused"),
    "payload changed after signing": (
        _with(1, lambda _: part(claims(tenant=None, sub="me"))),
        "signature-wrong",
    ),
    "a signature of zeros": (_with(2, lambda old: "A" * len(old)), "signature-wrong"),
    "another curve than the algorithm's": (
        lambda house: sign(make_key("ES256", house.key.kid), claims()),
        "alg-refused",
    ),
    "a foreign key under our kid": (
        lambda house: sign(make_key("ES384", house.key.kid), claims()),
        "signature-wrong",
    ),
    "for another endpoint": (_claims(aud=f"{BASE}/cds-services/other"), "aud-wrong"),
    "for nobody": (_claims(aud=None), "aud-missing"),
    "without end": (_claims(exp=None), "exp-missing"),
    "without an id": (_claims(jti=None), "jti-missing"),
    "issued in the future": (_claims(iat=int(NOW) + 61, exp=int(NOW) + 300), "iat-in-future"),
    "expired": (_claims(iat=int(NOW) - 400, exp=int(NOW) - 60), "expired"),
    "with an unknown critical header": (
        lambda house: sign(house.key, claims(), crit=["b64"], b64=True),
        "header-refused",
    ),
    "valid for a year": (_claims(exp=int(NOW) + 31_536_000), "life-too-long"),
}


@pytest.mark.requirement("C69", "C70")
@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_token_is_refused(what, house):
    make, reason = HOSTILE[what]
    assert refused(house, make(house)) == reason
    # ... and has not used up the id: the genuine token still passes.
    assert house.verify(sign(house.key, claims())).jti == "one-time-1"


MORE = {
    "keys of its own in the header": (
        lambda h: sign(make_key("ES384", h.key.kid), claims(), jwk={}),
        "signature-wrong",
    ),
    "a jku of the attacker": (
        lambda h: sign(h.key, claims(), jku="https://evil.example/jwks"),
        "jku-refused",
    ),
    "unknown issuer": (_claims(iss="https://evil.example"), "issuer-unknown"),
    "issuer as a list": (_claims(iss=[ISSUER]), "issuer-unknown"),
    "issuer with another case": (_claims(iss=ISSUER.upper()), "issuer-unknown"),
    "tenant is a number": (_claims(tenant=7), "tenant-unknown"),
    "unknown kid": (lambda h: sign(h.key, claims(), kid="other"), "kid-unknown"),
    "no kid": (lambda h: sign(h.key, claims(), kid=None), "kid-missing"),
    "kid of the other key": (lambda h: sign(h.key, claims(), kid="rs+/=1"), "kid-unknown"),
    "no typ": (lambda h: sign(h.key, claims(), typ=None), "typ-wrong"),
    "typ at+jwt": (lambda h: sign(h.key, claims(), typ="at+jwt"), "typ-wrong"),
    "detached payload": (_with(1, lambda _: ""), "token-malformed"),
    "two parts": (lambda h: sign(h.key, claims()).rpartition(".")[0], "token-malformed"),
    "five parts": (lambda h: "a.b.c.d.e", "token-malformed"),
    "payload is a list": (_with(1, lambda _: part([1])), "token-malformed"),
    "a member twice": (
        _with(1, lambda _: raw(b'{"iss":"a","iss":"b"}')),
        "token-malformed",
    ),
    "deeply nested": (_with(1, lambda _: raw(b"[" * 9_000)), "token-malformed"),
    "longer than 16 kB": (lambda h: sign(h.key, claims(x="a" * 20_000)), "token-too-long"),
    "exp is text": (_claims(exp=str(int(NOW) + 300)), "exp-missing"),
    "exp is true": (_claims(exp=True), "exp-missing"),
    "exp in milliseconds": (_claims(exp=int(NOW * 1000)), "exp-missing"),
    "exp beyond every float": (_claims(exp=10**400), "exp-missing"),
    "no iat": (_claims(iat=None), "iat-missing"),
    "not yet valid": (_claims(nbf=int(NOW) + 61), "not-yet-valid"),
    "ends before it begins": (_claims(iat=int(NOW) + 50, exp=int(NOW) + 40), "life-too-long"),
    "aud holds a number": (_claims(aud=[7]), "aud-missing"),
    "aud is empty": (_claims(aud=[]), "aud-missing"),
    "aud with another case": (_claims(aud=(BASE + PATHS[0]).upper()), "aud-wrong"),
    "aud with a trailing slash": (_claims(aud=BASE + PATHS[0] + "/"), "aud-wrong"),
    "aud is the discovery": (_claims(aud=f"{BASE}/cds-services"), "aud-wrong"),
    "jti is empty": (_claims(jti=""), "jti-missing"),
    "jti is a number": (_claims(jti=5), "jti-missing"),
    "jti is very long": (_claims(jti="x" * 600), "jti-missing"),
}


@pytest.mark.requirement("C70")
@pytest.mark.parametrize("what", MORE)
def test_a_wrong_token_is_refused(what, house):
    make, reason = MORE[what]
    assert refused(house, make(house)) == reason


def test_without_a_token_nobody_is_known():
    for header in (None, "", "Bearer", "Bearer  ", "Basic YTpi"):
        with pytest.raises(NotTrusted) as caught:
            bearer(header)
        assert caught.value.reason == "token-missing"
    assert bearer("bearer abc") == "abc"


def test_every_reason_is_met_by_a_test():
    met = {reason for _, reason in (HOSTILE | MORE).values()}
    assert set(REASONS) - met == {"token-missing", "keys-unusable", "jti-replayed"}


@given(st.text(max_size=200))
def test_no_text_is_mistaken_for_a_token_or_breaks_the_door(text):
    class Nobody:
        def knows_issuer(self, issuer):
            return False

    with pytest.raises(NotTrusted):
        verify(text, audience=PATHS, registry=Nobody(), keys=None, jti_store=None, now=NOW)


@pytest.mark.requirement("C70")
def test_the_leeway_is_the_profiles(build, es_key):
    house = build(es_key, trust__leeway=10)
    assert refused(house, sign(es_key, claims()), now=NOW + 310) == "expired"
    assert house.verify(sign(es_key, claims()), now=NOW + 309).jti == "one-time-1"


@pytest.mark.requirement("C70")
def test_a_longer_life_is_the_profiles_to_grant(build, es_key):
    house = build(es_key, trust__max_life=900)
    assert house.verify(sign(es_key, claims(exp=int(NOW) + 900))).jti == "one-time-1"
    assert refused(house, sign(es_key, claims(exp=int(NOW) + 901, jti="b"))) == "life-too-long"


@pytest.mark.requirement("C70")
def test_a_tenant_must_be_one_of_the_profiles(build, es_key):
    house = build(es_key, trust__tenants=["north"])
    assert house.verify(sign(es_key, claims(tenant="north"))).tenant == "north"
    assert refused(house, sign(es_key, claims(tenant="south", jti="b"))) == "tenant-unknown"
    assert refused(house, sign(es_key, claims(jti="c"))) == "tenant-unknown"


@pytest.mark.requirement("C65", "C71")
def test_the_audience_is_the_public_address_or_the_configured_one(build, es_key):
    house = build(es_key, trust__extra_audiences=["urn:our:cds"])
    service = f"{BASE}/cds-services/x"
    feedback = endpoint_paths("x", feedback=True)
    for number, (aud, paths) in enumerate(
        [
            (service, endpoint_paths("x")),
            ("urn:our:cds", endpoint_paths("x")),
            (f"{service}/feedback", feedback),
            (service, feedback),
            (f"{BASE}/cds-services", endpoint_paths()),
        ]
    ):
        assert house.verify(sign(es_key, claims(aud=aud, jti=str(number))), paths=paths)
    assert (
        refused(house, sign(es_key, claims(aud=f"{service}/feedback")), paths=endpoint_paths("x"))
        == "aud-wrong"
    )


@pytest.mark.requirement("C70")
def test_a_token_is_good_once(house, es_key):
    token = sign(es_key, claims())
    assert house.verify(token)
    assert refused(house, token) == "jti-replayed"
    assert refused(house, sign(es_key, claims(exp=int(NOW) + 200))) == "jti-replayed"


def test_of_twenty_copies_at_once_one_passes(house, es_key):
    token, outcomes = sign(es_key, claims()), []
    start = threading.Barrier(20)

    def knock():
        start.wait()
        try:
            house.verify(token)
            outcomes.append("in")
        except NotTrusted as refusal:
            outcomes.append(refusal.reason)

    threads = [threading.Thread(target=knock) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["in"] + ["jti-replayed"] * 19


def test_nobody_passes_when_used_tokens_cannot_be_remembered(house, es_key, tmp_path):
    house.store.file = tmp_path  # a folder cannot be opened as a database
    with pytest.raises(Unavailable):
        house.verify(sign(es_key, claims()))


@pytest.mark.requirement("C72")
def test_a_minted_token_passes_at_its_door(build, rs_key):
    key = read_key(rs_key.private_json())
    house = build(key)
    token = mint_token(key, issuer=ISSUER, audience=BASE + PATHS[0], now=NOW)
    assert house.verify(token).issuer == ISSUER
    assert "d" not in key.public_set()["keys"][0]
