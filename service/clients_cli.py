"""``dekacard clients``: make a client profile, check profiles, and play the client with keys and tokens of one's own."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rules.rulebook import Rulebook
    from service.cds_hooks.clients import ClientRegistry

EXIT_REFUSED = 7  # the same as for refused settings: profiles are settings

app = typer.Typer(
    help="Client profiles: one file for each EHR that may call.", no_args_is_help=True
)

FolderOption = Annotated[
    Path, typer.Option("--folder", envvar="DEKACARD_CLIENTS", help="Folder of the client profiles.")
]

_TEMPLATE = """\
# Client profile of {id}. `dekacard clients check` says what is wrong with it.
id: {id}
title: {id}
rules:
  mode: shadow          # off | shadow | review | live
  accept_draft: false   # whether rules that no clinician has signed may speak
trust:
  issuers: [{issuer}]
  audience_base: {base}
  {keys}
origins: []
fhir:
  version: R4
  bases: []             # FHIR base addresses to which this client's access tokens may go
zone: UTC
deadline_ms: 500
"""


@contextmanager
def _plainly() -> Iterator[None]:
    from service.cds_hooks.client_profile import ProfileRefused

    try:
        yield
    except ProfileRefused as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(EXIT_REFUSED) from None


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Id of the client: a-z, 0-9 and '-'.")],
    issuer: Annotated[str, typer.Option(help="The 'iss' of its tokens.")],
    base: Annotated[str, typer.Option(help="Our public base address, as it stands in 'aud'.")],
    folder: FolderOption,
    jku: Annotated[
        str,
        typer.Option(
            help="Address of its public keys; without it a key pair is made for a sandbox."
        ),
    ] = "",
) -> None:
    """Write a new profile, in shadow mode; without --jku also a key pair, to play the client oneself."""
    from service.cds_hooks.clients import read_profile
    from service.cds_hooks.minting import make_key

    folder.mkdir(parents=True, exist_ok=True)
    profile, private = folder / f"{name}.yaml", folder / f"{name}.private.jwk.json"
    public = folder / f"{name}.jwks.json"
    taken = [file for file in (profile, private, public) if file.exists()]
    if taken:
        typer.echo(f"{taken[0]} exists already; nothing was written.", err=True)
        raise typer.Exit(EXIT_REFUSED)
    keys = f"jku: {jku}" if jku else f"jwks_from: {{file: {public.name}}}"
    text = _TEMPLATE.format(id=name, issuer=json.dumps(issuer), base=json.dumps(base), keys=keys)
    written = [profile]
    try:
        profile.write_text(text, encoding="utf-8")
        if not jku:
            key = make_key()
            _write_private(private, json.dumps(key.private_json()))
            public.write_text(json.dumps(key.public_set(), indent=1), encoding="utf-8")
            written += [private, public]
        with _plainly():
            read_profile(profile)
    except typer.Exit:
        for file in written:
            file.unlink(missing_ok=True)
        raise
    for file in written:
        typer.echo(f"wrote {file}")


@app.command()
def check(folder: FolderOption) -> None:
    """Read all profiles as the service would, and say of each whom it believes and how far rules reach."""
    from service.settings import Settings
    from service.site_knowledge import site_clients

    with _plainly():
        registry = site_clients(Settings.read(), folder)
        for profile in registry.profiles:
            _check_keys(registry, profile.id)
    for profile in registry.profiles:
        trust = profile.trust
        issuers = ", ".join(trust.issuers) if trust else ""
        drafts = "drafts accepted" if profile.rules.accept_draft else "no drafts"
        typer.echo(f"{profile.id}: rules {profile.rules.mode}, {drafts}; believes {issuers}")
        if not profile.fhir.bases:
            typer.echo(f"{profile.id}: no FHIR base, so only prefetch is read")


@app.command("mint-token")
def mint(
    key: Annotated[Path, typer.Option(help="Private JWK, as 'clients new' writes it.")],
    issuer: Annotated[str, typer.Option(help="The 'iss' of the token.")],
    audience: Annotated[str, typer.Option(help="The exact address that will be called.")],
    life: Annotated[int, typer.Option(help="Seconds until it expires.")] = 300,
    tenant: Annotated[str | None, typer.Option(help="The 'tenant' of the token.")] = None,
) -> None:
    """Print a token for one call, as a CDS client would send it."""
    from service.cds_hooks.minting import mint_token, read_key_file

    with _plainly():
        signing = read_key_file(key)
    now = time.time()
    typer.echo(
        mint_token(signing, issuer=issuer, audience=audience, now=now, life=life, tenant=tenant)
    )


@app.command()
def reach(
    name: Annotated[str, typer.Argument(help="Id of the client.")], folder: FolderOption
) -> None:
    """Say which rules can never speak with what this client sends, and which prefetch key would change that."""
    if not tell_reach(name, folder):
        raise typer.Exit(EXIT_REFUSED)


def tell_reach(name: str, folder: Path) -> bool:
    """Print what ``reach`` says; False when there is no such client.

    Raises:
        ProfileRefused, KnowledgeError: profiles or packs cannot be used.
    """
    from service.cds_hooks.coverage import silent_rules, unsent_sources
    from service.settings import Settings
    from service.site_knowledge import site_clients, site_rulebook

    settings = Settings.read()
    with _plainly():
        registry = site_clients(settings, folder)
    profile = registry.by_id(name)
    if profile is None:
        known = ", ".join(one.id for one in registry.profiles)
        typer.echo(f"there is no client {name!r}; known: {known}", err=True)
        return False
    rulebook = site_rulebook(settings)
    silent = silent_rules(profile, rulebook)
    typer.echo(
        f"{name}: {len(rulebook.cards) - len(silent)} of {len(rulebook.cards)} rules can speak"
    )
    for one in silent:
        typer.echo(f"  {one}")
    unsent = unsent_sources(profile)
    if "medication-statements" in unsent:
        typer.echo(
            "  supplements that nobody prescribed are not seen: medicationStatements is not sent"
        )
    if unsent and profile.fhir.fetch and profile.fhir.bases:
        typer.echo(
            f"  what is not sent is fetched from {profile.fhir.bases[0]}, if it answers"
            f" within the {profile.deadline_ms} ms of a call"
        )
    _tell_own_codes(registry, profile.id, rulebook)
    return True


def _tell_own_codes(registry: ClientRegistry, name: str, rulebook: Rulebook) -> None:
    """What the client's code maps add: how many codes each, and what has to be asked for because of them."""
    from service.cds_hooks.discovery import prefetch_templates
    from service.local_codes import local_codes

    maps = registry.code_maps.get(name)
    if not maps:
        return
    own = local_codes(rulebook, maps)
    for one in maps:
        used = own.vocabulary.local_codes_used[one.name]
        typer.echo(
            f"  code map {one.name} {one.version}: {used} of its {len(one.entries)} codes concern a rule"
        )
        for reason, count in one.unused.items():
            typer.echo(f"    {count} not usable: {reason}")
    asked = prefetch_templates(rulebook.vocabulary)
    for key, template in own.templates.items():
        if template != asked.get(key):
            typer.echo(f"  {key} is to be asked for with its own codes: {template}")


def _check_keys(registry: ClientRegistry, name: str) -> None:
    """Read a static key set now, so that a wrong one is named here and not at the first call."""
    from service.cds_hooks.client_profile import ProfileRefused
    from service.cds_hooks.jwks import KeyCache, KeysRefused

    profile = registry.by_id(name)
    if profile is None or profile.trust is None or profile.trust.jku is not None:
        return
    try:
        KeyCache(read_secret=registry.secret).keys(profile)
    except KeysRefused as error:
        raise ProfileRefused(f"trust: {error}.", where=name) from None


def _write_private(file: Path, text: str) -> None:
    """Write a file that only its owner can read, from its first moment."""
    file.touch(mode=0o600)
    file.write_text(text, encoding="utf-8")
