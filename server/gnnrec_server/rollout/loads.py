"""Loading versions, one at a time: each is loaded or refused, and its state is known here."""

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

from gnnrec_registry import ModelStore, RegistryError, Version
from gnnrec_server.errors import ServingError, UnservableVersion
from gnnrec_server.process import memory
from gnnrec_server.process.threads import OneThread
from gnnrec_server.rollout.retries import Refusal, without_frames
from gnnrec_server.telemetry.metrics import Metrics
from gnnrec_server.telemetry.version_metrics import State
from gnnrec_server.version.cancellation import CalledOff, Load
from gnnrec_server.version.snapshot import Snapshot

_log = logging.getLogger("gnnrec.server")

# A load that was called off gets so long to end; then its thread is left behind.
_CALLED_OFF_S = 5.0


class Loads:
    """What is being loaded, what has been and is not served yet, and what cannot be."""

    def __init__(
        self,
        store: ModelStore,
        load: Callable[[Version], Snapshot],
        loader: OneThread,
        freer: OneThread,
        metrics: Metrics,
        stamp: Callable[[str], object],
        on_end: Callable[[], object],
        timeout_s: float,
        clock: Callable[[], float],
    ) -> None:
        """Load with `load` in `loader`'s thread; give memory back in `freer`'s.

        `stamp` returns the state of a version's files. `on_end` is told of every end of a load. A
        version that is not loaded within `timeout_s` is refused; 0 sets no limit.
        """
        self._store = store
        self._load_version = load
        self._loader = loader
        self._freer = freer
        self._metrics = metrics
        self._stamp = stamp
        self._on_end = on_end
        self._timeout_s = timeout_s
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._unwanted = asyncio.Event()
        self.ended = 0
        """How many loads have come to an end."""
        self.loading: str | None = None
        """The version being loaded, if any."""
        self.fresh: dict[str, Snapshot] = {}
        """The versions that have been loaded and that nobody has taken yet."""
        self.refusals: dict[str, Refusal] = {}
        """The versions that are wanted and cannot be served."""

    @property
    def states(self) -> dict[str, State]:
        """The state of each version that is not served."""
        states: dict[str, State] = dict.fromkeys(self.refusals, "refused")
        states |= dict.fromkeys(self.fresh, "loading")
        if self.loading is not None:
            states[self.loading] = "loading"
        return states

    def begin(
        self, version: str, moves: frozenset[tuple[str, int]], free: Callable[[], Awaitable[None]]
    ) -> None:
        """Begin to load a version that `moves` of aliases ask for, once `free` has made room."""
        self._unwanted.clear()
        self.loading = version
        self._task = asyncio.create_task(self._try(version, moves, free))

    def call_off(self) -> None:
        """Have the load that is under way end: nobody wants the version any more."""
        self._unwanted.set()

    def close(self) -> None:
        """End, without waiting for a load that may hang."""
        if self._task is not None:
            self._task.cancel()
        self._loader.shutdown(wait=False, cancel_futures=True)

    async def _try(
        self, version: str, moves: frozenset[tuple[str, int]], free: Callable[[], Awaitable[None]]
    ) -> None:
        """Load a version, or refuse it; or neither, if nobody wants it any more."""
        load = Load()
        try:
            await free()
            made = await self._loaded(version, load)
            if self._unwanted.is_set():
                _log.info("version %s: the load was called off, no alias wants it", version)
            elif isinstance(made, Exception):
                self._refuse(version, moves, load, made)
                # What had been loaded of it is free: nothing of it is in cycles.
                await asyncio.get_running_loop().run_in_executor(self._freer, memory.trim_heap)
            else:
                self.fresh[version] = made
                self.refusals.pop(version, None)
                self._metrics.loads.labels("loaded").inc()
                seconds = sum(made.load_seconds.values())
                _log.info("version %s loaded in %.2f s", version, seconds)
        except Exception as error:  # a bad version must not stop serving
            self._refuse(version, moves, load, without_frames(version, error))
        finally:
            load.call_off()  # whoever ends this does not want it
            self.loading = None
            self.ended += 1
            self._on_end()

    async def _loaded(self, version: str, load: Load) -> Snapshot | Exception:
        """Return a version, loaded, or why it cannot be; a thread that does not end is left."""
        run = asyncio.get_running_loop().run_in_executor
        making = run(self._loader, self._load_in_thread, version, load)
        unwanted = asyncio.create_task(self._unwanted.wait())
        either: list[asyncio.Future[Any]] = [making, unwanted]
        await asyncio.wait(
            either, timeout=self._timeout_s or None, return_when=asyncio.FIRST_COMPLETED
        )
        unwanted.cancel()
        if making.done():
            return making.result()
        load.call_off()
        await asyncio.wait([making], timeout=_CALLED_OFF_S)
        if not making.done():
            making.cancel()  # whatever it returns at last, nobody holds it
            self._loader.leave_behind()
            _log.warning("version %s: its load does not end, and is left behind", version)
        return UnservableVersion(
            f"version {version!r} was not loaded within {self._timeout_s:g} s; if it only "
            "takes long, give it more: --load-timeout"
        )

    def _load_in_thread(self, version: str, load: Load) -> Snapshot | Exception:
        """Load a version, or return why not, in the loader's thread."""

        def loaded() -> Snapshot:
            load.stamp = self._stamp(version)
            return self._load_version(self._store.open(version))

        try:
            return load.run(loaded)
        except Exception as error:
            if not isinstance(error, RegistryError | ServingError | OSError | CalledOff):
                _log.debug("version %s:\n%s", version, "".join(traceback.format_exception(error)))
            return without_frames(version, error)

    def _refuse(
        self, version: str, moves: frozenset[tuple[str, int]], load: Load, error: Exception
    ) -> None:
        earlier = self.refusals.get(version)
        attempts = earlier.attempts + 1 if earlier is not None and moves <= earlier.moves else 1
        refusal = Refusal(error, attempts, self._clock(), moves, load.stamp, load)
        self.refusals[version] = refusal
        self._metrics.loads.labels("refused").inc()
        _log.error(
            "version %s refused: %s; next try in %.0f s", version, refusal.reason, refusal.delay_s
        )
