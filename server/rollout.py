"""Following the alias: load the version it names beside the old one, then swap.

A version that cannot be served never stops the old one: it is refused, and tried again later.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from registry import ModelStore, Move, RegistryError, Version
from server.metrics import Metrics
from server.recommender import Recommender
from server.snapshot import Snapshot

_log = logging.getLogger("gnnrec.server")

_JITTER = 0.1
_RETRY_S = 2.0
_RETRY_AT_MOST_S = 60.0


@dataclass(frozen=True)
class Refusal:
    """A version that was asked for and cannot be served."""

    version: str
    reason: str
    attempts: int
    retry_at: float


class Rollout:
    """Keeps the recommender on the version that the alias names."""

    def __init__(
        self,
        store: ModelStore,
        alias: str,
        recommender: Recommender,
        metrics: Metrics,
        loader: Executor,
        load: Callable[[Version], Snapshot],
        poll_interval_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Load with `load` in `loader`'s threads, never in the one that answers."""
        self.store = store
        self.alias = alias
        self._recommender = recommender
        self._metrics = metrics
        self._loader = loader
        self._load_version = load
        self._poll_interval_s = poll_interval_s
        self._clock = clock
        self.activated_at = 0.0
        """When the version served now began to be served, in Unix seconds."""
        self.loading: str | None = None
        """The version being loaded, if any."""
        self.refusal: Refusal | None = None
        """The version that the alias names and that cannot be served, if so."""

    async def start(self) -> None:
        """Load the first version, or raise why there is none to serve."""
        run = asyncio.get_running_loop().run_in_executor
        move = await run(self._loader, self.store.aliases.get, self.alias)
        self._activate(await run(self._loader, self._load, move.version))

    async def follow(self) -> None:
        """Look at the alias for ever, and load and swap whenever it names another version."""
        while True:
            await asyncio.sleep(self._poll_interval_s * random.uniform(1 - _JITTER, 1 + _JITTER))
            await self.look()

    async def look(self) -> None:
        """Look at the alias once, and do what it takes to serve what it names."""
        run = asyncio.get_running_loop().run_in_executor
        try:
            move: Move = await run(self._loader, self.store.aliases.get, self.alias)
        except (RegistryError, OSError) as error:
            self._metrics.poll_errors.inc()
            _log.warning("alias %s cannot be read: %s", self.alias, error)
            return
        if move.version == self._recommender.snapshot.version:
            self.refusal = None
            return
        if self._is_waiting(move.version):
            return
        self.loading = move.version
        try:
            loaded = await run(self._loader, self._load, move.version)
        except Exception as error:  # a bad version must not stop serving
            self._refuse(move.version, error)
        else:
            self._activate(loaded)
        finally:
            self.loading = None

    def _load(self, version: str) -> Snapshot:
        return self._load_version(self.store.open(version))

    def _activate(self, loaded: Snapshot) -> None:
        self._recommender.swap(loaded)
        self.refusal = None
        self.activated_at = self._clock()
        self._metrics.loads.labels("loaded").inc()
        self._metrics.activate(loaded, self.alias, self.activated_at)
        seconds = sum(loaded.load_seconds.values())
        _log.info("serving version %s (loaded in %.2f s)", loaded.version, seconds)

    def _refuse(self, version: str, error: Exception) -> None:
        same = self.refusal is not None and self.refusal.version == version
        attempts = self.refusal.attempts + 1 if same and self.refusal else 1
        delay = min(_RETRY_S * 2 ** (attempts - 1), _RETRY_AT_MOST_S)
        self.refusal = Refusal(version, str(error), attempts, self._clock() + delay)
        self._metrics.loads.labels("refused").inc()
        _log.error(
            "version %s refused, still serving %s: %s; next try in %.0f s",
            version, self._recommender.snapshot.version, error, delay,
        )  # fmt: skip

    def _is_waiting(self, version: str) -> bool:
        """Tell whether the version was refused and its next try is still to come."""
        refusal = self.refusal
        return (
            refusal is not None and refusal.version == version and self._clock() < refusal.retry_at
        )
