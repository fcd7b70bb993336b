"""What the rules claim about the world: each sentence with its certainty, its sources, and who represents it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rules.errors import KnowledgeError

if TYPE_CHECKING:
    from rules.rulebook import Rulebook


class Claim(BaseModel):
    """One sentence of knowledge in our own words.

    ``triples`` state it as subject, relation and object; ``certainty`` is for people; ``sources`` are keys of
    ``citations.yaml``; ``rules`` are those whose condition or text represents it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    says: Annotated[str, Field(min_length=1)]
    triples: Annotated[tuple[str, ...], Field(min_length=1)]
    certainty: Annotated[str, Field(min_length=1)]
    sources: Annotated[tuple[str, ...], Field(min_length=1)]
    rules: Annotated[tuple[str, ...], Field(min_length=1)]


def read_claims(rulebook: Rulebook) -> dict[str, Claim]:
    """Every claim of the packs in force, by its id.

    Raises:
        KnowledgeError: a claim is incomplete, or names a source or a rule that does not exist.
    """
    claims: dict[str, Claim] = {}
    for name, entry in rulebook.claims.items():
        try:
            claim = Claim.model_validate(entry)
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(step) for step in problem["loc"])
            raise KnowledgeError(
                f"claim {name}: {place}: {problem['msg']}.", where="claims.yaml"
            ) from None
        _refuse_unknown(name, "source", claim.sources, rulebook.citations)
        _refuse_unknown(name, "rule", claim.rules, {*rulebook.rules, *rulebook.retired})
        claims[name] = claim
    return claims


def unclaimed(rulebook: Rulebook, claims: Iterable[Claim]) -> tuple[str, ...]:
    """Rules with a card that no claim leads to: they rest on their own citations alone."""
    claimed = {rule for claim in claims for rule in claim.rules}
    return tuple(sorted(name for name in rulebook.cards if name not in claimed))


def orphans(rulebook: Rulebook, claims: dict[str, Claim]) -> tuple[str, ...]:
    """Claims whose every rule has been retired: nothing says them any more."""
    return tuple(
        sorted(name for name, claim in claims.items() if not set(claim.rules) & set(rulebook.rules))
    )


def _refuse_unknown(name: str, kind: str, named: Iterable[str], known: Iterable[str]) -> None:
    held = set(known)
    for one in named:
        if one not in held:
            raise KnowledgeError(
                f"claim {name} names the {kind} {one!r}, which does not exist.", where="claims.yaml",
                remedy=f"Correct it, or add the {kind}.",
            )  # fmt: skip
