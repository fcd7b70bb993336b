"""``dekacard review``: a population from files, by the same rules as the hook."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, NoReturn

import typer

from rules.errors import RequestError
from service.batch.values import BatchExit, Interrupted, Options, OutputRefused

if TYPE_CHECKING:
    from service.batch.account import Account

STDIN: Final = ".stdin"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def review(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="FHIR Bundles (.json), resources by line (.ndjson), either with .gz, folders of them, "
            "or the manifest of a Bulk Data export; - reads standard input.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    as_of: Annotated[
        str | None,
        typer.Option(help="Moment of the review (ISO 8601 with zone); default: the manifest's."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Worker processes.")] = (
        os.cpu_count() or 1
    ),
    engine: Annotated[
        Literal["compiled", "durable"],
        typer.Option(help="Who matches: Python generated from the rules, or durable_rules."),
    ] = "compiled",
    profile: Annotated[str | None, typer.Option(help="Band profile for vitamin D.")] = None,
    verbosity: Annotated[
        Literal["standard", "education"] | None,
        typer.Option(help="Whether teaching cards are given."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the interrupted run in --out.")
    ] = False,
    sieve: Annotated[
        bool,
        typer.Option("--sieve/--no-sieve", help="Skip lines of no concern without parsing them."),
    ] = True,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Review every patient of files, folders or a Bulk Data export.

    Exit codes: 0 done, 12 done but something was rejected (see rejects.ndjson), 4 done but a rule broke,
    5 the input cannot be used, 13 interrupted (go on with --resume), 14 the output folder is refused.
    """
    from service.batch.progress import Progress
    from service.batch.run import Run
    from service.explaining import read_moment
    from service.settings import Settings

    settings = Settings.read(profile=profile, verbosity=verbosity)
    options = Options(
        as_of=read_moment(as_of).isoformat() if as_of else "",
        profile=settings.profile,
        verbosity=settings.verbosity,
        engine=engine,
        zone=settings.zone,
        validation=settings.validation,
        packs=settings.packs,
        pack_dirs=tuple(str(one) for one in settings.pack_dirs),
        sieve=sieve,
    )
    run = Run(out, workers=workers, progress=Progress(quiet=quiet))
    try:
        account = run.review(_given(paths, out, resume=resume), options, resume=resume)
    except OutputRefused as error:
        _stop(str(error), BatchExit.OUTPUT_BUSY)
    except Interrupted as error:
        _stop(str(error), BatchExit.INTERRUPTED)
    shutil.rmtree(out / STDIN, ignore_errors=True)
    _tell(account, out)
    if account.told["failures"]:
        raise typer.Exit(4)
    if account.rejects:
        raise typer.Exit(BatchExit.REJECTS)


def _given(paths: list[str], out: Path, *, resume: bool) -> list[Path]:
    """The paths; standard input is copied first, so that an interrupted run can go on without it."""
    given = [Path(one) for one in paths if one != "-"]
    if len(given) == len(paths):
        return given
    folder = out / STDIN
    if not (resume and folder.is_dir()):
        if (out / ".work").exists() or (out / "run.json").exists():
            _stop(f"{out} holds another run already.", BatchExit.OUTPUT_BUSY)
        folder.mkdir(parents=True, exist_ok=True)
        start = sys.stdin.buffer.read(2)
        if not start:
            raise RequestError("Standard input is empty.")
        ending = ".json.gz" if start == b"\x1f\x8b" else ".json"
        with (folder / ("standard-input" + ending)).open("wb") as copy:
            copy.write(start)
            shutil.copyfileobj(sys.stdin.buffer, copy)
    return [*given, *folder.iterdir()]


def _tell(account: Account, out: Path) -> None:
    patients = account.told["patients"]
    said = sum(account.told["firings"].values())
    typer.echo(
        f"{patients['in']} patients: {patients['reviewed']} reviewed, {patients['rejected']} rejected; "
        f"{said} recommendations, {len(account.rejects)} rejects. Results: {out}"
    )
    if not account.parquet:
        typer.echo("No Parquet table: install the extra 'batch'.", err=True)


def _stop(message: str, code: int) -> NoReturn:
    typer.echo(f"dekacard: {message}", err=True)
    raise typer.Exit(int(code))
