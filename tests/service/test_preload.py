"""What a worker needs is loaded before it is forked, and nothing is open there that a fork would tear in two."""

import json
import os
import subprocess
import sys

import pytest

from tests.service.dashboard.production import settings_in

# In a process of its own: this one has everything loaded already.
STARTED = """
import asyncio, json, os, sys
from collections import Counter
from service.bootstrap import assemble, check, record_options
from service.preload import preload
from service.settings import Settings

def open_files():
    return sorted(os.readlink(f"/proc/self/fd/{one}") for one in os.listdir("/proc/self/fd")
                  if os.path.exists(f"/proc/self/fd/{one}"))

settings = Settings()
before = open_files()
check(settings)
if settings.store_url:
    from service.alerts.record import prepare_record

    prepare_record(record_options(settings), create_keys=True, upgrade=True)
preload(settings)
told = {
    "threads": len(os.listdir("/proc/self/task")),
    "opened": sorted((Counter(open_files()) - Counter(before)).elements()),
}
loaded = set(sys.modules)

import uvicorn
from service.app import create_app

app = create_app(settings, parts=assemble(settings, keeper_beside=True))
uvicorn.Config(app, log_config=None).load()
body = open(sys.argv[1], "rb").read()
answers = []

async def call():
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive():
        return waiting.pop()

    async def send(message):
        answers.append(message)

    path = "/cds-services/vitamin-dk-patient-view"
    await app({
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "headers": [(b"host", b"127.0.0.1:8080"), (b"content-type", b"application/json"),
                    (b"content-length", str(len(body)).encode())],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8080),
    }, receive, send)

async def live():
    async with app.router.lifespan_context(app):
        await call()

asyncio.run(live())
told["status"] = answers[0]["status"]
told["late"] = sorted(set(sys.modules) - loaded)
print(json.dumps(told))
"""


def started(root, **settings):
    """What a fresh process tells of its preloading, its start and its first call."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DEKACARD_")} | settings
    ran = subprocess.run(
        [sys.executable, "-c", STARTED, str(root / "examples" / "01-warfarin-new-mk7-coded.json")],
        env=environment, cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


def for_development(folder):
    """The settings of `serve --dev` with a record."""
    return {
        "DEKACARD_DEV": "true",
        "DEKACARD_STORE_URL": f"sqlite:///{folder}/record.db",
        "DEKACARD_SPOOL_DIR": str(folder / "spool"),
        "DEKACARD_KEYRING": str(folder / "keys.json"),
    }


def without_a_record(_folder):
    """The settings of `serve --dev` alone."""
    return {"DEKACARD_DEV": "true"}


def of_a_site(folder):
    """The settings of a hospital with profiles of its clients."""
    settings = settings_in(folder)
    return {
        "DEKACARD_CLIENTS": str(settings.clients),
        "DEKACARD_JTI_STORE": settings.jti_store,
        "DEKACARD_STORE_URL": settings.store_url,
        "DEKACARD_SPOOL_DIR": str(settings.spool_dir),
        "DEKACARD_KEYRING": str(settings.keyring),
    }


@pytest.mark.parametrize(
    ("site", "engine"),
    [(for_development, "durable"), (without_a_record, "durable"), (of_a_site, "compiled")],
)
def test_a_worker_finds_loaded_what_it_starts_with_and_nothing_is_open_yet(
    root, tmp_path, site, engine
):
    told = started(root, **site(tmp_path), DEKACARD_ENGINE=engine)
    assert told["status"] == (401 if site is of_a_site else 200)
    assert told["late"] == []
    assert told["threads"] == 1
    assert told["opened"] == []
