"""Ending computation that nobody waits for any more: long work asks between its pieces.

The thread that computes sets CHECK to what raises DeadlinePassed once the callers have gone;
whatever a request can make long calls `pause` now and then.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

from gnnrec_server.errors import DeadlinePassed

P = ParamSpec("P")
T = TypeVar("T")


def _always() -> None:
    pass


CHECK: ContextVar[Callable[[], None]] = ContextVar("check", default=_always)
"""Raises DeadlinePassed once nobody waits any more for what this thread computes."""


def pause() -> None:
    """Return if the result is still wanted; raise DeadlinePassed if it is not.

    It is called every few milliseconds of long work, or as often as calls of a library that look
    at all items permit.
    """
    CHECK.get()()


def attempt(function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T | Exception:
    """Return what a function returns, or the exception that it raises.

    For requests that are computed together, where the error of one must not be the error of the
    others. DeadlinePassed is raised all the same: it says that nobody waits for any of them.
    """
    try:
        return function(*arguments, **named)
    except DeadlinePassed:
        raise
    except Exception as error:
        return error
