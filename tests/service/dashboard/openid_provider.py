"""A real OpenID provider on this machine: it signs with a key of its own, and lies where a test tells it to."""

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

from tests.service.dashboard.production import BASE, CLIENT

BACK = f"{BASE}/oidc/hospital/back"
LOGOUT = "http://schemas.openid.net/event/backchannel-logout"


class OpenIdProvider:
    """Signs whoever ``claims`` says in, at ``issuer``; ``twist`` changes what it answers."""

    def __init__(self, *, client_id="dekacard", secret="a secret of the test", redirect_uri=""):
        self.client_id, self.secret, self.redirect_uri = client_id, secret, redirect_uri
        self.key = RSAKey.generate_key(2048, parameters={"kid": "k1", "use": "sig", "alg": "RS256"})
        self.other_key = ECKey.generate_key("P-256", parameters={"kid": "k1", "alg": "ES256"})
        self.claims = {
            "sub": "s-1",
            "preferred_username": "nora",
            "groups": ["vk-pharmacists"],
            "sid": "there-1",
        }
        self.changes, self.header, self.metadata_changes, self.token_changes = {}, {}, {}, {}
        self.signing, self.answer_changes, self.answers = None, {}, True
        self.asked, self.tokens_asked, self._codes = [], [], {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def honest(self):
        """Tell no lies any more."""
        self.changes, self.header, self.metadata_changes, self.token_changes = {}, {}, {}, {}
        self.signing, self.answer_changes, self.answers = None, {}, True
        self.claims = {
            "sub": "s-1",
            "preferred_username": "nora",
            "groups": ["vk-pharmacists"],
            "sid": "there-1",
        }

    def metadata(self):
        paths = {
            "authorization_endpoint": "/authorize",
            "token_endpoint": "/token",
            "jwks_uri": "/keys",
        }
        told = {name: self.issuer + path for name, path in paths.items()}
        told |= {
            "issuer": self.issuer,
            "id_token_signing_alg_values_supported": ["RS256", "none", "HS256"],
        }
        return told | self.metadata_changes

    def authorize(self, query):
        """The address to which the browser goes back, with a code that works once."""
        self.asked.append(query)
        assert query["client_id"] == self.client_id
        assert query["redirect_uri"] == self.redirect_uri
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self._codes[code] = (
            query["code_challenge"],
            query.get("nonce", ""),
            query.get("acr_values", ""),
        )
        answer = {"code": code, "state": query["state"], "iss": self.issuer} | self.answer_changes
        return (
            f"{self.redirect_uri}?{urlencode({k: v for k, v in answer.items() if v is not None})}"
        )

    def token(self, form, authorization):
        """Status and answer of the token address."""
        self.tokens_asked.append(form)
        expected = base64.b64encode(f"{self.client_id}:{self.secret}".encode()).decode()
        held = self._codes.pop(form.get("code", ""), None)
        verifier = form.get("code_verifier", "")
        challenge = (
            base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
            .decode()
            .rstrip("=")
        )
        fits = held and held[0] == challenge and form.get("redirect_uri") == self.redirect_uri
        if authorization != f"Basic {expected}" or not fits:
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": self.client_id,
            "iat": now,
            "exp": now + 300,
            "nonce": held[1],
        }
        body = {"access_token": "canary-access-token", "token_type": "Bearer", "expires_in": 300}
        body["id_token"] = self.sign(claims | self.claims | self.changes)
        body |= self.token_changes
        return 200, {name: value for name, value in body.items() if value is not None}

    def sign(self, claims, typ="JWT"):
        """A compact token, signed as the test wants it."""
        claims = {name: value for name, value in claims.items() if value is not None}
        head = {"alg": "RS256", "kid": "k1", "typ": typ} | self.header
        if head["alg"] in {"none", "HS256"}:
            body = f"{_text(json.dumps(head).encode())}.{_text(json.dumps(claims).encode())}"
            public = self.key.as_pem(private=False)
            mac = hmac.digest(public, body.encode(), "sha256") if head["alg"] == "HS256" else b""
            return f"{body}.{_text(mac)}"
        registry = jws.JWSRegistry(algorithms=[head["alg"]], strict_check_header=False)
        key = self.signing or self.key
        return jws.serialize_compact(head, json.dumps(claims).encode(), key, registry=registry)

    def logout_token(self, **changes):
        """A token that says: this one went out."""
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": self.client_id,
            "iat": now,
            "exp": now + 120,
            "jti": secrets.token_hex(8),
        }
        claims |= {"sub": "s-1", "sid": "there-1", "events": {LOGOUT: {}}}
        return self.sign(claims | changes, typ="logout+jwt")


def _text(part):
    return base64.urlsafe_b64encode(part).decode().rstrip("=")


def _handler(provider):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            if not provider.answers:
                self._json(503, {})
            elif parts.path == "/.well-known/openid-configuration":
                self._json(200, provider.metadata())
            elif parts.path == "/keys":
                self._json(200, {"keys": [provider.key.as_dict(private=False)]})
            elif parts.path == "/authorize":
                self.send_response(302)
                self.send_header("Location", provider.authorize(query))
                self.end_headers()
            else:
                self._json(404, {})

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            self._json(*provider.token(form, self.headers.get("Authorization", "")))

        def _json(self, status, told):
            body = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Handler


def entry(provider, place, **changes):
    """What the file of providers says of the provider."""
    secret = place / "secret"
    secret.write_text(provider.secret + "\n", encoding="utf-8")
    told = {
        "id": "hospital", "title": "Hospital account", "client": CLIENT, "issuer": provider.issuer,
        "client_id": provider.client_id, "client_secret_file": str(secret), "redirect_uri": BACK,
        "role_claim": "groups", "roles": {"vk-leads": "lead", "vk-pharmacists": "pharmacist"},
    }  # fmt: skip
    return told | changes


def leave(site, provider="hospital"):
    """Go to the provider: the address it sends the browser back to."""
    answer = site.client.get(f"/oidc/{provider}/start")
    assert answer.status_code == 303
    with httpx2.Client(trust_env=False) as browser:
        return browser.get(answer.headers["location"]).headers["location"]


def come_back(site, address=None):
    """Come back with the provider's answer."""
    address = address or leave(site)
    return site.client.get(address.removeprefix(BASE))
