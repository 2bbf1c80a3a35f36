"""Answers that gRPC has been given and the other end has not read.

They take memory for as long as a caller likes, so they are work of the server until they are
written, and a connection that reads none of them is ended: nothing else frees them.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from gnnrec_server.process import connections

# What gRPC itself holds for a call, about.
_OVERHEAD = 16 * 1024

# Where there is no room left, a connection that has read nothing for so long is not waited for.
_PATIENCE_S = 1.0

# So many times as long may the oldest answer of a connection wait that reads others.
_SLOW = 5

Leave = Callable[[], None]


class Written(Protocol):
    """A call whose answer is on its way."""

    peer: str

    def when_read(self, then: Leave) -> None:
        """Have `then` called once the answer is written, or the call is gone."""


class _Connection:
    """The answers under way on one connection, and when one was read last."""

    __slots__ = ("answers", "bytes", "read_at")

    def __init__(self, now: float) -> None:
        self.answers: dict[object, tuple[int, float]] = {}
        self.bytes = 0
        self.read_at = now


class UnreadAnswers:
    """The answers that are under way to their callers."""

    def __init__(
        self,
        max_bytes: int,
        limit_s: float,
        end: Callable[[str], object] = connections.end,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Let `max_bytes` be unread; `end` a connection that reads nothing for `limit_s`."""
        self._max_bytes = max_bytes
        self._limit_s = limit_s
        self._end = end
        self._clock = clock
        self._connections: dict[str, _Connection] = {}
        self.bytes = 0
        """What they take together, about."""

    @property
    def is_full(self) -> bool:
        """Whether no further answer should be made."""
        return self.bytes >= self._max_bytes

    def hold(self, call: Written, size: int, leave: Leave | None = None) -> None:
        """Count an answer of `size` bytes until its call is over; then call `leave`."""
        peer = call.peer
        held = self._connections.get(peer)
        if held is None:
            held = self._connections[peer] = _Connection(self._clock())
        size += _OVERHEAD
        answer = object()
        held.answers[answer] = size, self._clock()
        held.bytes += size
        self.bytes += size

        def gone() -> None:
            size, _since = held.answers.pop(answer)
            held.bytes -= size
            self.bytes -= size
            if not held.answers:
                self._connections.pop(peer, None)
            else:
                held.read_at = self._clock()
            if leave is not None:
                leave()

        call.when_read(gone)

    def make_room(self) -> None:
        """End the connections that have read nothing for a second; if that is not enough, one more.

        That is the one with most unread, if it has more than half of what may be unread.
        """
        self._end_silent(_PATIENCE_S)
        if self.is_full:
            peer = max(self._connections, key=lambda peer: self._connections[peer].bytes)
            if self._connections[peer].bytes > self._max_bytes // 2:
                self._end(peer)

    async def watch(self) -> None:
        """End connections that read nothing for `limit_s`; this runs until it is cancelled."""
        while True:
            await asyncio.sleep(min(1.0, self._limit_s))
            self._end_silent(self._limit_s)

    def _end_silent(self, for_s: float) -> None:
        now = self._clock()
        for peer, held in list(self._connections.items()):
            _, since = next(iter(held.answers.values()))
            # one who reads this now and then has longer, and not for ever
            if held.read_at < now - for_s or since < now - _SLOW * for_s:
                held.read_at = now  # so that it is not ended again while it ends
                self._end(peer)
