"""Memory: freed memory goes back to the system, and the garbage collector runs rarely."""

import ctypes
import gc
import sys
from typing import Any

_M_MMAP_THRESHOLD = -3  # malloc.h
_LARGE = 4 << 20

# So many objects more than before have the interpreter look for garbage in cycles.
_MANY = 50_000


def keep_tidy() -> None:
    """Set up the memory of a server; call it once all is imported."""
    _keep_large_apart()
    _collect_rarely()


def give_back() -> None:
    """Give the system what has been freed, and what only cycles hold; any thread may call it.

    It takes some milliseconds, in which no other thread runs Python.
    """
    gc.collect()
    trim_heap()


def trim_heap() -> None:
    """Give the system what has been freed, without looking for cycles."""
    if (trim := _of_glibc("malloc_trim")) is not None:
        trim(0)


def _keep_large_apart() -> None:
    """Have large blocks, such as an index, be given back when they are freed, where it is glibc.

    By itself glibc does so only until it has seen one freed, and puts the next into a heap.
    """
    if (set_option := _of_glibc("mallopt")) is not None:
        set_option(_M_MMAP_THRESHOLD, _LARGE)


def _of_glibc(name: str) -> Any:
    """Return a function of the C library, None where it is another."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None


def _collect_rarely() -> None:
    """Look for garbage in cycles less often, and never among what is there now.

    By itself the interpreter looks whenever some calls are under way
    at once, and finds nothing: a fifteenth of the time that goes into answering.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_MANY, 10, 10)
