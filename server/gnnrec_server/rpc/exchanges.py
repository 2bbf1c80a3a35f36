"""Finished calls of RecommenderService as the observer of trials takes them."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from google.rpc import code_pb2

from gnnrec_protos.v1 import recommender_pb2 as pb
from gnnrec_server.load.answer_cache import Reply
from gnnrec_server.query.queries import Limits, ScoreQuery, Subject, Target, TopKQuery
from gnnrec_server.rpc import requests
from gnnrec_server.trials.exchange import Exchange

_MESSAGES: dict[str, tuple[Any, Any]] = {
    "TopK": (pb.TopKRequest, pb.TopKResponse),
    "BatchTopK": (pb.BatchTopKRequest, pb.BatchTopKResponse),
    "Score": (pb.ScoreRequest, pb.ScoreResponse),
}


class AskedMessage:
    """A request's message, as trials look at it; see trials.exchange.Asked."""

    __slots__ = ("_limits", "_message")

    def __init__(self, message: pb.TopKRequest | pb.ScoreRequest, limits: Limits) -> None:
        """Keep a message; its query is read when it is asked for."""
        self._message = message
        self._limits = limits

    @property
    def version(self) -> str:
        """The version that it names, empty for none."""
        return self._message.version

    @property
    def alias(self) -> str:
        """The alias that it names, empty for none."""
        return self._message.alias

    @property
    def size_bytes(self) -> int:
        """The size of the message."""
        return self._message.ByteSize()

    def target_and_subject(self) -> tuple[Target, Subject]:
        """Return of which version and for whom it asks, or raise InvalidQuery."""
        return requests.target(self._message), requests.subject(self._message)

    def query(self) -> TopKQuery | ScoreQuery:
        """Return its query, or raise InvalidQuery."""
        if isinstance(self._message, pb.ScoreRequest):
            return requests.parse_score(self._message, self._limits)
        return requests.parse_top_k(self._message, self._limits)

    def copied(self) -> Callable[[], TopKQuery | ScoreQuery]:
        """Return a function like `query` that has a copy, and so keeps no batch in memory."""
        content = self._message.SerializeToString()
        return partial(_query, type(self._message), content, self._limits)


def exchanges(
    rpc: str,
    raw: bytes,
    request: Any,
    reply: Reply | None,
    code: str,
    seconds: float,
    limits: Limits,
) -> Iterator[Exchange]:
    """Return what a finished call asked and was answered; of a batch each entry, unless all failed.

    raw: the request's bytes; request: their message, None where it was not parsed since a ready
    answer was found; reply: None where the call has failed.
    """
    if request is None:
        request = _MESSAGES[rpc][0].FromString(raw)
    answer = None if reply is None else _MESSAGES[rpc][1].FromString(reply.content)
    if rpc != "BatchTopK":
        yield Exchange(AskedMessage(request, limits), answer, code, seconds)
    elif answer is not None:
        for asked, entry in zip(request.requests, answer.entries, strict=True):
            if entry.WhichOneof("result") == "response":
                yield Exchange(AskedMessage(asked, limits), entry.response, "OK", None)
            else:
                failed = code_pb2.Code.Name(entry.error.code)
                yield Exchange(AskedMessage(asked, limits), None, failed, None)


def _query(kind: Any, content: bytes, limits: Limits) -> TopKQuery | ScoreQuery:
    return AskedMessage(kind.FromString(content), limits).query()
