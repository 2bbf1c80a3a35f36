"""Memory that was freed goes back to the system, so that a server does not grow by rollouts."""

import ctypes
import sys
from typing import Any

_M_MMAP_THRESHOLD = -3  # malloc.h
_LARGE = 4 << 20


def keep_large_apart() -> None:
    """Have large blocks, such as an index, be given back when they are freed, where it is glibc.

    By itself glibc does so only until it has seen one freed, and puts the next into a heap.
    """
    _glibc("mallopt", _M_MMAP_THRESHOLD, _LARGE)


def give_back() -> None:
    """Return what is free in the heaps to the system, where it is glibc."""
    _glibc("malloc_trim", 0)


def _glibc(name: str, *arguments: Any) -> None:
    if sys.platform == "linux":
        function = getattr(ctypes.CDLL(None), name, None)
        if function is not None:
            function(*arguments)
