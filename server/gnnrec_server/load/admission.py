"""Admission: how many requests may be in the server at a time; what comes on top is refused.

A refusal costs little and says when to come back. A server that takes everything answers nobody in
time: its queue grows, and it computes for callers who have given up.
"""

import logging
import math
import time
from collections.abc import Callable

from gnnrec_server.load.unread import UnreadAnswers
from gnnrec_server.load.waiting import WaitingRule, overloaded

_log = logging.getLogger("gnnrec.server")

_LOG_EVERY_S = 10.0


class Admission:
    """Counts the requests that are in the server and refuses those above a limit."""

    def __init__(
        self,
        max_concurrent: float,
        waiting: WaitingRule,
        unread: UnreadAnswers,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Let in at most `max_concurrent` at a time, those included whose answers are `unread`.

        `waiting` is the rule of the thread that computes them: it turns strict when one is refused.
        """
        self._max_concurrent = max_concurrent
        self._unread = unread
        self._waiting = waiting
        self._clock = clock
        self._inside = 0
        self._refused = 0
        self._logged_at = -math.inf

    def enter(self) -> None:
        """Let a request in, or raise Overloaded; leave must follow once it is in."""
        if self._inside >= self._max_concurrent:
            self._unread.make_room()
            self._waiting.be_strict()
            raise overloaded(self._waiting.expected_wait_s)
        self._inside += 1

    def make_room(self) -> None:
        """Raise Overloaded where too much of earlier answers is unread, unless room can be made."""
        self._unread.make_room()
        if self._unread.is_full:
            raise overloaded(self._waiting.expected_wait_s)

    def leave(self) -> None:
        """Let a request out."""
        self._inside -= 1

    def note_refusal(self) -> None:
        """Log, once in a while, how many requests have been refused."""
        self._refused += 1
        if self._clock() - self._logged_at >= _LOG_EVERY_S:
            _log.warning("overloaded: %d requests shed since this was last said", self._refused)
            self._refused, self._logged_at = 0, self._clock()
