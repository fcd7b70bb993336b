"""``dekacard conformance URL``: visit a CDS service and print what does not conform."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from service.conformance.visit import Report

EXIT_FINDINGS = 1
EXIT_UNREACHABLE = 12

app = typer.Typer()


@app.command()
def conformance(
    url: Annotated[
        str, typer.Argument(help="Base address of the service, e.g. http://127.0.0.1:8080")
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as one JSON object.")
    ] = False,
    key: Annotated[
        Path | None, typer.Option(help="Private JWK with which to sign a token for each request.")
    ] = None,
    issuer: Annotated[str, typer.Option(help="Issuer (iss) of these tokens.")] = "",
    tenant: Annotated[str | None, typer.Option(help="Tenant of these tokens.")] = None,
    origin: Annotated[str, typer.Option(help="Origin of a browser that wants to call.")] = "",
    timeout: Annotated[float, typer.Option(help="Seconds to wait for each answer.")] = 30.0,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
) -> None:
    """Visit a CDS service and report what does not conform.

    Exit codes: 0 conforms; 1 does not; 2 wrong usage; 12 the service does not answer.
    """
    from rules.errors import DekacardError, Unavailable
    from service.conformance.visit import BROWSER, visit

    if (key is None) != (not issuer):
        raise typer.BadParameter("--key and --issuer belong together")
    try:
        token = _signer(key, issuer, tenant) if key is not None else None
        report = visit(url, token=token, origin=origin or BROWSER, timeout=timeout)
    except Unavailable as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(EXIT_UNREACHABLE) from None
    except DekacardError as error:
        raise typer.BadParameter(str(error)) from None
    if as_json:
        typer.echo(json.dumps(report.as_json(), indent=2))
    else:
        _print(report)
    if report.errors or (strict and report.findings):
        raise typer.Exit(EXIT_FINDINGS)


def _signer(key: Path, issuer: str, tenant: str | None) -> Callable[[str], str]:
    from service.cds_hooks.minting import mint_token, read_key_file

    signing = read_key_file(key)
    return lambda url: mint_token(
        signing, issuer=issuer, audience=url, now=time.time(), tenant=tenant
    )


def _print(report: Report) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from service.conformance.findings import CHECKS

    console = Console()
    for name, told in report.services.items():
        console.print(f"  {escape(name)}: {escape(told)}")
    for weight, style in (("error", "bold red"), ("warning", "yellow")):
        chosen = [one for one in report.findings if one.weight == weight]
        if not chosen:
            continue
        table = Table(
            title=f"{len(chosen)} {weight}{'s' if len(chosen) > 1 else ''}", title_style=style
        )
        for heading in ("requirement", "should be", "where", "what was seen"):
            table.add_column(heading, overflow="fold")
        for one in chosen:
            check = CHECKS[one.check]
            table.add_row(check.source, check.title, escape(one.where), escape(one.says))
        console.print(table)
    verdict = "does not conform" if report.errors else "conforms"
    console.print(
        f"{escape(report.url)} [bold]{verdict}[/bold]: {len(report.errors)} errors,"
        f" {len(report.findings) - len(report.errors)} warnings, {len(CHECKS)} checks,"
        f" {report.requests} requests, slowest {report.slowest_ms:.0f} ms"
    )
