"""The ready answers to requests that come again and again."""

from collections import OrderedDict
from dataclasses import dataclass

from gnnrec_server.query.recommender import Recommender
from gnnrec_server.query.routing import Serving
from gnnrec_server.telemetry import collectors
from gnnrec_server.telemetry.metrics import Metrics

# What an entry takes beside its bytes.
_OVERHEAD = 300


@dataclass(slots=True, eq=False)
class Reply:
    """An answer as it goes over the wire, and what is counted of it."""

    content: bytes
    version: str
    variant: str
    k: int = 0
    """How many items were asked for, of a TopK that may be cached; 0 for any other answer.

    It may be cached if its answer depends on its bytes and on the served versions alone.
    """
    short: bool = False
    """Whether it has fewer than k items."""


class AnswerCache:
    """Replies by the request's bytes, the least recently used forgotten first.

    The bytes say all that an answer depends on but for what is served; so when that changes, all is
    forgotten. Only answers of TopK about what the version knows are kept. No version is held: what
    is no longer served goes, whether or not anybody asks.
    """

    def __init__(self, max_bytes: int, recommender: Recommender, metrics: Metrics) -> None:
        """Keep replies of at most so many bytes together; with 0 none."""
        self._max_bytes = max_bytes
        self._recommender = recommender
        self._metrics = metrics
        self._hits = metrics.cached.labels("hit")
        self._misses = metrics.cached.labels("miss")
        self._replies: OrderedDict[bytes, Reply] = OrderedDict()
        self._bytes = 0
        self._answers = recommender.serving.answers
        """What marks the versions that the replies are of; see Serving.answers."""

    def get(self, rpc: str, request: bytes) -> Reply | None:
        """Return the reply to a request, and count it as answered, if it is known."""
        if rpc != "TopK" or not self._max_bytes:
            return None
        if self._answers is not self._recommender.serving.answers:
            self._forget()
        reply = self._replies.get(request)
        if reply is None:
            self._misses.inc()
            return None
        self._replies.move_to_end(request)
        self._hits.inc()
        collectors.observe(self._metrics.requested_k, reply.k)
        if reply.short:
            self._metrics.short_answers.inc()
        return reply

    def put(self, request: bytes, reply: Reply, serving: Serving) -> None:
        """Keep a reply of what `serving` has answered, since `get` was asked for the request."""
        if not reply.k or not self._max_bytes:
            return
        if serving.answers is not self._recommender.serving.answers:
            return
        if request not in self._replies:
            self._bytes += _size(request, reply)
        self._replies[request] = reply
        while self._bytes > self._max_bytes:
            self._bytes -= _size(*self._replies.popitem(last=False))
        self._metrics.cache_bytes.set(self._bytes)

    def _forget(self) -> None:
        self._replies.clear()
        self._bytes = 0
        self._metrics.cache_bytes.set(0)
        self._answers = self._recommender.serving.answers


def _size(request: bytes, reply: Reply) -> int:
    return len(request) + len(reply.content) + _OVERHEAD
