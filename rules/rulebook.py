"""The rulebook: every active pack opened, merged and checked; the one place that knows all knowledge."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar

from rules.authoring import Derivation, Rule
from rules.code_maps import CodeMap
from rules.edited_packs import lay_over
from rules.errors import KnowledgeError
from rules.in_force import FieldSpec
from rules.knowledge import (
    ActionModel,
    CardModel,
    CitationModel,
    FindingModel,
    OverrideReasonModel,
    Parameter,
    ParameterValue,
)
from rules.pack_folder import Pack, open_pack, read_head
from rules.vocabulary import Vocabulary, load_vocabulary

ENTRY_POINTS = "dekacard.packs"
BUNDLED = Path(__file__).parent / "packs"
Entry = TypeVar("Entry")


class Rulebook:
    """The merged knowledge of several packs; raises KnowledgeError when they do not fit together."""

    def __init__(self, packs: Sequence[Pack], code_maps: Sequence[CodeMap] = ()) -> None:
        self.packs = tuple(_in_order(packs))
        self.retired: dict[str, str] = {}
        self.overridden: dict[str, tuple[str, str]] = {}
        for pack in self.packs:
            self._refuse_undecided(pack)
            self.retired.update(pack.head.retires)
        self.parameters: dict[str, Parameter] = self._merge_parameters()
        self.findings: dict[str, FindingModel] = self._merge("findings")
        self.cards: dict[str, CardModel] = self._merge("cards")
        self.actions: dict[str, ActionModel] = self._merge("actions")
        self.override_reasons: dict[str, OverrideReasonModel] = self._merge("override_reasons")
        self.citations: dict[str, CitationModel] = self._merge("citations")
        self.texts: dict[str, Any] = self._merge("texts")
        self.claims: dict[str, Any] = self._merge("claims")
        self.unit_words: dict[str, str] = {}
        self.fact_sentences: dict[str, str] = {}
        for pack in self.packs:
            self.unit_words.update(pack.wording.get("units", {}))
            self.fact_sentences.update(pack.wording.get("facts", {}))
        self.rules: dict[str, Rule] = {}
        self.pack_of: dict[str, Pack] = {}
        for pack in self.packs:
            for rule in pack.rules:
                if rule.name in self.pack_of:
                    raise KnowledgeError(
                        f"rule {rule.name!r} stands in two packs.", where=rule.where
                    )
                self.pack_of[rule.name] = pack
                if rule.name not in self.retired:
                    self.rules[rule.name] = rule
        self.derivations: tuple[Derivation, ...] = self._order_derivations()
        self.finding_fields: dict[str, dict[str, FieldSpec]] = {
            name: {field: FieldSpec.of(kind) for field, kind in model.fields.items()}
            for name, model in self.findings.items()
        }
        self.code_maps = tuple(code_maps)
        self.vocabulary: Vocabulary = load_vocabulary(
            [pack.codes for pack in self.packs if pack.codes.is_dir()], self.code_maps
        )

    @property
    def profiles(self) -> tuple[str, ...]:
        """Band profiles that some parameter knows, in alphabetical order."""
        return tuple(sorted({name for held in self.parameters.values() for name in held.profiles}))

    @property
    def digests(self) -> dict[str, str]:
        """Pack id -> ``version+digest``, as it stands in every answer's provenance."""
        return {pack.head.id: f"{pack.head.version}+{pack.digest[:16]}" for pack in self.packs}

    @property
    def digest(self) -> str:
        """One SHA-256 over all packs and local code maps, in order."""
        return hashlib.sha256(
            "\n".join(
                [f"{p.head.id} {p.digest}" for p in self.packs]
                + [f"{name} {mark}" for name, mark in self.local_codes.items()]
            ).encode()
        ).hexdigest()

    @property
    def local_codes(self) -> dict[str, str]:
        """Name of each local code map -> ``version+digest``; they decide what is read, not what is concluded."""
        return {one.name: one.mark for one in sorted(self.code_maps, key=lambda one: one.name)}

    def schema(self) -> dict[str, dict[str, str]]:
        """Kinds and field types for the compiler; names and days travel as text."""
        kinds: dict[str, dict[str, str]] = {}
        for name, fields in self.finding_fields.items():
            kinds[f"finding:{name}"] = {"about": "text"} | {
                field: ("text" if spec.kind in {"name", "day"} else spec.kind)
                + ("?" if spec.optional else "")
                for field, spec in fields.items()
            }
        kinds["patient"] = {"age_years": "integer?", "age_days": "integer?", "sex": "text?"}
        kinds["context"] = {
            "hook": "text",
            "moment": "text",
            "verbosity": "text",
            "profile": "text",
        }
        return kinds

    def _merge(self, part: str) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for pack in self.packs:
            entries: Mapping[str, Any] = getattr(pack, part)
            for name, entry in entries.items():
                if name in merged:
                    raise KnowledgeError(
                        f"{name!r} of {part.replace('_', ' ')} stands in two packs.",
                        where=str(pack.folder),
                    )
                merged[name] = entry
        return merged

    def _refuse_undecided(self, pack: Pack) -> None:
        """What is retired or overridden must exist, and somebody must have approved it."""
        head, where = pack.head, str(pack.folder / "pack.toml")
        rules = {rule.name for one in self.packs for rule in one.rules}
        for name in head.retires:
            if name not in rules:
                raise KnowledgeError(f"[retires] names {name!r}, which is no rule.", where=where)
        for name in head.overrides:
            if name not in pack.parameters:
                raise KnowledgeError(
                    f"[overrides] names {name!r}, which this pack does not state.",
                    where=where,
                    remedy="State it in parameters.yaml, or remove the line.",
                )
        if head.retires and not head.approver:
            raise KnowledgeError(
                "[retires] without an approver.",
                where=where,
                remedy="Name who approved it in pack.toml.",
            )

    def _merge_parameters(self) -> dict[str, Parameter]:
        merged: dict[str, Parameter] = {}
        for pack in self.packs:
            for name, parameter in pack.parameters.items():
                if name in merged:
                    reason = pack.head.overrides.get(name)
                    if reason is None or not pack.head.approver:
                        raise KnowledgeError(
                            f"parameter {name!r} stands in another pack already.",
                            where=str(pack.folder / "parameters.yaml"),
                            remedy="To override it, give a reason under [overrides] and an approver in pack.toml.",
                        )
                    self.overridden[name] = (pack.head.id, reason)
                    parameter = _continued(merged[name], parameter)  # noqa: PLW2901
                merged[name] = parameter
        return merged

    def _order_derivations(self) -> tuple[Derivation, ...]:
        """After everything that gives what it reads; ties by pack order, then name, so the order never varies."""
        derivations = [derivation for pack in self.packs for derivation in pack.derivations]
        givers: dict[str, list[int]] = {}
        for place, derivation in enumerate(derivations):
            for name in derivation.gives:
                givers.setdefault(name, []).append(place)
        graph = TopologicalSorter[int]()
        for place, derivation in enumerate(derivations):
            before: list[int] = []
            for name in (*derivation.reads, *derivation.requires):
                if name not in givers:
                    raise KnowledgeError(
                        f"reads {name!r}, which no derivation gives.", where=derivation.where
                    )
                before.extend(giver for giver in givers[name] if giver != place)
            graph.add(place, *before)
        try:
            graph.prepare()
        except CycleError as error:
            names = " -> ".join(derivations[place].name for place in error.args[1])
            raise KnowledgeError(f"derivations read each other in a circle: {names}.") from None
        ordered: list[Derivation] = []
        while graph.is_active():
            ready = sorted(graph.get_ready())
            ordered.extend(derivations[place] for place in ready)
            graph.done(*ready)
        return tuple(ordered)


def _continued(ours: Parameter, theirs: Parameter) -> Parameter:
    """An override holds from its own first day on; a replay of an earlier day still meets our value."""
    return theirs.model_copy(
        update={
            "values": _until(ours.values, theirs.values),
            "profiles": {
                profile: _until(ours.profiles.get(profile, {}), theirs.profiles.get(profile, {}))
                for profile in (*ours.profiles, *theirs.profiles)
            },
        }
    )


def _until(
    ours: Mapping[date, ParameterValue], theirs: Mapping[date, ParameterValue]
) -> dict[date, ParameterValue]:
    first = min(theirs, default=date.max)
    return {day: held for day, held in ours.items() if day < first} | dict(theirs)


def load_rulebook(
    names: Sequence[str] | None = None,
    folders: Sequence[Path] = (),
    *,
    code_maps: Sequence[CodeMap] = (),
    edited: Sequence[Path] = (),
) -> Rulebook:
    """Open the named packs and merge them; without names, every bundled pack.

    A name may pin a version (``vitamin-k-antagonists==2026.11.1``). ``folders`` are searched after the
    bundled packs and the entry points ``dekacard.packs``. Found is not active: only named packs run.
    ``code_maps`` are a hospital's own codes. ``edited`` are folders of packs that take the place of those with
    the same id, whatever version was pinned; this needs a process that has not opened the originals.

    Raises:
        KnowledgeError: a named pack is not found, has another version, or does not fit the others.
    """
    found = find_packs(folders)
    if names is None:
        names = [name for name, (folder, _) in found.items() if folder.parent == BUNDLED]
    tried = _put_in_place(found, edited)
    chosen: list[Pack] = []
    for wanted in names:
        name, _, version = wanted.replace(" ", "").partition("==")
        if name not in found:
            raise KnowledgeError(
                f"pack {name!r} is not found. Known packs: {', '.join(sorted(found))}."
            )
        pack = open_pack(*found[name])
        if (
            version
            and name not in tried
            and not (pack.head.version == version or pack.head.version.startswith(version + "."))
        ):
            raise KnowledgeError(f"pack {name!r} is version {pack.head.version}, not {version}.")
        chosen.append(pack)
    return Rulebook(chosen, code_maps)


def _put_in_place(
    found: dict[str, tuple[Path, str | None]], edited: Sequence[Path]
) -> frozenset[str]:
    """Let edited copies stand where the originals were found; returns their ids."""
    modules: dict[str, Path] = {}
    tried: set[str] = set()
    for folder in edited:
        name = read_head(folder).id
        if name in tried:
            raise KnowledgeError(
                f"the pack id {name!r} stands in two edited folders.", where=str(folder)
            )
        tried.add(name)
        module = found[name][1] if name in found else None
        found[name] = (folder, module)
        if module is not None:
            modules[module] = folder
    lay_over(modules)
    return frozenset(tried)


def find_packs(folders: Iterable[Path] = ()) -> dict[str, tuple[Path, str | None]]:
    """Every pack that could be named: id -> (folder, import name); two of one id are refused."""
    found: dict[str, tuple[Path, str | None]] = {}
    for folder in sorted(BUNDLED.iterdir()):
        if (folder / "pack.toml").is_file():
            _remember(found, folder, f"rules.packs.{folder.name}")
    for entry in sorted(entry_points(group=ENTRY_POINTS), key=lambda one: one.name):
        module = entry.load()
        _remember(found, Path(next(iter(module.__path__))), entry.module)
    for parent in folders:
        if not parent.is_dir():
            raise KnowledgeError("is no folder of packs.", where=str(parent))
        candidates = [parent] if (parent / "pack.toml").is_file() else sorted(parent.iterdir())
        for folder in candidates:
            if (folder / "pack.toml").is_file():
                _remember(found, folder, None)
    return found


def _remember(found: dict[str, tuple[Path, str | None]], folder: Path, module: str | None) -> None:
    name = read_head(folder).id
    if name in found and found[name][0].resolve() != folder.resolve():
        raise KnowledgeError(
            f"the pack id {name!r} is taken by {found[name][0]}.", where=str(folder)
        )
    found.setdefault(name, (folder, module))


def _in_order(packs: Sequence[Pack]) -> list[Pack]:
    """Required packs first; otherwise as named."""
    by_id = {pack.head.id: pack for pack in packs}
    graph = TopologicalSorter[str]()
    for pack in packs:
        for needed in pack.head.requires:
            name = needed.partition("==")[0].strip()
            if name not in by_id:
                raise KnowledgeError(
                    f"pack {pack.head.id!r} requires {name!r}, which is not active."
                )
            graph.add(pack.head.id, name)
        graph.add(pack.head.id)
    try:
        graph.prepare()
    except CycleError as error:
        raise KnowledgeError(
            f"packs require each other in a circle: {' -> '.join(error.args[1])}."
        ) from None
    ordered: list[Pack] = []
    names = [pack.head.id for pack in packs]
    while graph.is_active():
        ready = sorted(graph.get_ready(), key=names.index)
        ordered.extend(by_id[name] for name in ready)
        graph.done(*ready)
    return ordered
