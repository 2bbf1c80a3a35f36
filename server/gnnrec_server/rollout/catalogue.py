"""What is loaded and what the registry holds, for ModelService: read-only."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from gnnrec_registry import Damaged, Move, RegistryError, Version
from gnnrec_registry.errors import NoSuchAlias
from gnnrec_server.query.recommender import Recommender
from gnnrec_server.query.routing import Serving
from gnnrec_server.rollout.follow import Rollout
from gnnrec_server.rollout.problems import in_words
from gnnrec_server.trials.counters import TrialTotals
from gnnrec_server.trials.trials import Trial, Trials


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

    def __init__(self, recommender: Recommender, rollout: Rollout, trials: Trials) -> None:
        """Look at what the recommender serves and the rollout sees."""
        self._recommender = recommender
        self._rollout = rollout
        self._trials = trials
        self._last: dict[str, Move] = {}

    @property
    def serving(self) -> Serving:
        """What is served now."""
        return self._recommender.serving

    @property
    def trials(self) -> list[tuple[Trial, TrialTotals]]:
        """What is on trial, and what all processes of this server have seen of it."""
        return [(trial, self._trials.seen(trial)) for trial in self._trials.running.values()]

    def aliases(self) -> tuple[dict[str, Move], str]:
        """Return the registry's aliases as last read, and why that is not now; empty if it is."""
        store, problem = self._rollout.store, ""
        found: dict[str, Move] = {}
        try:
            store.layout.require()
            names = store.layout.alias_names()
        except (RegistryError, OSError) as error:
            return self._last, str(error)
        before = {**self._rollout.moves, **self._last}
        for name in names:
            try:
                found[name] = store.aliases.get(name)
            except NoSuchAlias:
                continue  # moved away since it was listed
            except Exception as error:  # one that cannot be read hides no other
                problem = in_words(error)
                found |= {name: before[name]} if name in before else {}
        self._last = found
        return found, problem

    def versions(self) -> list[VersionState]:
        """Return every version of the registry, newest first, and the loaded ones in any case."""
        named = {name: move.version for name, move in self.aliases()[0].items()}
        serving = self.serving
        try:
            entries = self._rollout.store.versions()
        except (RegistryError, OSError):
            entries = []
        states = [self._state(entry, serving, named) for entry in entries]
        listed = {state.version for state in states}
        for version, resident in serving.residents.items():
            if version not in listed:
                created_at = resident.snapshot.manifest.created_at
                reason = self._stands_in(version)
                states.append(VersionState(version, "loaded", reason, created_at, []))
        for version, refusal in list(self._rollout.refusals.items()):
            if version not in listed:  # an alias names what is not there
                aliases = [name for name, pointed in named.items() if pointed == version]
                states.append(VersionState(version, "refused", refusal.reason, None, aliases))
        return states

    def _stands_in(self, version: str) -> str:
        """Say for which refused versions a loaded one answers; empty for none."""
        return "; ".join(
            f"answers for alias {alias!r} in place of {wanted!r}, which is refused"
            for alias, (wanted, answering) in sorted(self._rollout.behind.items())
            if answering == version
        )

    def _state(
        self, entry: Version | Damaged, serving: Serving, named: dict[str, str]
    ) -> VersionState:
        version = entry.name
        aliases = [name for name, pointed in named.items() if pointed == version]
        created_at = None if isinstance(entry, Damaged) else entry.manifest.created_at
        state = self._rollout.states.get(version)
        if version in serving.residents:
            reason = self._stands_in(version)
            return VersionState(version, "loaded", reason, created_at, aliases)
        if isinstance(entry, Damaged):
            return VersionState(version, "refused", entry.reason, None, aliases)
        if state == "loading":
            return VersionState(version, "loading", "", created_at, aliases)
        refusal = self._rollout.refusals.get(version)
        if refusal is not None:
            return VersionState(version, "refused", refusal.reason, created_at, aliases)
        return VersionState(version, "available", "", created_at, aliases)
