"""A registry of invented clients, their keys, and a way to sign whatever a test wants to have signed."""

import asyncio
import base64
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from joserfc import jws

from service.cds_hooks.clients import ClientRegistry
from service.cds_hooks.jwks import KeyCache
from service.cds_hooks.minting import SigningKey, make_key
from service.cds_hooks.replay import SqliteJtiStore
from service.cds_hooks.trust import Gatekeeper, endpoint_paths, verify

NOW = 1_795_348_800.0  # 2026-11-22 12:00 UTC
ISSUER = "https://ehr.example.org"
BASE = "https://cds.example.org"
PATHS = endpoint_paths("vitamin-dk-patient-view")


def written_profile(**changes) -> dict:
    """The members of a valid profile; ``trust__x`` changes a member of trust."""
    profile = {
        "id": "example",
        "title": "Example",
        "rules": {"mode": "live", "accept_draft": True},
        "trust": {"issuers": [ISSUER], "jwks": {"keys": []}, "audience_base": BASE},
    }
    for name, value in changes.items():
        part, _, member = name.partition("__")
        if member:
            profile[part] = {**profile.get(part, {}), member: value}
            profile[part] = {k: v for k, v in profile[part].items() if v is not None}
        else:
            profile[name] = value
    return profile


def claims(**changes) -> dict:
    """The payload of a good token; a member set to None is left out."""
    payload = {
        "iss": ISSUER,
        "aud": BASE + PATHS[0],
        "iat": int(NOW),
        "exp": int(NOW) + 300,
        "jti": "one-time-1",
    } | changes
    return {k: v for k, v in payload.items() if v is not None}


def sign(key: SigningKey, payload: dict, algorithm: str | None = None, **header) -> str:
    """A compact token signed with ``key``."""
    head = {"alg": algorithm or key.algorithm, "typ": "JWT", "kid": key.kid} | header
    head = {k: v for k, v in head.items() if v is not None}
    registry = jws.JWSRegistry(algorithms=[head["alg"]], strict_check_header=False)
    return jws.serialize_compact(head, json.dumps(payload).encode(), key.value, registry=registry)


def raw(text: bytes) -> str:
    """Any bytes as a part of a token."""
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def part(value) -> str:
    """One part of a token by hand."""
    return raw(json.dumps(value).encode())


@dataclass
class House:
    """One client, its key, and the door it knocks at."""

    folder: Path
    key: SigningKey
    registry: ClientRegistry
    keys: KeyCache
    store: SqliteJtiStore
    loop: asyncio.Runner

    def verify(self, token: str, now: float = NOW, paths=PATHS):
        return verify(
            token,
            audience=paths,
            registry=self.registry,
            keys=self.keys,
            jti_store=self.store,
            now=now,
        )

    def identify(self, token: str, now: float = NOW, paths=PATHS):
        keeper = Gatekeeper(registry=self.registry, keys=self.keys, jti_store=self.store)
        return self.loop.run(keeper.identify(f"Bearer {token}", audience=paths, now=lambda: now))


@pytest.fixture(scope="session")
def es_key() -> SigningKey:
    return make_key("ES384", "es-1")


@pytest.fixture(scope="session")
def rs_key() -> SigningKey:
    return make_key("RS384", "rs+/=1")


@pytest.fixture
def build(tmp_path):
    """Build a house from a key and changes to the profile."""
    houses = []

    def made(key, **changes) -> House:
        folder = tmp_path / "clients"
        folder.mkdir(exist_ok=True)
        if "trust__jku" not in changes:
            changes.setdefault("trust__jwks", key.public_set())
        else:
            changes["trust__jwks"] = None
        (folder / "example.yaml").write_text(yaml.safe_dump(written_profile(**changes)))
        registry = ClientRegistry.load(folder)
        store = SqliteJtiStore(file=tmp_path / "used.sqlite")
        keys = KeyCache(read_secret=registry.secret)
        houses.append(House(folder, key, registry, keys, store, asyncio.Runner()))
        return houses[-1]

    yield made
    for house in houses:
        house.store.close()
        house.loop.run(house.keys.close())
        house.loop.close()


@pytest.fixture
def house(build, es_key, rs_key) -> House:
    """A client with two keys of its own, ES384 and RS384."""
    return build(
        es_key, trust__jwks={"keys": es_key.public_set()["keys"] + rs_key.public_set()["keys"]}
    )
