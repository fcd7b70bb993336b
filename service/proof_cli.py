"""The command ``dekacard proof``: what is promised, and, in a checkout, whether it is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def proof(
    names: Annotated[list[str] | None, typer.Argument(help="Only these promises.")] = None,
    run: Annotated[
        bool, typer.Option("--run", help="Run the tests of each, in a checkout of the source.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    checkout: Annotated[Path, typer.Option(help="The checkout whose tests are run.")] = Path(),
) -> None:
    """Print every published promise with its figure, its tests and the command that shows it at full size."""
    from service.cli import Exit
    from service.proof import chosen, print_promises, run_tests

    listed = chosen(names or [])
    if not run:
        print_promises(listed, as_json=as_json)
        return
    if run_tests(listed, checkout.resolve()):
        raise typer.Exit(Exit.FINDINGS_OPEN)
