"""Admission: which requests are computed, and which are refused early because too many wait.

A refusal costs little and says when to come back. A server that takes everything answers nobody in
time: its queue grows, and it computes for callers who have given up.
"""

import logging
import math
import time
from collections.abc import Callable
from contextvars import ContextVar

from gnnrec_server.errors import Overloaded
from gnnrec_server.load.unread import Unread

DEADLINE: ContextVar[float] = ContextVar("deadline", default=math.inf)
"""When the caller of the request that is being answered gives up, by time.monotonic."""

_log = logging.getLogger("gnnrec.server")

# Under overload nobody waits for longer than so many lone searches, or this time.
_SEARCHES = 4
_BRIEF_S = 0.01

# A search counts for at most so many times what was expected of it, or that time.
_FAR = 4

_REVIEW_S = 0.5
_FEW = 0.05
_FADING = 0.95
_SHORTEST_RETRY_S = 0.1
_LOG_EVERY_S = 10.0


class Patience:
    """How long requests may wait for a thread that searches, and whether one that came now would.

    A request is refused with Overloaded when it would wait, or has waited, more than `max_wait_s`
    or beyond its deadline. Once a wait has been too long there is more than a burst to take: until
    half a second has passed in which hardly any was refused, nobody waits for more than four
    lone searches or 10 ms, so that those who are taken are answered soon. With max_wait_s 0 only
    deadlines count.

    A search takes some time, and more for each request that it answers: a line through what the
    last ones took. Who comes is judged by the slope alone. A mean would count the time of a search
    as often as requests came one at a time, and refuse whom the next search answers together. One
    search that takes far longer than the last ones says little of those to come, and counts for
    four times what was expected of it: else all who come next would be refused for it.
    """

    def __init__(self, max_wait_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nobody waiting."""
        self._max_wait_s = max_wait_s or math.inf
        self._clock = clock
        self.queued = 0
        """How many wait or are being computed."""
        self._each_s = 0.0
        self._lone_s = 0.0
        self._searches = self._requests = self._squares = self._seconds = self._products = 0.0
        self._short = False
        self._reviewed_at = clock()
        self._came = self._refused = 0

    @property
    def expected_wait_s(self) -> float:
        """How long a request that came now would wait."""
        return self.queued * self._each_s

    def check_coming(self, left_s: float) -> None:
        """Raise Overloaded for a request that comes now and whose caller gives it so long."""
        self._review()
        self._came += 1
        self._check(self.expected_wait_s, left_s)

    def check_unread(self, left_s: float) -> None:
        """Raise Overloaded as check_coming would, for a message that is not read yet.

        Once it is read it comes, and is counted.
        """
        self.check_coming(left_s)
        self._came -= 1

    def check_waited(self, waited_s: float) -> None:
        """Raise Overloaded for a request that has waited too long to be computed yet."""
        self._check(waited_s, math.inf)

    def learn(self, took_s: float, requests: int) -> None:
        """Take note of how long a search for so many requests took."""
        if self._searches:
            expected_s = self._lone_s + self._each_s * (requests - 1)
            took_s = min(took_s, max(_FAR * expected_s, _BRIEF_S))
        self._searches = _FADING * self._searches + 1
        self._requests = _FADING * self._requests + requests
        self._squares = _FADING * self._squares + requests * requests
        self._seconds = _FADING * self._seconds + took_s
        self._products = _FADING * self._products + took_s * requests
        spread = self._searches * self._squares - self._requests * self._requests
        share_s = self._seconds / self._requests
        if spread > _FADING * self._requests:
            rise = self._searches * self._products - self._requests * self._seconds
            self._each_s = min(max(rise / spread, 0.0), share_s)
        else:  # all of one size
            self._each_s = share_s
        beside_s = (self._seconds - self._each_s * self._requests) / self._searches
        self._lone_s = beside_s + self._each_s

    def shorten(self) -> None:
        """Let few wait from now on."""
        if not self._short and self._max_wait_s < math.inf:
            self._short = True
            self._reviewed_at, self._came, self._refused = self._clock(), 0, 0

    def _check(self, wait_s: float, left_s: float) -> None:
        """Raise Overloaded for a wait that is too long, given the time that the caller has left."""
        if wait_s > self._max_wait_s:
            self.shorten()
        short_s = max(_BRIEF_S, _SEARCHES * self._lone_s) if self._short else math.inf
        longest_s = min(self._max_wait_s, short_s)
        if wait_s > min(longest_s, left_s):
            self._refused += 1
            raise overloaded(self.expected_wait_s)

    def _review(self) -> None:
        """Let more wait again once hardly any is refused."""
        if not self._short:
            return
        passed_s = self._clock() - self._reviewed_at
        if passed_s >= _REVIEW_S:
            self._short = passed_s < 2 * _REVIEW_S and self._refused > _FEW * self._came
            self._reviewed_at, self._came, self._refused = self._clock(), 0, 0


class Admission:
    """Counts the requests that are in the server and refuses those above a limit."""

    def __init__(
        self,
        max_concurrent: float,
        patience: Patience,
        unread: Unread,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Let in at most `max_concurrent` at a time, for a queue of such patience.

        Those whose answers are `unread` are still in.
        """
        self._max_concurrent = max_concurrent
        self._unread = unread
        self._patience = patience
        self._clock = clock
        self._inside = 0
        self._shed = 0
        self._logged_at = -math.inf

    def enter(self) -> None:
        """Let a request in, or raise Overloaded; leave must follow once it is in."""
        if self._inside >= self._max_concurrent:
            self._unread.make_room()
            self._patience.shorten()
            raise overloaded(self._patience.expected_wait_s)
        self._inside += 1

    def make_room(self) -> None:
        """Raise Overloaded where too much of earlier answers is unread; see to it that it goes."""
        self._unread.make_room()
        if self._unread.is_full:
            raise overloaded(self._patience.expected_wait_s)

    def leave(self) -> None:
        """Let a request out."""
        self._inside -= 1

    def note_shed(self) -> None:
        """Tell the log that requests are being shed, once in a while."""
        self._shed += 1
        if self._clock() - self._logged_at >= _LOG_EVERY_S:
            _log.warning("overloaded: %d requests shed since this was last said", self._shed)
            self._shed, self._logged_at = 0, self._clock()


def overloaded(wait_s: float) -> Overloaded:
    """Return the error that tells a caller to come back once the wait is over."""
    return Overloaded(
        "the server has more requests than it can answer in time; try again later",
        max(wait_s, _SHORTEST_RETRY_S),
    )
