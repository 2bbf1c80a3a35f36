"""Following aliases: load what they name beside what is served, then swap.

A version that cannot be served never stops what is: it is refused, and tried again later.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field

from registry import ModelStore, RegistryError, Version
from registry.errors import NoSuchAlias
from server.metrics import Metrics
from server.recommender import Recommender
from server.serving import Resident, Serving
from server.snapshot import Snapshot

_log = logging.getLogger("gnnrec.server")

EVERY_ALIAS = "*"

_JITTER = 0.1
_RETRY_S = 2.0
_RETRY_AT_MOST_S = 60.0


@dataclass(frozen=True)
class Refusal:
    """A version that was asked for and cannot be served."""

    reason: str
    attempts: int
    retry_at: float


@dataclass(frozen=True)
class Followed:
    """Which aliases a server answers for, and how many versions it keeps."""

    alias: str
    """The one that answers requests which name none."""
    others: tuple[str, ...] = ()
    """Further ones, where they exist; "*" stands for all there are."""
    keep: int = 1
    """How many of the versions last served under `alias` stay, the current one included."""


@dataclass(frozen=True)
class _View:
    """What the registry says: the version of each alias to be followed, and what else there is."""

    wanted: Mapping[str, str]
    aliases: frozenset[str] = field(default_factory=frozenset)
    versions: frozenset[str] = field(default_factory=frozenset)


class Rollout:
    """Keeps the recommender on the versions that the aliases name."""

    def __init__(
        self,
        store: ModelStore,
        followed: Followed,
        recommender: Recommender,
        metrics: Metrics,
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
        self._loader = loader
        self._load_version = load
        self._poll_interval_s = poll_interval_s
        self._clock = clock
        self._recent: list[str] = []
        self.loading: str | None = None
        """The version being loaded, if any."""
        self.refusals: dict[str, Refusal] = {}
        """The versions that an alias names and that cannot be served."""

    async def start(self) -> None:
        """Load what the aliases name, or raise why there is nothing to serve."""
        run = asyncio.get_running_loop().run_in_executor
        own = self.followed.alias
        move = await run(self._loader, self.store.aliases.get, own)
        self._activate(own, await run(self._loader, self._load, move.version))
        await self.look()

    async def follow(self) -> None:
        """Look at the aliases for ever, and load and swap whenever they name other versions."""
        while True:
            await asyncio.sleep(self._poll_interval_s * random.uniform(1 - _JITTER, 1 + _JITTER))
            await self.look()

    async def look(self) -> None:
        """Look at the aliases once, and do what it takes to serve what they name."""
        run = asyncio.get_running_loop().run_in_executor
        try:
            view = await run(self._loader, self._view)
        except (RegistryError, OSError) as error:
            self._metrics.poll_errors.inc()
            _log.warning("alias %s cannot be read: %s", self.followed.alias, error)
            return
        for version in self.refusals.keys() - set(view.wanted.values()):
            del self.refusals[version]
            self._metrics.set_state(version, None)
        for alias, version in view.wanted.items():
            serving = self._recommender.serving
            if serving.aliases.get(alias) == version:
                continue
            if version in serving.residents:
                self._activate(alias, serving.residents[version].snapshot)
            elif not self._is_waiting(version):
                await self._try(alias, version)
        self._settle(view)

    async def _try(self, alias: str, version: str) -> None:
        """Load a version and have it answer for an alias, or refuse it."""
        self.loading = version
        self._metrics.set_state(version, "loading")
        try:
            run = asyncio.get_running_loop().run_in_executor
            loaded = await run(self._loader, self._load, version)
        except Exception as error:  # a bad version must not stop serving
            self._refuse(alias, version, error)
        else:
            self._activate(alias, loaded)
        finally:
            self.loading = None

    def _load(self, version: str) -> Snapshot:
        snapshot = self._load_version(self.store.open(version))
        self._metrics.loads.labels("loaded").inc()
        seconds = sum(snapshot.load_seconds.values())
        _log.info("version %s loaded in %.2f s", version, seconds)
        return snapshot

    def _activate(self, alias: str, snapshot: Snapshot) -> None:
        """Have a snapshot answer for an alias from now on."""
        serving, version, now = self._recommender.serving, snapshot.version, self._clock()
        resident = serving.residents.get(version) or Resident(snapshot, now)
        if alias == self.followed.alias:
            self._recent = [version, *(each for each in self._recent if each != version)]
        self.refusals.pop(version, None)
        self._serve({**serving.aliases, alias: version}, {**serving.residents, version: resident})
        self._metrics.activate(snapshot, alias, now)
        _log.info("alias %s: serving version %s", alias, version)

    def _settle(self, view: _View) -> None:
        """Let go of aliases that are not followed any more; remember what else there is."""
        serving = self._recommender.serving
        aliases = {name: named for name, named in serving.aliases.items() if name in view.wanted}
        if (aliases, view.versions, view.aliases) != (
            serving.aliases, serving.known_versions, serving.known_aliases,
        ):  # fmt: skip
            for alias in serving.aliases.keys() - aliases.keys():
                self._metrics.deactivate(alias)
            self._serve(aliases, serving.residents, view)

    def _serve(
        self,
        aliases: Mapping[str, str],
        residents: Mapping[str, Resident],
        view: _View | None = None,
    ) -> None:
        """Swap to these aliases, with the residents that they and `keep` still need."""
        before = self._recommender.serving
        self._recent = self._recent[: self.followed.keep]
        needed = {*aliases.values(), *self._recent}
        self._recommender.swap(
            Serving(
                alias=self.followed.alias,
                aliases=aliases,
                residents={name: each for name, each in residents.items() if name in needed},
                known_versions=before.known_versions if view is None else view.versions,
                known_aliases=before.known_aliases if view is None else view.aliases,
            )
        )
        for version in before.residents.keys() - needed:
            self._metrics.release(version)
            _log.info("version %s is no longer held", version)

    def _refuse(self, alias: str, version: str, error: Exception) -> None:
        earlier = self.refusals.get(version)
        attempts = earlier.attempts + 1 if earlier else 1
        delay = min(_RETRY_S * 2 ** (attempts - 1), _RETRY_AT_MOST_S)
        self.refusals[version] = Refusal(str(error), attempts, self._clock() + delay)
        self._metrics.loads.labels("refused").inc()
        self._metrics.set_state(version, "refused")
        still = self._recommender.serving.aliases.get(alias, "nothing")
        _log.error(
            "version %s refused, alias %s still serves %s: %s; next try in %.0f s",
            version, alias, still, error, delay,
        )  # fmt: skip

    def _is_waiting(self, version: str) -> bool:
        """Tell whether the version was refused and its next try is still to come."""
        refusal = self.refusals.get(version)
        return refusal is not None and self._clock() < refusal.retry_at

    def _view(self) -> _View:
        """Read the registry; raises RegistryError or OSError where the server's alias cannot be."""
        own, others = self.followed.alias, self.followed.others
        wanted = {own: self.store.aliases.get(own).version}
        names = self.store.layout.alias_names()
        serving = self._recommender.serving
        for name in names if EVERY_ALIAS in others else others:
            if name in wanted:
                continue
            try:
                wanted[name] = self.store.aliases.get(name).version
            except NoSuchAlias:
                continue  # not yet, or no longer
            except (RegistryError, OSError) as error:
                self._metrics.poll_errors.inc()
                _log.warning("alias %s cannot be read: %s", name, error)
                if name in serving.aliases:
                    wanted[name] = serving.aliases[name]
        return _View(wanted, frozenset(names), frozenset(self.store.layout.version_names()))
