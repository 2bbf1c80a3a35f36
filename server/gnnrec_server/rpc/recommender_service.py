"""gnnrec.v1.RecommenderService: from a message to a query, and from the answer to bytes."""

from typing import Any

from grpc import aio

from gnnrec_protos.v1 import recommender_pb2 as pb
from gnnrec_server.errors import AnswerTooLarge, InvalidQuery
from gnnrec_server.load.answer_cache import Reply
from gnnrec_server.load.batches import Batches, Entry
from gnnrec_server.load.lanes import Lanes
from gnnrec_server.query.answer import TopKAnswer
from gnnrec_server.query.queries import Limits, check_batch
from gnnrec_server.rpc import replies, requests
from gnnrec_server.rpc.statuses import report, to_status

Context = aio.ServicerContext[Any, Any]


class RecommenderService:
    """The methods of the service; they answer with bytes that stand for the messages."""

    def __init__(
        self, lanes: Lanes, batches: Batches, limits: Limits, max_answer_bytes: int
    ) -> None:
        """Answer requests within `limits`; a batch's reply has at most `max_answer_bytes`."""
        self._lanes = lanes
        self._batches = batches
        self._limits = limits
        self._max_answer_bytes = max_answer_bytes
        too_large = AnswerTooLarge(
            f"the batch's answers before this one fill --max-message-bytes of the server, "
            f"{max_answer_bytes}; ask again, in a smaller batch"
        )
        self._too_large = replies.batch_entry(to_status(too_large))

    async def TopK(self, request: pb.TopKRequest, context: Context) -> Reply:
        """Return the k best items for one query."""
        return await self._lanes.top_k(requests.top_k(request, self._limits))

    async def BatchTopK(self, request: pb.BatchTopKRequest, context: Context) -> Reply:
        """Answer many TopK queries, each for itself, all from the same versions."""
        check_batch(len(request.requests), self._limits)
        entries = await self._batches.top_k([self._entry(entry) for entry in request.requests])
        return replies.batch_reply(entries, self._max_answer_bytes, self._too_large)

    async def Score(self, request: pb.ScoreRequest, context: Context) -> Reply:
        """Score the named items for one query."""
        return await self._lanes.score(requests.score(request, self._limits))

    def _entry(self, request: pb.TopKRequest) -> Entry:
        try:
            return requests.top_k(request, self._limits)
        except InvalidQuery as error:
            return error


def write_entry(answer: TopKAnswer | Exception) -> bytes:
    """Return an entry of a batch's reply; a defect behind an error is logged."""
    if isinstance(answer, Exception):
        return replies.batch_entry(report(answer, "an entry of BatchTopK"))
    return replies.batch_entry(answer)
