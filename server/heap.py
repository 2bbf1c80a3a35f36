"""Memory that was freed goes back to the system, so that a server does not grow by rollouts."""

import ctypes
import sys

_M_MMAP_THRESHOLD = -3  # malloc.h
_LARGE = 4 << 20


def keep_large_apart() -> None:
    """Have large blocks, such as an index, be given back when they are freed, where it is glibc.

    By itself glibc does so only until it has seen one freed, and puts the next into a heap.
    """
    if sys.platform == "linux":
        set_option = getattr(ctypes.CDLL(None), "mallopt", None)
        if set_option is not None:
            set_option(_M_MMAP_THRESHOLD, _LARGE)
