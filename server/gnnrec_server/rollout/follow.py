"""Following aliases: load the versions that they name beside those that are served, then swap.

A version that cannot be served never stops one that is: it is refused, and tried again later. A
load that does not end stops neither the reading of the registry nor later loads.
"""

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from functools import partial

from gnnrec_registry import Candidate, ModelStore, Move, RegistryError, Version
from gnnrec_server.errors import CannotStart
from gnnrec_server.process import memory
from gnnrec_server.process.threads import OneThread
from gnnrec_server.query.recommender import Recommender
from gnnrec_server.query.routing import Resident, Serving
from gnnrec_server.rollout.loads import Loads
from gnnrec_server.rollout.problems import Problems, in_words
from gnnrec_server.rollout.registry_view import FollowedAliases, RegistryReader, RegistryView
from gnnrec_server.rollout.retries import Refusal, asking
from gnnrec_server.telemetry.metrics import Metrics
from gnnrec_server.telemetry.version_metrics import State
from gnnrec_server.trials.trials import Trials
from gnnrec_server.version.snapshot import Snapshot

_log = logging.getLogger("gnnrec.server")

_JITTER = 0.1
_RANDOM = random.Random()  # its own, so that nobody else's draws are disturbed

# For so long a version that nothing names is still held: what it answers is under way.
_LINGER_S = 1.0

# For so long a look waits for the registry; the next goes on waiting for the same answer.
_ANSWER_S = 30.0

# At the start the further aliases and candidates get so long once the own alias is served.
_OTHERS_S = 60.0


class RegistryHangs(OSError):
    """The registry does not answer, and may yet do so."""


class Rollout:
    """Keeps the recommender on the versions that the aliases name."""

    def __init__(
        self,
        store: ModelStore,
        followed: FollowedAliases,
        recommender: Recommender,
        metrics: Metrics,
        trials: Trials,
        loader: OneThread,
        load: Callable[[Version], Snapshot],
        poll_interval_s: float,
        load_timeout_s: float = 600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Load with `load` in `loader`'s thread, one at a time, never in those that answer.

        A version that has not been loaded within `load_timeout_s` is refused; 0 sets no limit.
        """
        self.store = store
        self.followed = followed
        self._recommender = recommender
        self._metrics = metrics
        self._trials = trials
        self._poll_interval_s = poll_interval_s
        self._clock = clock
        self._reader = RegistryReader(store, followed, metrics.poll_errors.inc)
        self._problems = Problems()
        # The registry is looked at, and memory given back, while a load is under way.
        self._looker = OneThread("look")
        self._freer = OneThread("free")
        self._loads = Loads(
            store,
            load,
            loader,
            self._freer,
            metrics,
            self._reader.stamp,
            self._after_load,
            load_timeout_s,
            clock,
        )
        self._reading: asyncio.Future[RegistryView] | None = None
        self._before_read: tuple[list[str], int] = [], 0
        """Which versions had been loaded, and how many loads had ended, when the reading began."""
        self._woken = asyncio.Event()
        self._retry_all = False
        self._to_retry: set[str] = set()
        self._round: set[str] = set()
        """The versions that were tried since there was last nothing left to try."""
        self._recent: list[str] = []
        self._left: list[tuple[float, Resident]] = []
        self.moves: Mapping[str, Move] = {}
        """The last move of each followed alias, as far as it could be read."""
        self.behind: Mapping[str, tuple[str, str]] = {}
        """The aliases that are answered by another version than they name: named, answering."""

    @property
    def loading(self) -> str | None:
        """The version being loaded, if any."""
        return self._loads.loading

    @property
    def refusals(self) -> dict[str, Refusal]:
        """The versions that are wanted and cannot be served."""
        return self._loads.refusals

    @property
    def states(self) -> dict[str, State]:
        """The state of each version that is loading, serving or refused."""
        states = self._loads.states
        return states | dict.fromkeys(self._recommender.serving.residents, "serving")

    def _show_states(self) -> None:
        self._metrics.show_states(self.states)

    async def start(self) -> None:
        """Load the versions that the aliases name, or raise why none can be served.

        Where the own alias's version cannot be served, the one that it named before stands in,
        and at last any that can be. What else takes long to load does not hold the start up.
        """
        own, served_at = self.followed.alias, math.inf
        while True:
            try:
                if await self._look():
                    break
            except RegistryHangs as error:
                self._note_unreadable(error)
                continue
            if own in self._recommender.serving.aliases:
                served_at = min(served_at, self._clock())
                if self._clock() - served_at >= _OTHERS_S:
                    break
            await self._wait()
        if own in self._recommender.serving.aliases:
            return
        named = self.moves[own].version
        refusal = self.refusals.get(named)
        if refusal is None:
            raise CannotStart(f"alias {own} has moved to {named} while others were tried")
        raise refusal.error

    async def follow(self) -> None:
        """Read the aliases for ever, and load and swap whenever they name other versions."""
        while True:
            await self._wait()
            await self.look()

    def wake(self, *, retry_all: bool = False) -> None:
        """Read the aliases now; with `retry_all`, also try refused versions again at once."""
        self._retry_all |= retry_all
        self._woken.set()

    def close(self) -> None:
        """End, without waiting for a load or a look that may hang."""
        self._loads.close()
        for thread in (self._looker, self._freer):
            thread.shutdown(wait=False, cancel_futures=True)

    async def look(self) -> None:
        """Read the aliases once: swap to the versions that are loaded, begin to load the others.

        When a load has ended the aliases are read again, so a version that nobody names any more
        by then is not served.
        """
        try:
            await self._look()
        except (RegistryError, OSError) as error:
            self._note_unreadable(error)

    async def _look(self) -> bool:
        """Read the aliases once, and tell whether there is nothing left to load."""
        if self._retry_all:
            self._retry_all = False
            self._to_retry |= self.refusals.keys()
        await self._free(_LINGER_S)
        view = await self._read()
        loaded, ended = self._before_read
        self._problems.show({})
        self.moves = view.moves
        self._apply(view, loaded)
        if self.loading is not None and self.loading not in self._lacking(view):
            self._loads.call_off()
        is_idle = self.loading is None and self._loads.ended == ended
        if is_idle:
            version = self._next(view)
            if version is not None:
                self._begin(version, view)
                is_idle = False
        self._show_behind(view, is_idle)
        return is_idle

    async def _wait(self) -> None:
        """Wait until it is time to look, or somebody wakes."""
        wait_s = self._poll_interval_s * _RANDOM.uniform(1 - _JITTER, 1 + _JITTER)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), wait_s)
        self._woken.clear()

    async def _read(self) -> RegistryView:
        """Return what the registry says; raise RegistryHangs if it takes too long to say it."""
        if self._reading is None:
            self._reading = asyncio.get_running_loop().run_in_executor(
                self._looker, self._reader.read,
                self._recommender.serving.aliases, list(self.refusals),
            )  # fmt: skip
            # What is loaded or refused from now on is not in the answer: it waits for the next.
            self._before_read = list(self._loads.fresh), self._loads.ended
        await asyncio.wait([self._reading], timeout=_ANSWER_S)
        if not self._reading.done():
            raise RegistryHangs(f"no answer for {_ANSWER_S:g} s; it is waited for")
        reading, self._reading = self._reading, None
        return reading.result()

    def _note_unreadable(self, error: Exception) -> None:
        self._metrics.poll_errors.inc()
        self._problems.show({"the registry": in_words(error)})

    def _lacking(self, view: RegistryView) -> list[str]:
        return view.lacking(self._recommender.serving.aliases)

    def _next(self, view: RegistryView) -> str | None:
        """Return the version to load now, None for none.

        One that has just been tried waits until the others have been, unless an alias has moved to
        it since, or somebody has asked for another try.
        """
        for version in self._lacking(view):
            if version not in self._recommender.serving.residents and (
                self._is_asked_anew(version, view)
                or (version not in self._round and self._is_due(version, view))
            ):
                return version
        self._round.clear()
        return None

    def _is_asked_anew(self, version: str, view: RegistryView) -> bool:
        refusal = self.refusals.get(version)
        return version in self._to_retry or (
            refusal is not None and not asking(view.moves.values(), version) <= refusal.moves
        )

    def _is_due(self, version: str, view: RegistryView) -> bool:
        """Tell whether to load a version: for the first time, or as its refusal says."""
        refusal = self.refusals.get(version)
        if refusal is None:
            return True
        moves = asking(view.moves.values(), version)
        return refusal.is_due(self._clock(), moves, view.stamps.get(version, refusal.stamp))

    def _begin(self, version: str, view: RegistryView) -> None:
        """Begin to load a version; its end wakes those who follow."""
        self._round.add(version)
        self._to_retry.discard(version)
        free = partial(self._free, 0.0)  # so that two versions at most share the memory
        self._loads.begin(version, asking(view.moves.values(), version), free)
        self._show_states()

    def _after_load(self) -> None:
        self._show_states()
        self.wake()

    def _apply(self, view: RegistryView, loaded: Collection[str]) -> None:
        """Swap to the wanted versions that are loaded, and let go of those that are not needed."""
        before = self._recommender.serving
        for version in self.refusals.keys() - set(view.wanted):
            del self.refusals[version]
            self._to_retry.discard(version)
        now = time.time()
        fresh = {name: Resident(self._loads.fresh.pop(name), now) for name in loaded}
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
        recent = [
            version for version in [own, *self._recent] if version is not None and version in have
        ]
        self._recent = list(dict.fromkeys(recent))[: self.followed.keep]
        tried = (candidate.version for candidate in candidates.values())
        needed = {*aliases.values(), *tried, *self._recent}
        serving = Serving(
            alias=self.followed.alias,
            aliases=aliases,
            residents={name: resident for name, resident in have.items() if name in needed},
            candidates=candidates,
            known_versions=view.versions,
            known_aliases=view.aliases,
        )
        if serving != before:
            self._recommender.swap(serving)
            self._tell(before, serving)
        self._show_states()
        left = [resident for name, resident in have.items() if name not in needed]
        if left:
            self._left += [(self._clock(), resident) for resident in left]
            asyncio.get_running_loop().call_later(_LINGER_S + 0.05, self.wake)
        self._trials.follow(view.moves, self._problems_of(view, candidates))

    def _aliases(self, view: RegistryView, have: Mapping[str, Resident]) -> dict[str, str]:
        """Return the version that is to answer for each alias.

        That is the version it names, or else the one that has answered for it, or else one that may
        answer in its place; see RegistryView.stand_ins.
        """
        served = self._recommender.serving.aliases
        aliases = {}
        for alias, move in view.moves.items():
            held = [served[alias]] if alias in served else []
            for version in [move.version, *held, *view.stand_ins.get(alias, [])]:
                if version in have:
                    aliases[alias] = version
                    break
        return aliases

    def _tell(self, before: Serving, after: Serving) -> None:
        """Tell metrics and log the changes between two tables."""
        for version, resident in after.residents.items():
            if version not in before.residents:
                self._metrics.hold(resident.snapshot.figures)
        for alias in before.aliases.keys() - after.aliases.keys():
            self._metrics.deactivate(alias)
        for alias, version in after.aliases.items():
            if before.aliases.get(alias) != version:
                figures = after.residents[version].snapshot.figures
                self._metrics.activate(figures, alias, time.time())
                _log.info("alias %s: serving version %s", alias, version)
        for version in before.residents.keys() - after.residents.keys():
            self._metrics.release(version)
            _log.info("version %s is no longer held", version)
        for alias in before.candidates.keys() | after.candidates.keys():
            ended, tried = before.candidates.get(alias), after.candidates.get(alias)
            if ended != tried:
                _log.info("alias %s: %s", alias, f"trying {tried}" if tried else "trial ended")
        self._metrics.trials.show_trials(after.candidates)

    def _show_behind(self, view: RegistryView, is_idle: bool) -> None:
        """Log and show the aliases that are answered by another version than the one they name.

        Where no version answers at all, that is said once all that could have been tried.
        """
        aliases = self._recommender.serving.aliases
        behind = {
            alias: (move.version, aliases.get(alias, ""))
            for alias, move in view.moves.items()
            if move.version in self.refusals
            and aliases.get(alias) != move.version
            and (alias in aliases or is_idle)
        }
        for alias, (named, answering) in behind.items() - self.behind.items():
            _log.error(
                "alias %s names version %s, which cannot be served; %s answers in its place: %s",
                alias, named, answering or "nothing", self.refusals[named].reason,
            )  # fmt: skip
        if behind != self.behind:
            self.behind = behind
            self._metrics.trials.show_behind(behind)

    def _problems_of(
        self, view: RegistryView, candidates: Mapping[str, Candidate]
    ) -> dict[str, str]:
        """Say, by alias, why a candidate answers nobody."""
        problems = {}
        for alias, move in view.moves.items():
            if move.candidate is not None and alias not in candidates:
                refusal = self.refusals.get(move.candidate.version)
                problems[alias] = refusal.reason if refusal else "it is not loaded yet"
        return problems

    async def _free(self, linger_s: float) -> None:
        """Free, in a thread of their own, the versions that nothing has named for so long."""
        end = self._clock() - linger_s
        gone = [resident for left_at, resident in self._left if left_at <= end]
        self._left = [entry for entry in self._left if entry[0] > end]
        if gone:
            run = asyncio.get_running_loop().run_in_executor
            await run(self._freer, _let_go, gone)


def _let_go(residents: list[Resident]) -> None:
    residents.clear()
    memory.give_back()
