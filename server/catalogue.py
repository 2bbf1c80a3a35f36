"""What is loaded and what the registry holds, for ModelService: read-only."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from registry import Damaged, Move, RegistryError, Version
from registry.errors import AliasCorrupt
from server.recommender import Recommender
from server.rollout import Rollout
from server.snapshot import Snapshot


@dataclass(frozen=True)
class Loaded:
    """The version that answers."""

    snapshot: Snapshot
    activated_at: datetime


@dataclass(frozen=True)
class VersionState:
    """A version as this server sees it."""

    version: str
    state: Literal["available", "loading", "loaded", "refused"]
    reason: str
    created_at: datetime | None
    aliases: list[str]


class Catalogue:
    """Answers what there is."""

    def __init__(self, recommender: Recommender, rollout: Rollout) -> None:
        """Look at what the recommender serves and the rollout sees."""
        self._recommender = recommender
        self._rollout = rollout

    @property
    def alias(self) -> str:
        """The alias that the server follows."""
        return self._rollout.alias

    def loaded(self) -> Loaded:
        """Return what answers now, or raise NotReady."""
        moment = datetime.fromtimestamp(self._rollout.activated_at, UTC)
        return Loaded(self._recommender.snapshot, moment)

    def aliases(self) -> dict[str, Move]:
        """Return the registry's aliases; none while it cannot be read."""
        try:
            return self._rollout.store.aliases.all()
        except (AliasCorrupt, OSError):
            return {}

    def versions(self) -> list[VersionState]:
        """Return every version of the registry, newest first, and the loaded one in any case."""
        named = {name: move.version for name, move in self.aliases().items()}
        serving = self._recommender.snapshot.manifest
        try:
            entries = self._rollout.store.versions()
        except (RegistryError, OSError):
            entries = []
        states = [self._state(entry, named) for entry in entries]
        if serving.version not in {state.version for state in states}:
            states.append(VersionState(serving.version, "loaded", "", serving.created_at, []))
        return states

    def _state(self, entry: Version | Damaged, named: dict[str, str]) -> VersionState:
        aliases = [name for name, version in named.items() if version == entry.name]
        if isinstance(entry, Damaged):
            return VersionState(entry.name, "refused", entry.reason, None, aliases)
        created_at = entry.manifest.created_at
        refusal = self._rollout.refusal
        if entry.name == self._recommender.snapshot.version:
            return VersionState(entry.name, "loaded", "", created_at, aliases)
        if entry.name == self._rollout.loading:
            return VersionState(entry.name, "loading", "", created_at, aliases)
        if refusal is not None and entry.name == refusal.version:
            return VersionState(entry.name, "refused", refusal.reason, created_at, aliases)
        return VersionState(entry.name, "available", "", created_at, aliases)
