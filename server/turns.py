"""Whose turn it is among the threads: those that answer wait little for the one that loads."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_ANSWERING_S = 0.0005
_LOADING_S = 0.00005


def answer_soon() -> None:
    """Have the thread that searches come to its turn soon, however busy the one that talks is."""
    sys.setswitchinterval(_ANSWERING_S)


@contextmanager
def loading() -> Iterator[None]:
    """Have a thread that computes in Python let the others in ten times as often."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, _LOADING_S))
    try:
        yield
    finally:
        sys.setswitchinterval(before)
