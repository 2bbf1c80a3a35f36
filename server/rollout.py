"""Following aliases: load what they name beside what is served, then swap.

A version that cannot be served never stops what is: it is refused, and tried again later.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from contextlib import suppress

from registry import Candidate, ModelStore, RegistryError, Version
from server import heap
from server.errors import CannotStart
from server.metrics import Metrics
from server.recommender import Recommender
from server.refusals import Refusal, asking
from server.serving import Resident, Serving
from server.snapshot import Snapshot
from server.trials import Trials
from server.view import Followed, Lookout, View

_log = logging.getLogger("gnnrec.server")

_JITTER = 0.1

# For so long a version that nothing names is still held: what it answers is under way.
_LINGER_S = 1.0


class Rollout:
    """Keeps the recommender on the versions that the aliases name."""

    def __init__(
        self,
        store: ModelStore,
        followed: Followed,
        recommender: Recommender,
        metrics: Metrics,
        trials: Trials,
        loader: Executor,
        load: Callable[[Version], Snapshot],
        poll_interval_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Load with `load` in `loader`'s threads, one at a time, never in those that answer."""
        self.store = store
        self.followed = followed
        self._recommender = recommender
        self._metrics = metrics
        self._trials = trials
        self._loader = loader
        self._load_version = load
        self._poll_interval_s = poll_interval_s
        self._clock = clock
        self._lookout = Lookout(store, followed, metrics.poll_errors.inc)
        self._woken = asyncio.Event()
        self._retry_all = False
        self._problem = ""
        self._recent: list[str] = []
        self._fresh: dict[str, Snapshot] = {}
        self._left: list[tuple[float, Resident]] = []
        self.loading: str | None = None
        """The version being loaded, if any."""
        self.refusals: dict[str, Refusal] = {}
        """The versions that are wanted and cannot be served."""
        self.behind: Mapping[str, tuple[str, str]] = {}
        """The aliases that are answered by another version than they name: named, answering."""

    async def start(self) -> None:
        """Load what the aliases name, or raise why there is nothing to serve.

        Where the own alias's version cannot be served, the one that it named before stands in,
        and at last any that can be.
        """
        run = asyncio.get_running_loop().run_in_executor
        view: View = await run(self._loader, self._read)
        await self.look()
        if self.followed.alias in self._recommender.serving.aliases:
            return
        refusal = self.refusals.get(view.moves[self.followed.alias].version)
        raise CannotStart(self._problem) if refusal is None else refusal.error

    async def follow(self) -> None:
        """Look at the aliases for ever, and load and swap whenever they name other versions."""
        while True:
            wait_s = self._poll_interval_s * random.uniform(1 - _JITTER, 1 + _JITTER)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), wait_s)
            self._woken.clear()
            await self.look()

    def wake(self, *, retry_all: bool = False) -> None:
        """Look at the aliases now; with `retry_all`, try what was refused again at once."""
        self._retry_all |= retry_all
        self._woken.set()

    async def look(self) -> None:
        """Look at the aliases, and do what it takes to serve what they name.

        They are looked at again after each load: what is not wanted any more is not served.
        """
        run = asyncio.get_running_loop().run_in_executor
        retry_all, self._retry_all = self._retry_all, False
        await self._free(_LINGER_S)
        tried: set[str] = set()
        while True:
            try:
                view = await run(self._loader, self._read)
            except (RegistryError, OSError) as error:
                self._note_unreadable(str(error))
                return
            if self._problem:
                _log.info("alias %s can be read again", self.followed.alias)
            self._problem = ""
            self._apply(view)
            for version in view.lacking(self._recommender.serving.aliases):
                if version not in tried and self._is_due(version, view, retry_all):
                    tried.add(version)
                    await self._free(0.0)  # so that two versions at most share the memory
                    await self._try(version, view)
                    break
            else:
                self._show_behind(view)
                return

    def _read(self) -> View:
        return self._lookout.read(self._recommender.serving.aliases, list(self.refusals))

    def _note_unreadable(self, problem: str) -> None:
        self._metrics.poll_errors.inc()
        if problem != self._problem:
            self._problem = problem
            _log.error("alias %s cannot be read: %s", self.followed.alias, problem)

    def _is_due(self, version: str, view: View, retry_all: bool) -> bool:
        """Tell whether a version is to be loaded now."""
        if version in self._recommender.serving.residents:
            return False
        refusal = self.refusals.get(version)
        if refusal is None or retry_all:
            return True
        moves = asking(view.moves.values(), version)
        return refusal.is_due(self._clock(), moves, view.stamps.get(version))

    async def _try(self, version: str, view: View) -> None:
        """Load a version, or refuse it."""
        self.loading = version
        self._metrics.set_state(version, "loading")
        run = asyncio.get_running_loop().run_in_executor
        stamp = None
        try:
            stamp = await run(self._loader, self.store.stamp, version)
            self._fresh[version] = await run(self._loader, self._load, version)
            self.refusals.pop(version, None)
        except Exception as error:  # a bad version must not stop serving
            self._refuse(version, view, stamp, error)
        finally:
            self.loading = None

    def _load(self, version: str) -> Snapshot:
        snapshot = self._load_version(self.store.open(version))
        self._metrics.loads.labels("loaded").inc()
        seconds = sum(snapshot.load_seconds.values())
        _log.info("version %s loaded in %.2f s", version, seconds)
        return snapshot

    def _refuse(self, version: str, view: View, stamp: object, error: Exception) -> None:
        earlier = self.refusals.get(version)
        moves = asking(view.moves.values(), version)
        attempts = earlier.attempts + 1 if earlier is not None and moves <= earlier.moves else 1
        refusal = Refusal(error, attempts, self._clock(), moves, stamp)
        self.refusals[version] = refusal
        self._metrics.loads.labels("refused").inc()
        self._metrics.set_state(version, "refused")
        _log.error(
            "version %s refused: %s; next try in %.0f s", version, refusal.reason, refusal.delay_s
        )

    def _apply(self, view: View) -> None:
        """Swap to what is wanted and loaded; remember what else there is."""
        before = self._recommender.serving
        for version in self.refusals.keys() - set(view.wanted):
            del self.refusals[version]
            self._metrics.set_state(version, None)
        now = self._clock()
        fresh = {name: Resident(each, now) for name, each in self._fresh.items()}
        self._fresh = {}
        have = {**fresh, **before.residents}
        aliases = self._aliases(view, have)
        candidates = {
            alias: move.candidate
            for alias, move in view.moves.items()
            if move.candidate is not None
            and move.candidate.version in have
            and aliases.get(alias) == move.version
        }
        own = aliases.get(self.followed.alias)
        recent = [each for each in [own, *self._recent] if each is not None and each in have]
        self._recent = list(dict.fromkeys(recent))[: self.followed.keep]
        tried = (candidate.version for candidate in candidates.values())
        needed = {*aliases.values(), *tried, *self._recent}
        serving = Serving(
            alias=self.followed.alias,
            aliases=aliases,
            residents={name: each for name, each in have.items() if name in needed},
            candidates=candidates,
            known_versions=view.versions,
            known_aliases=view.aliases,
        )
        if serving != before:
            self._recommender.swap(serving)
            self._tell(before, serving)
        for version in fresh.keys() - needed:  # an alias has moved on while it was loaded
            self._metrics.set_state(version, None)
        self._left += [(now, each) for name, each in have.items() if name not in needed]
        self._trials.follow(view.moves, self._problems(view, candidates))

    def _aliases(self, view: View, have: Mapping[str, Resident]) -> dict[str, str]:
        """Return what is to answer for each alias: what it names, what has answered, a stand-in."""
        served = self._recommender.serving.aliases
        aliases = {}
        for alias in [*view.moves, *view.unreadable]:
            named = [view.moves[alias].version] if alias in view.moves else []
            held = [served[alias]] if alias in served else []
            for version in [*named, *held, *view.stand_ins.get(alias, [])]:
                if version in have:
                    aliases[alias] = version
                    break
        return aliases

    def _tell(self, before: Serving, after: Serving) -> None:
        """Say in metrics and log what has changed."""
        for version, resident in after.residents.items():
            if version not in before.residents:
                self._metrics.hold(resident.snapshot)
        for alias in before.aliases.keys() - after.aliases.keys():
            self._metrics.deactivate(alias)
        for alias, version in after.aliases.items():
            if before.aliases.get(alias) != version:
                self._metrics.activate(after.residents[version].snapshot, alias, self._clock())
                _log.info("alias %s: serving version %s", alias, version)
        for version in before.residents.keys() - after.residents.keys():
            self._metrics.release(version)
            _log.info("version %s is no longer held", version)
        for alias in before.candidates.keys() | after.candidates.keys():
            ended, tried = before.candidates.get(alias), after.candidates.get(alias)
            if ended != tried:
                _log.info("alias %s: %s", alias, f"trying {tried}" if tried else "trial ended")
        self._metrics.trials.show_trials(after.candidates)

    def _show_behind(self, view: View) -> None:
        """Say loudly where an alias is not answered by the version that it names."""
        serving = self._recommender.serving
        behind = {
            alias: (move.version, serving.aliases.get(alias, ""))
            for alias, move in view.moves.items()
            if move.version in self.refusals and serving.aliases.get(alias) != move.version
        }
        for alias, (named, answering) in behind.items() - self.behind.items():
            _log.error(
                "alias %s names version %s, which cannot be served; %s answers in its place: %s",
                alias, named, answering or "nothing", self.refusals[named].reason,
            )  # fmt: skip
        if behind != self.behind:
            self.behind = behind
            self._metrics.trials.show_behind(behind)

    def _problems(self, view: View, candidates: Mapping[str, Candidate]) -> dict[str, str]:
        """Say, by alias, why a candidate answers nobody."""
        problems = {}
        for alias, move in view.moves.items():
            if move.candidate is not None and alias not in candidates:
                refusal = self.refusals.get(move.candidate.version)
                problems[alias] = refusal.reason if refusal else "it is not loaded yet"
        return problems

    async def _free(self, linger_s: float) -> None:
        """Let go, in the loader's thread, of what nothing has named for so long."""
        end = self._clock() - linger_s
        gone = [resident for left_at, resident in self._left if left_at <= end]
        self._left = [each for each in self._left if each[0] > end]
        if gone:
            run = asyncio.get_running_loop().run_in_executor
            await run(self._loader, _let_go, gone)


def _let_go(residents: list[Resident]) -> None:
    residents.clear()
    heap.give_back()
