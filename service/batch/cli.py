"""``dekacard review``: a population from files, by the same rules as the hook."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, NoReturn

import typer

from service.batch.values import CRASHED, BatchExit, Interrupted, Options, OutputRefused

if TYPE_CHECKING:
    from service.batch.account import Account
    from service.batch.storing import Handover
    from service.settings import Settings

WHAT_IF: Final = "what-if"
_STORED: Final = {  # what the record calls by the name of an event
    "not-taken": "patients could not be taken in",
    "opened": "alerts opened",
    "recurred": "alerts came back",
    "seen-again": "alerts seen again",
    "cleared": "alerts closed, since their facts no longer hold",
}

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def review(  # noqa: PLR0913, PLR0917 - each is an option of the command
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH...",
            help="FHIR Bundles (.json), resources by line (.ndjson), either with .gz, folders of them, "
            "or the manifest of a Bulk Data export; Parquet (.parquet); - reads standard input.",
        ),
    ] = None,
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
    spark: Annotated[
        str | None,
        typer.Option(
            metavar="MASTER", help="Review on Spark (extra 'spark'): local[2], spark://..."
        ),
    ] = None,
    compare_run: Annotated[
        Path | None,
        typer.Option(help="Results of an earlier run: tell what is new, changed and cleared."),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(
            metavar="PACKDIR",
            help="Also review with the packs of this folder, and tell what differs.",
        ),
    ] = None,
    sql: Annotated[
        list[str] | None,
        typer.Option(
            metavar="QUERY",
            help="A DuckDB query whose column 'resource' holds FHIR resources as JSON (extra 'sql').",
        ),
    ] = None,
    sql_database: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The DuckDB file that --sql asks.")
    ] = None,
    tables: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Also write the results as tables of a DuckDB file (extra 'sql')."
        ),
    ] = None,
    code_map: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="The hospital's own codes (FHIR ConceptMap); may be repeated."
        ),
    ] = None,
    client: Annotated[
        str | None,
        typer.Option(
            help="Review as the hooks of this client do: its bands, verbosity, zone, modes, own codes."
        ),
    ] = None,
    store: Annotated[
        bool,
        typer.Option("--store/--no-store", help="Give the results to the record of --client."),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Review every patient of files, folders or a Bulk Data export.

    Exit codes: 0 done, 12 done but something was rejected (see rejects.ndjson), 4 done but a rule broke,
    5 the input cannot be used, 13 interrupted (go on with --resume), 14 the output folder is refused.
    """
    from service.batch.comparing import refuse_unfinished
    from service.batch.copies import Copies
    from service.batch.progress import Progress
    from service.batch.run import Run
    from service.batch.tables import refuse_tables, write_tables
    from service.batch.what_if import with_packs
    from service.explaining import read_moment
    from service.settings import Settings

    _refuse_contradictions(
        given=bool(paths or sql), store=store, client=client, other=profile or verbosity
    )
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
        code_maps=tuple(str(one.resolve()) for one in code_map or settings.code_maps),
    )
    progress = Progress(quiet=quiet)
    copies = Copies(out, resume=resume)
    if tables is not None:
        refuse_tables(tables)
    if compare_run is not None:
        refuse_unfinished(compare_run)
    if compare is not None:
        with_packs(options, compare)  # said now, not after the review
    try:
        given = copies.of(paths or [], sql or [], sql_database)
        with _followed(settings, client, options, store=store) as (options, handover):
            run = Run(out, workers=workers, progress=progress, handover=handover)
            if spark is not None:
                from service.batch.spark import SparkRun, session

                run = SparkRun(out, spark=session(spark), progress=progress, handover=handover)
            account = run.review(given, options, resume=resume)
    except OutputRefused as error:
        _stop(str(error), BatchExit.OUTPUT_BUSY)
    except Interrupted as error:
        _stop(str(error), BatchExit.INTERRUPTED)
    _tell(account, out)
    if tables is not None:
        write_tables(out, tables)
    if compare_run is not None:
        _tell_changes(compare_run, out)
    if compare is not None:
        _tell_what_if(given, out, options, compare, workers=workers, quiet=quiet)
    copies.remove()
    if account.told["failures"]:
        raise typer.Exit(4)
    if account.rejects:
        raise typer.Exit(BatchExit.REJECTS)


def _refuse_contradictions(
    *, given: bool, store: bool, client: str | None, other: str | None
) -> None:
    if not given:
        raise typer.BadParameter("give a PATH, or a query by --sql.")
    if store and client is None:
        raise typer.BadParameter("--store needs --client: whose alerts they are.")
    if client is not None and other:
        raise typer.BadParameter("--client says which --profile and --verbosity count.")


@contextmanager
def _followed(
    settings: Settings, client: str | None, options: Options, *, store: bool
) -> Iterator[tuple[Options, Handover | None]]:
    """The options as the client has them, and the way into its record where that was asked for."""
    if client is None:
        yield options, None
        return
    from service.batch.clientele import following, profile_of, record_of

    profile = profile_of(settings, client)
    if not store:
        yield following(options, profile), None
        return
    with record_of(settings, profile, options) as opened:
        yield opened


def _tell(account: Account, out: Path) -> None:
    from fhir_adapter.needles import libraries

    patients = account.told["patients"]
    said = sum(account.told["firings"].values())
    typer.echo(
        f"{patients['in']} patients: {patients['reviewed']} reviewed, {patients['rejected']} rejected; "
        f"{said} recommendations, {len(account.rejects)} rejects. Results: {out}"
    )
    if crashed := account.told["rejects"].get(CRASHED, 0):
        typer.echo(
            f"{crashed} set aside, because the worker crashed on their data each time: see {CRASHED} in rejects.ndjson.",
            err=True,
        )
    if account.stored is not None:
        typer.echo(f"Into the record: {_told_of_record(account.stored)}.")
    if libraries() == ("none",):
        typer.echo(
            "Lines were parsed one by one: the extra 'batch' searches them faster.", err=True
        )
    if not account.parquet:
        typer.echo("No Parquet table: install the extra 'batch'.", err=True)


def _told_of_record(stored: Mapping[str, int]) -> str:
    happened = {name: number for name, number in stored.items() if number}
    before = happened.pop("there-before", 0)
    told = ", ".join(f"{number} {_STORED.get(name, name)}" for name, number in happened.items())
    if not before:
        return told or "nothing"
    return f"{told or 'nothing new'}; {before} patients of this very run were there before"


def _tell_changes(before: Path, after: Path, into: Path | None = None) -> None:
    from service.batch.comparing import told, write_difference

    target = (into or after) / "changes.ndjson"
    for line in told(write_difference(before, after, target)):
        typer.echo(line)


def _tell_what_if(
    given: list[Path], out: Path, options: Options, packs: Path, *, workers: int, quiet: bool
) -> None:
    from service.batch.what_if import review_apart, with_packs

    target = out / WHAT_IF
    try:
        review_apart(given, target, with_packs(options, packs), workers=workers, quiet=quiet)
    except Interrupted as error:
        _stop(str(error), BatchExit.INTERRUPTED)
    _tell_changes(out, target, target)


def _stop(message: str, code: int) -> NoReturn:
    typer.echo(f"dekacard: {message}", err=True)
    raise typer.Exit(int(code))
