"""Long work goes in pieces, and asks between two of them whether anybody still waits for it."""

from collections.abc import Callable
from contextvars import ContextVar


def _always() -> None:
    pass


CHECK: ContextVar[Callable[[], None]] = ContextVar("check", default=_always)
"""Raises DeadlinePassed once nobody waits any more for what this thread computes."""


def pause() -> None:
    """Return where the work is still wanted; raise DeadlinePassed where it is not.

    Whatever a request may make long calls this between its pieces, which take some milliseconds,
    or as long as one call of a library over all items does.
    """
    CHECK.get()()
