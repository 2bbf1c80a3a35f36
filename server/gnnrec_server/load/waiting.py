"""How long a request may wait for a search thread, and whether one that comes now would.

The rule, in a picture: draw every search as a point, to the right how many requests it answered, up
how long it took. Searches that answer more take longer, so the points lie about a line. Where the
line stands above 1 is what a request alone costs; its slope is what each further request adds. The
line is fitted anew after every search, and a search counts for 5 % less with each that follows it.
A request that comes waits for the slope times the number of requests before it.
"""

import math
import time
from collections.abc import Callable
from contextvars import ContextVar

from gnnrec_server.errors import Overloaded

DEADLINE: ContextVar[float] = ContextVar("deadline", default=math.inf)
"""When the caller of the request that is being answered gives up, by time.monotonic."""

# Under overload nobody waits for longer than so many lone searches, or this time.
_SEARCHES = 4
_BRIEF_S = 0.01

# A search counts for at most so many times what was expected of it, or for _BRIEF_S.
_OUTLIER = 4

# More are not looked for together.
_MOST = 256

_REVIEW_S = 0.5
_FEW = 0.05
_FADING = 0.95
_SHORTEST_RETRY_S = 0.1


class SearchTimeLine:
    """The time of a search as a line over its number of requests n: lone_s + each_s * (n - 1).

    Weighted least squares over all searches so far: the last has the weight 1, the one before it
    0.95, and so on, so five decaying sums hold all that the fit needs: with the weights w,
    W = sum w, N = sum w n, Q = sum w n^2, T = sum w t, P = sum w t n, the slope is
    (W P - N T) / (W Q - N^2). It is kept between 0 and T / N, the mean time a request. Where nearly
    all searches were of one size there is no slope to be seen, and the mean time stands for it.

    A mean alone would not do: while requests come one at a time it is the time of a whole search,
    and those whom the next search answers together would be refused for it. A search that takes
    far longer than its expectation counts for four times that: one pause says little of the next.
    """

    def __init__(self) -> None:
        """Begin without a search; both times are 0 until the first."""
        self.each_s = 0.0
        """What one more request adds to a search."""
        self.lone_s = 0.0
        """How long a search for one request takes."""
        self._weights = self._requests = self._squares = self._seconds = self._products = 0.0

    def learn(self, took_s: float, requests: int) -> None:
        """Take note of how long a search for so many requests took."""
        if self._weights:
            expected_s = self.lone_s + self.each_s * (requests - 1)
            took_s = min(took_s, max(_OUTLIER * expected_s, _BRIEF_S))
        self._weights = _FADING * self._weights + 1
        self._requests = _FADING * self._requests + requests
        self._squares = _FADING * self._squares + requests * requests
        self._seconds = _FADING * self._seconds + took_s
        self._products = _FADING * self._products + took_s * requests
        spread = self._weights * self._squares - self._requests * self._requests
        mean_s = self._seconds / self._requests
        if spread > _FADING * self._requests:
            rise = self._weights * self._products - self._requests * self._seconds
            self.each_s = min(max(rise / spread, 0.0), mean_s)
        else:  # all of one size
            self.each_s = mean_s
        beside_s = (self._seconds - self.each_s * self._requests) / self._weights
        self.lone_s = beside_s + self.each_s


class WaitingRule:
    """Refuses, with Overloaded, requests that would wait or have waited too long for a thread.

    Too long is more than `max_wait_s`, or beyond the caller's deadline. Once a wait has been too
    long there is more than a burst to take: until half a second has passed in which hardly any was
    refused, nobody waits for more than four lone searches or 10 ms, so that those who are taken
    are answered soon. With max_wait_s 0 only deadlines count.
    """

    def __init__(self, max_wait_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nobody waiting."""
        self._max_wait_s = max_wait_s or math.inf
        self._clock = clock
        self.queued = 0
        """How many wait or are being computed."""
        self._line = SearchTimeLine()
        self._is_strict = False
        self._reviewed_at = clock()
        self._came = self._refused = 0

    @property
    def expected_wait_s(self) -> float:
        """How long a request that came now would wait."""
        return self.queued * self._line.each_s

    def searches_within(self, seconds: float) -> int:
        """Return how many requests one search answers within so many seconds; at least one."""
        line = self._line
        if line.each_s <= 0:
            return 1 if line.lone_s > seconds else _MOST
        return min(_MOST, max(1, 1 + int((seconds - line.lone_s) / line.each_s)))

    def check_coming(self, left_s: float) -> None:
        """Raise Overloaded for a request that comes now and whose caller gives it so long."""
        self._review()
        self._came += 1
        self._check(self.expected_wait_s, left_s)

    def check_unread(self, left_s: float) -> None:
        """Raise Overloaded as check_coming would, for a message that is not parsed yet.

        Once it is parsed the request comes, and is counted.
        """
        self.check_coming(left_s)
        self._came -= 1

    def check_waited(self, waited_s: float) -> None:
        """Raise Overloaded for a request that has waited too long to be computed yet."""
        self._check(waited_s, math.inf)

    def learn(self, took_s: float, requests: int) -> None:
        """Take note of how long a search for so many requests took."""
        self._line.learn(took_s, requests)

    def be_strict(self) -> None:
        """Let few wait from now on."""
        if not self._is_strict and self._max_wait_s < math.inf:
            self._is_strict = True
            self._reviewed_at, self._came, self._refused = self._clock(), 0, 0

    def _check(self, wait_s: float, left_s: float) -> None:
        """Raise Overloaded for a wait that is too long, given the time that the caller has left."""
        if wait_s > self._max_wait_s:
            self.be_strict()
        strict_s = max(_BRIEF_S, _SEARCHES * self._line.lone_s) if self._is_strict else math.inf
        longest_s = min(self._max_wait_s, strict_s)
        if wait_s > min(longest_s, left_s):
            self._refused += 1
            raise overloaded(self.expected_wait_s)

    def _review(self) -> None:
        """Let more wait again once hardly any is refused."""
        if not self._is_strict:
            return
        passed_s = self._clock() - self._reviewed_at
        if passed_s >= _REVIEW_S:
            self._is_strict = passed_s < 2 * _REVIEW_S and self._refused > _FEW * self._came
            self._reviewed_at, self._came, self._refused = self._clock(), 0, 0


def overloaded(wait_s: float) -> Overloaded:
    """Return the error that tells a caller to come back once the wait is over."""
    return Overloaded(
        "the server has more requests than it can answer in time; try again later",
        max(wait_s, _SHORTEST_RETRY_S),
    )
