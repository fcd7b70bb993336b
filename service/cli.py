"""The command line. Heavy parts are imported by the command that needs them, so that ``--help`` is quick."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from rules.errors import DekacardError, EngineError, KnowledgeError, RequestError
from service.record_cli import install

app = typer.Typer(
    name="dekacard",
    help="Clinical decision support for vitamin D, vitamin K and vitamin K antagonists.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
rules_app = typer.Typer(
    help="The rules in force: list them, read one, check a pack.", no_args_is_help=True
)
config_app = typer.Typer(help="The settings of this installation.", no_args_is_help=True)
app.add_typer(rules_app, name="rules")
app.add_typer(config_app, name="config")


class Exit(IntEnum):
    """Exit codes; a number is never used again for something else (docs/reference/errors.md lists them)."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    FINDINGS_OPEN = 3
    RULES_FAILED = 4
    INPUT_REFUSED = 5
    KNOWLEDGE_REFUSED = 6
    SETTINGS_REFUSED = 7
    ENGINE_FAULT = 8
    NOT_HEALTHY = 9


EngineOption = Annotated[
    Literal["durable", "compiled"] | None,
    typer.Option(help="Who matches: durable_rules, or Python generated from the same rules."),
]
AsOfOption = Annotated[
    str | None, typer.Option(help="Moment of the review (ISO 8601 with zone); default: now.")
]
ProfileOption = Annotated[str | None, typer.Option(help="Band profile for vitamin D.")]
VerbosityOption = Annotated[
    Literal["standard", "education"] | None, typer.Option(help="Whether teaching cards are given.")
]


@contextmanager
def plain_errors() -> Iterator[None]:
    """Errors on purpose become one sentence and a numbered exit code, never a traceback."""
    from service.settings import SettingsRefused

    try:
        yield
    except RequestError as error:
        _stop(f"{error} {error.diagnostics}".strip(), Exit.INPUT_REFUSED)
    except SettingsRefused as error:
        _stop(str(error), Exit.SETTINGS_REFUSED)
    except KnowledgeError as error:
        _stop(str(error), Exit.KNOWLEDGE_REFUSED)
    except EngineError as error:
        _stop(str(error), Exit.ENGINE_FAULT)
    except DekacardError as error:
        _stop(str(error), Exit.FAILED)


def _stop(message: str, code: Exit) -> None:
    typer.echo(f"dekacard: {message}", err=True)
    raise typer.Exit(code)


@app.command()
def explain(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="CDS Hooks request or FHIR Bundle; - reads standard input."
        ),
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per patient.")
    ] = False,
    as_of: AsOfOption = None,
    profile: ProfileOption = None,
    verbosity: VerbosityOption = None,
    engine: EngineOption = None,
    patient: Annotated[str | None, typer.Option(help="Only this patient of the file (id).")] = None,
) -> None:
    """Review the patients of one file and show facts, chain, recommendations and gaps."""
    with plain_errors():
        from service.explaining import explain_file

        body = sys.stdin.buffer.read() if file == "-" else _read(Path(file))
        failed = explain_file(
            body,
            as_json=as_json,
            as_of=as_of,
            profile=profile,
            verbosity=verbosity,
            engine=engine,
            patient=patient,
        )
    if failed:
        raise typer.Exit(Exit.RULES_FAILED)


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    workers: Annotated[int | None, typer.Option(help="Server processes.")] = None,
    engine: EngineOption = None,
    dev: Annotated[
        bool, typer.Option("--dev", help="Without client profiles, on a loopback address only.")
    ] = False,
) -> None:
    """Answer CDS Hooks until stopped; a worker that dies is started again."""
    with plain_errors():
        from service.serving import serve as run
        from service.settings import Settings

        settings = Settings.read(
            host=host, port=port, workers=workers, engine=engine, dev=dev or None
        )
        run(settings)


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="Stop after the cards.")] = False,
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8080,
    engine: EngineOption = None,
) -> None:
    """Start the service on this machine, call its hooks with the bundled examples, show the cards."""
    with plain_errors():
        from service.demo import run_demo

        run_demo(port=0 if once else port, once=once, engine=engine)


@app.command()
def doctor(
    client: Annotated[
        str | None,
        typer.Option(help="Say which rules can never speak with what this client sends."),
    ] = None,
) -> None:
    """Look at everything the service needs, and say what to do about what is missing."""
    with plain_errors():
        if client is None:
            from service.doctor import examine

            healthy = examine()
        else:
            from service.clients_cli import tell_reach
            from service.settings import Settings

            healthy = tell_reach(client, Settings.read().clients or Path())
    if not healthy:
        raise typer.Exit(Exit.NOT_HEALTHY)


@rules_app.command("list")
def list_rules(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List every rule in force with its urgency, certainty and status."""
    with plain_errors():
        from service.catalogue import print_rules

        print_rules(as_json=as_json)


@rules_app.command("show")
def show_rule(name: Annotated[str, typer.Argument(help="Rule id, as in 'rules list'.")]) -> None:
    """Show one rule: when it speaks, what it says, which numbers and sources it uses."""
    with plain_errors():
        from service.catalogue import print_rule

        print_rule(name)


@rules_app.command("check")
def check_rules(
    packs: Annotated[list[Path] | None, typer.Argument(help="Folders of further packs.")] = None,
    engine: EngineOption = None,
) -> None:
    """Check all packs and play every vignette against the combined rules."""
    with plain_errors():
        from service.catalogue import check_packs

        sound = check_packs(tuple(packs or ()), engine)
    if not sound:
        raise typer.Exit(Exit.FINDINGS_OPEN)


@rules_app.command("new-pack")
def new_pack(
    name: Annotated[str, typer.Argument(help="Id of the pack, as in north-hospital.")],
    out: Annotated[Path, typer.Option(help="Folder in which the pack gets its own.")] = Path(),
) -> None:
    """Write a pack of your own that passes the check: one example of everything, to be changed."""
    with plain_errors():
        from datetime import UTC, datetime

        from service.new_pack import write_pack

        folder = write_pack(name, out, today=datetime.now(UTC).date())
    typer.echo(f"Written: {folder.parent}. Next: dekacard rules check {folder}")


@rules_app.command("claims")
def list_claims() -> None:
    """Show how each sentence of the source text is represented, and how sure it is."""
    with plain_errors():
        from service.catalogue import print_claims

        print_claims()


@config_app.command("check")
def check_config() -> None:
    """Read all settings, packs and client profiles without serving."""
    with plain_errors():
        from service.doctor import print_settings
        from service.settings import Settings

        print_settings(Settings.read())


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RequestError(f"{path}: {error.strerror}.") from None


# Commands that stand in modules of their own: name -> module and its Typer object
MOUNTED: dict[str, tuple[str, str]] = {}


def _mount(name: str, module: str, attribute: str, help_text: str) -> None:
    """Offer the commands of another module without importing it until one of them is called."""
    MOUNTED[name] = (module, attribute)

    @app.command(
        name,
        help=help_text,
        add_help_option=False,
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )
    def passed_on(context: typer.Context) -> None:
        import importlib

        sub: typer.Typer = getattr(importlib.import_module(module), attribute)
        command: Any = typer.main.get_command(sub)
        with plain_errors():
            command.main(args=context.args, prog_name=f"dekacard {name}", standalone_mode=True)


_mount(
    "conformance",
    "service.conformance.cli",
    "app",
    "Check any CDS Hooks service against the specification and its known clients.",
)
_mount(
    "review",
    "service.batch.cli",
    "app",
    "Review a population: Bundles, lines of resources, a Bulk Data export.",
)
_mount(
    "clients", "service.clients_cli", "app", "Client profiles: make one, check them, mint a token."
)
_mount("proof", "service.proof_cli", "app", "Print what is promised, with the tests that prove it.")

install(app)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
