"""The main job in one command: the service on this machine, its own hooks called, its cards shown."""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import orjson
from rich.console import Console, Group
from rich.markdown import Markdown
from rich.markup import escape
from rich.panel import Panel
from rich.text import Text

from rules.errors import Unavailable
from service.serving import listen
from service.settings import Settings

if TYPE_CHECKING:
    import socket

    from fastapi import FastAPI

# The examples are told as of this day, so that "a week ago" stays a week ago.
TOLD_ON: Final = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
_STYLES: Final = {"critical": "red", "warning": "yellow", "info": "cyan"}
_PATIENCE: Final = 30.0  # seconds for the server to come up


def run_demo(*, port: int, once: bool, engine: str | None) -> None:
    """Serve on a loopback address, call the hooks with the bundled examples, print the cards.

    Raises:
        DekacardError: the service does not come up, or a hook does not answer.
    """
    console = Console(highlight=False)
    with ExitStack() as cleared:
        kept = {} if once else _kept_in(Path(cleared.enter_context(TemporaryDirectory())))
        settings = Settings.read(host="127.0.0.1", port=port, engine=engine, dev=True, **kept)
        listening = listen(settings.host, settings.port)
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        application = cleared.enter_context(_running(settings, listening))
        console.print(f"dekacard answers CDS Hooks at [bold]{address}/cds-services[/]")
        _wait_for(address)
        for title, body in demo_calls():
            _show(console, title, _post(f"{address}/cds-services/vitamin-dk-{body['hook']}", body))
        console.print(
            f"Called as of {TOLD_ON.date().isoformat()}; every patient is invented. "
            "Rules marked draft are not signed by a named clinician."
        )
        if not once:
            _fill(application)
            console.print(
                f"The pharmacist's worklist, with an invented year: [bold]{address}/work[/]"
            )
            console.print(f"Still serving at {address}; stop with Ctrl-C.")
            _until_interrupted()


def demo_calls() -> Iterator[tuple[str, dict[str, Any]]]:
    """The bundled requests with their titles, in the order in which they are shown."""
    folder = files("service") / "demo_calls"
    for entry in sorted(folder.iterdir(), key=lambda one: one.name):
        if entry.name.endswith(".json"):
            told = orjson.loads(entry.read_bytes())
            yield told["title"], told["request"]


def _kept_in(folder: Path) -> dict[str, Any]:
    """Settings of a record that lasts as long as the demo."""
    return {
        "store_url": f"sqlite:///{folder}/record.db",
        "spool_dir": folder / "spool",
        "keyring": folder / "keys.json",
        "runs_dir": folder / "runs",
    }


def _fill(application: FastAPI) -> None:
    """Give the worklist something to show: a year of invented patients, really reviewed."""
    from service.dashboard.demo_screens import furnish
    from service.dashboard.demo_year import live_year

    record, engine = application.state.recorder, application.state.engine
    live_year(record, engine, TOLD_ON)
    furnish(application, TOLD_ON)


@contextmanager
def _running(settings: Settings, listening: socket.socket) -> Iterator[FastAPI]:
    import uvicorn

    from service.app import create_app

    application = create_app(settings, clock=lambda: TOLD_ON)
    config = uvicorn.Config(
        application,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield application
    finally:
        server.should_exit = True
        thread.join(timeout=10)


def _wait_for(address: str) -> None:
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(f"{address}/readyz", timeout=1) as answer:  # noqa: S310 - our own
                if answer.status == 200:  # noqa: PLR2004 - HTTP
                    return
        except OSError:
            time.sleep(0.05)
    raise Unavailable("The service did not come up.")


def _post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(  # noqa: S310 - our own address
        url, data=orjson.dumps(body), headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:  # noqa: S310
            answered: dict[str, Any] = orjson.loads(answer.read())
            return answered
    except OSError as error:
        raise Unavailable(f"The hook did not answer: {type(error).__name__}.") from None


def _show(console: Console, title: str, answer: dict[str, Any]) -> None:
    console.print()
    console.rule(f"[bold]{escape(title)}[/]", align="left")
    for card in answer["cards"]:
        choices = [f"( ) {suggestion['label']}" for suggestion in card.get("suggestions", [])]
        reasons = ", ".join(reason["display"] for reason in card.get("overrideReasons", []))
        parts: list[Any] = [Text(card["summary"], style="bold"), Markdown(card["detail"])]
        if choices:
            parts += [Text(), Text("\n".join(choices), style="green")]
        if reasons:
            parts.append(Text(f"Decline because: {reasons}", style="dim"))
        console.print(
            Panel(
                Group(*parts),
                title=f"[bold]{card['indicator'].upper()}[/] {escape(card['source']['topic']['code'])}",
                title_align="left",
                border_style=_STYLES[card["indicator"]],
            )
        )
    if not answer["cards"]:
        console.print("[green]No card: nothing worth saying.[/]")


def _until_interrupted() -> None:
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        return
