"""The registry of client profiles: one strict YAML file for each EHR that may call, read again when it changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import ValidationError

from rules.errors import KnowledgeError
from rules.yaml_files import read_yaml
from service.cds_hooks.client_profile import ClientProfile, ProfileRefused, SecretSource

if TYPE_CHECKING:
    from rules.code_maps import CodeMap

__all__ = ["Client", "ClientProfile", "ClientRegistry", "ProfileRefused", "read_profile"]


@dataclass(frozen=True, kw_only=True)
class Client:
    """A caller whose token was verified. ``jti`` may be logged, the token may not."""

    profile: ClientProfile
    issuer: str
    tenant: str | None
    jti: str


@dataclass(frozen=True, kw_only=True)
class _Snapshot:
    """All profiles at one moment; swapped as a whole, so that a call never sees half a change."""

    by_id: Mapping[str, ClientProfile]
    files: Mapping[str, Path]
    code_maps: Mapping[str, tuple[CodeMap, ...]]
    map_files: tuple[Path, ...]
    signature: tuple[tuple[str, int, int], ...]


@dataclass(kw_only=True)
class ClientRegistry:
    """The profiles of one folder. A file that becomes unreadable leaves the last good set in force.

    ``fits`` is asked of each client's code maps whether they can be used with the packs, before they come in force.
    """

    folder: Path
    fits: Callable[[str, tuple[CodeMap, ...]], object] | None = None
    clock: Callable[[], float] = time.monotonic
    look_every: float = 1.0
    problem: str = ""
    _now: _Snapshot = field(init=False)
    _looked: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self._now = self._read()
        self._looked = self.clock()

    @classmethod
    def load(
        cls, folder: Path, fits: Callable[[str, tuple[CodeMap, ...]], object] | None = None
    ) -> Self:
        """Read every ``*.yaml`` of ``folder``.

        Raises:
            ProfileRefused: a file is wrong, two profiles claim one caller, or there is no profile.
        """
        return cls(folder=folder, fits=fits)

    def refresh(self) -> bool:
        """Read the folder again if a file changed; True when new profiles are in force.

        Looks at most every ``look_every`` seconds. ``problem`` says why a change was not taken over.
        """
        if self.clock() - self._looked < self.look_every:
            return False
        self._looked = self.clock()
        try:
            watched = [*_profiles_in(self.folder), *self._now.map_files]
            if sorted(_states(watched)) == sorted(self._now.signature):
                self.problem = ""
                return False
            self._now = self._read()
        except (ProfileRefused, OSError) as error:
            self.problem = str(error)
            return False
        self.problem = ""
        return True

    @property
    def profiles(self) -> tuple[ClientProfile, ...]:
        """All profiles, by id."""
        return tuple(self._now.by_id[name] for name in sorted(self._now.by_id))

    @property
    def origins(self) -> frozenset[str]:
        """Every origin from which a browser may call."""
        return frozenset(origin for profile in self.profiles for origin in profile.origins)

    def _read(self) -> _Snapshot:
        read = _read_folder(self.folder)
        for name, maps in read.code_maps.items():
            try:
                if self.fits is not None:
                    self.fits(name, maps)
            except KnowledgeError as error:
                raise ProfileRefused(f"code_maps: {error}", where=str(read.files[name])) from None
        return read

    @property
    def code_maps(self) -> Mapping[str, tuple[CodeMap, ...]]:
        """Own codes by client, for those that have any, as their files say them now."""
        return self._now.code_maps

    def by_id(self, name: str) -> ClientProfile | None:
        """The profile of that id."""
        return self._now.by_id.get(name)

    def for_issuer(self, issuer: str, tenant: str | None) -> ClientProfile | None:
        """The profile for a token's ``iss`` and ``tenant``: one that names the tenant, else one that names none."""
        fitting = [p for p in self.profiles if p.trust is not None and issuer in p.trust.issuers]
        named = [p for p in fitting if p.trust and tenant is not None and tenant in p.trust.tenants]
        return next(iter(named or [p for p in fitting if p.trust and not p.trust.tenants]), None)

    def knows_issuer(self, issuer: str) -> bool:
        """Whether any profile names this ``iss``, whatever the tenant."""
        return any(p.trust is not None and issuer in p.trust.issuers for p in self.profiles)

    def secret(self, profile: ClientProfile, source: SecretSource) -> bytes:
        """Read a secret of ``profile``; files are relative to the folder of the profiles."""
        return _read_secret(source, self._now.files[profile.id])


def read_profile(file: Path) -> ClientProfile:
    """Read one profile; it must state whom to believe. Its code maps are named from here on by where they lie.

    Raises:
        ProfileRefused: unreadable, unknown or missing members, or no ``trust``.
    """
    try:
        written = read_yaml(file)
    except (KnowledgeError, OSError, UnicodeDecodeError) as error:
        raise ProfileRefused(str(error), where=str(file)) from None
    try:
        profile = ClientProfile.model_validate(written)
    except ValidationError as error:
        told = "; ".join(
            f"{'.'.join(str(step) for step in one['loc']) or 'the file'}: {one['msg']}"
            for one in error.errors(include_input=False, include_url=False)
        )
        raise ProfileRefused(f"{told}.", where=str(file)) from None
    if profile.trust is None:
        raise ProfileRefused(
            "trust: is missing.", where=str(file), remedy="State issuers and keys."
        )
    _read_secret(profile.trust.jwks_from, file)
    lying = tuple(file.parent / one for one in profile.code_maps)
    return profile.model_copy(update={"code_maps": lying})


def _read_secret(source: SecretSource | None, file: Path) -> bytes:
    try:
        return b"" if source is None else source.read(file.parent)
    except ProfileRefused as error:
        raise ProfileRefused(error.what, where=str(file)) from None


def _read_folder(folder: Path) -> _Snapshot:
    found = _profiles_in(folder)
    signature = _states(found)
    by_id: dict[str, ClientProfile] = {}
    files: dict[str, Path] = {}
    code_maps: dict[str, tuple[CodeMap, ...]] = {}
    map_files: list[Path] = []
    callers: dict[tuple[str, str | None], str] = {}
    for file in found:
        profile = read_profile(file)
        if profile.id in by_id:
            raise ProfileRefused(
                f"id: {profile.id!r} stands in {files[profile.id].name} too.", where=str(file)
            )
        by_id[profile.id], files[profile.id] = profile, file
        signature += _states(profile.code_maps)
        map_files += profile.code_maps
        if profile.code_maps:
            code_maps[profile.id] = _read_maps(profile.code_maps, file)
        for caller in _callers(profile):
            if callers.setdefault(caller, profile.id) != profile.id:
                raise ProfileRefused(
                    f"trust: {callers[caller]!r} claims the same issuer and tenant.",
                    where=str(file),
                    remedy="Tell them apart by 'tenants'.",
                )
    if not by_id:
        raise ProfileRefused(f"no client profile (*.yaml) lies in {folder}.")
    return _Snapshot(
        by_id=by_id,
        files=files,
        code_maps=code_maps,
        map_files=tuple(map_files),
        signature=signature,
    )


def _read_maps(named: Sequence[Path], file: Path) -> tuple[CodeMap, ...]:
    from service.site_knowledge import read_code_maps

    try:
        return read_code_maps(named)
    except KnowledgeError as error:
        raise ProfileRefused(f"code_maps: {error}", where=str(file)) from None


def _callers(profile: ClientProfile) -> list[tuple[str, str | None]]:
    trust = profile.trust
    return [(i, t) for i in trust.issuers for t in trust.tenants or (None,)] if trust else []


def _profiles_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ProfileRefused(
            f"{folder} is no folder.", remedy="Point DEKACARD_CLIENTS at the profiles."
        )
    return sorted(p for p in folder.iterdir() if p.suffix == ".yaml" and p.is_file())


def _states(files: Sequence[Path]) -> tuple[tuple[str, int, int], ...]:
    """What changes when a file does; one that is gone is told when it is read."""
    return tuple(_state(file) for file in files)


def _state(file: Path) -> tuple[str, int, int]:
    try:
        told = file.stat()
    except OSError:
        return str(file), 0, 0
    return str(file), told.st_mtime_ns, told.st_size
