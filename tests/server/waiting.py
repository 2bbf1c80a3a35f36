"""Waiting on a condition, with a limit."""

import time
from collections.abc import Callable


def until(condition: Callable[[], bool], limit_s: float = 10.0) -> None:
    """Return once the condition holds; fail if it never does."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


class Clock:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now
