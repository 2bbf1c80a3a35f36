"""Loading a version can be called off, because it takes too long or nobody wants it any more."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")


class CalledOff(Exception):
    """The load is not to go on."""


class Load:
    """One load of a version; its steps call `check` to learn whether it has been called off."""

    def __init__(self) -> None:
        """Begin with nothing loaded."""
        self._lock = threading.Lock()
        self._stops: list[Callable[[], object]] = []
        self._is_off = False
        self.is_running = False
        """Whether its thread is still running."""
        self.stamp: object = None
        """The state of the version's files at its beginning; None until it is known."""

    def run(self, load: Callable[[], T]) -> T:
        """Return what `load` returns; meanwhile `current` returns this, in the calling thread."""
        self.is_running = True
        token = _UNDER_WAY.set(self)
        try:
            loaded = load()
            self.check()
            return loaded
        finally:
            _UNDER_WAY.reset(token)
            self.is_running = False

    def call_off(self) -> None:
        """Have it end as soon as it can."""
        with self._lock:
            self._is_off = True
            stops = list(self._stops)
        for stop in stops:
            stop()

    def check(self) -> None:
        """Raise CalledOff if it is not to go on."""
        if self._is_off:
            raise CalledOff

    @contextmanager
    def interrupted_by(self, stop: Callable[[], object]) -> Iterator[None]:
        """Call `stop`, in another thread, if the load is called off while the block runs."""
        with self._lock:
            self.check()
            self._stops.append(stop)
        try:
            yield
        finally:
            with self._lock:
                self._stops.remove(stop)


_UNDER_WAY: ContextVar[Load | None] = ContextVar("load", default=None)


def current() -> Load:
    """Return the load that this thread runs, or one that is never called off."""
    return _UNDER_WAY.get() or Load()
