"""The dashboard as a hospital serves it: client profiles, TLS cookies, local accounts, perhaps an OpenID provider."""

import re
from datetime import UTC, datetime
from pathlib import Path

import yaml
from fastapi.testclient import TestClient
from sqlalchemy import select

from service.alerts import models
from service.alerts.access import new_account
from service.alerts.keyring import new_keyring, write_keyring
from service.app import create_app
from service.identity_passwords import set_password
from service.settings import Settings

BASE = "https://cds.example.org"
OURS = {"sec-fetch-site": "same-origin"}
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
PASSWORD = "seven grey geese fly"
CLIENT = "mercy"


def settings_in(place: Path, **more) -> Settings:
    """Settings of a site with one client, whose files lie in ``place``."""
    clients = place / "clients"
    clients.mkdir(exist_ok=True)
    profile = {
        "id": CLIENT,
        "title": "Mercy",
        "rules": {"mode": "live", "accept_draft": True},
        "trust": {
            "issuers": ["https://ehr.example.org"],
            "jwks": {"url": "https://ehr.example.org/keys"},
            "audience_base": BASE,
        },
    }
    (clients / "mercy.yaml").write_text(yaml.safe_dump(profile), encoding="utf-8")
    if not (place / "keys.json").exists():
        write_keyring(place / "keys.json", new_keyring())
    given = {
        "engine": "compiled", "clients": clients, "jti_store": f"sqlite:///{place}/jti.db",
        "store_url": f"sqlite:///{place}/r.db", "spool_dir": place / "spool", "keyring": place / "keys.json",
        "setup_file": place / "token",
    }  # fmt: skip
    return Settings(**(given | more))


class Hospital:
    """A browser before a served site; the clock stands where a test puts it."""

    def __init__(self, settings, now=NOON):
        self.now = now
        self.app = create_app(settings, clock=lambda: self.now)
        self.record = self.app.state.recorder
        self.client = self.browser()

    def browser(self):
        """Another browser."""
        return TestClient(self.app, base_url=BASE, follow_redirects=False)

    def account(self, name, role, password=PASSWORD):
        """A local account."""
        given = {"tenant": CLIENT, "name": name, "actor": "operator", "now": self.now}
        new_account(self.record.database, self.record.keyring, role=role, **given)
        if password:
            set_password(self.record.database, self.record.keyring, password=password, **given)

    def post(self, path, client=None, headers=OURS, **fields):
        """Send a form, with the token of the session if the account page shows one."""
        asker = client or self.client
        page = asker.get("/account")
        token = re.search(r'name="form_token" value="([^"]+)"', page.text)
        if token:
            fields.setdefault("form_token", token[1])
        return asker.post(path, data=fields, headers=headers)

    def trail(self, action):
        """The lines of the audit trail with this action."""
        self.record.flush() if hasattr(self.record, "flush") else None
        with self.record.database.reading() as connection:
            return connection.execute(
                select(models.audit).where(models.audit.c.action == action)
            ).all()

    def close(self):
        self.app.state.recorder.close()
