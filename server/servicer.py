"""The methods of both services: parse a message, call the core, convert the answer.

They decide where a request is computed, at once or in the search thread, and how a batch is cut.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, Generic, TypeVar

from google.rpc import status_pb2
from grpc import aio

from protos.gnnrec.v1 import model_pb2, model_pb2_grpc, recommender_pb2
from server import model_wire, wire
from server.batcher import Finish, SearchQueue, Together
from server.catalogue import Catalogue
from server.errors import AnswerTooLarge, InvalidQuery
from server.metrics import Metrics
from server.queries import Limits, ScoreQuery, TopKQuery, check_batch
from server.recommender import Query, Recommender, TopKAnswer
from server.serving import Serving
from server.statuses import report, to_status

pb = recommender_pb2
Context = aio.ServicerContext[Any, Any]
A = TypeVar("A")

Part = tuple[Serving, Sequence[Query]]
"""Some of a batch's queries, and what they are asked of."""
Answers = list[TopKAnswer | Exception | None]

# Small enough to keep nobody waiting for the event loop, large enough for the matrix product.
_PART = 128


class RecommenderServicer:
    """gnnrec.v1.RecommenderService; it answers with bytes that stand for the messages."""

    def __init__(
        self,
        recommender: Recommender,
        limits: Limits,
        search: SearchQueue,
        metrics: Metrics,
        max_answer_bytes: int,
    ) -> None:
        """Search in the thread of `search`, so that the event loop stays free."""
        self._max_answer_bytes = max_answer_bytes
        self._too_large = to_status(
            AnswerTooLarge(
                f"the batch's answers before this one fill --max-message-bytes of the server, "
                f"{max_answer_bytes}; ask again, in a smaller batch"
            )
        )
        self._respond = metrics.stages["respond"]
        self._recommender = recommender
        self._limits = limits
        self._search = search

    async def TopK(self, request: pb.TopKRequest, context: Context) -> wire.Reply:
        """Return the k best items for one query."""
        query = wire.parse_top_k(request, self._limits)
        return await self._search.run(self._top_k, query, brief=query.is_plain)

    async def BatchTopK(self, request: pb.BatchTopKRequest, context: Context) -> wire.Reply:
        """Answer many TopK queries, each for itself, all from the same versions."""
        check_batch(len(request.requests), self._limits)
        serving = self._recommender.serving
        queries = [self._parse(each) for each in request.requests]
        parts = [queries[first : first + _PART] for first in range(0, len(queries), _PART)]
        answers = await self._all(self._part, [(serving, part) for part in parts])
        missing = [number for number, answer in enumerate(answers) if answer is None]
        alone = await self._all(self._part_alone, [(serving, [queries[each]]) for each in missing])
        for number, answer in zip(missing, alone, strict=True):
            answers[number] = answer
        with self._respond.time():
            entries = [_entry(answer) for answer in answers]
            return wire.batch_reply(entries, self._max_answer_bytes, self._too_large)

    async def Score(self, request: pb.ScoreRequest, context: Context) -> wire.Reply:
        """Score the named items for one query."""
        query = wire.parse_score(request, self._limits)
        if query.is_short:
            return self._answer_score(query)
        return await self._search.run(self._score, query)

    def _top_k(self, queries: Sequence[TopKQuery]) -> Finish[wire.Reply]:
        """Answer queries in the thread: more of them meet while it does."""
        answers = self._recommender.top_k_batch(queries)
        with self._respond.time():
            replies = [
                answer if isinstance(answer, Exception) else wire.top_k_reply(query, answer)
                for query, answer in zip(queries, answers, strict=True)
            ]
        return lambda: replies

    def _part(self, parts: Sequence[Part], *, together: bool = True) -> Finish[Answers]:
        """Search for each part by itself: it is large enough alone."""
        begun = [
            self._recommender.begin(queries, serving, together=together)
            for serving, queries in parts
        ]
        return lambda: [finish() for finish in begun]

    def _part_alone(self, parts: Sequence[Part]) -> Finish[Answers]:
        return self._part(parts, together=False)

    async def _all(self, function: Together[Part, Answers], parts: Sequence[Part]) -> Answers:
        """Return the answers of all parts; those of one are made while the next is searched for."""
        made = await asyncio.gather(*(self._search.run(function, part) for part in parts))
        return [answer for answers in made for answer in answers]

    def _parse(self, entry: pb.TopKRequest) -> TopKQuery | Exception:
        try:
            return wire.parse_top_k(entry, self._limits)
        except InvalidQuery as error:
            return error

    def _score(self, queries: Sequence[ScoreQuery]) -> Finish[wire.Reply]:
        replies = [self._attempt(self._answer_score, query) for query in queries]
        return lambda: replies

    def _answer_score(self, query: ScoreQuery) -> wire.Reply:
        answer = self._recommender.score(query)
        with self._respond.time():
            return wire.score_reply(answer)

    @staticmethod
    def _attempt(function: Callable[[A], wire.Reply], argument: A) -> wire.Reply | Exception:
        """Return what a function returns or raises: one request's error is not another's."""
        try:
            return function(argument)
        except Exception as error:
            return error


def _entry(answer: TopKAnswer | Exception | None) -> TopKAnswer | status_pb2.Status:
    assert answer is not None
    return report(answer, "an entry of BatchTopK") if isinstance(answer, Exception) else answer


class ModelServicer(model_pb2_grpc.ModelServiceServicer):
    """gnnrec.v1.ModelService."""

    def __init__(self, catalogue: Catalogue, reader: Executor) -> None:
        """Read the registry in the threads of `reader`."""
        self._catalogue = catalogue
        self._aliases = _Shared(reader, catalogue.aliases)
        self._versions = _Shared(reader, catalogue.versions)

    async def GetModel(
        self, request: model_pb2.GetModelRequest, context: Context
    ) -> model_pb2.GetModelResponse:
        """Describe what is loaded."""
        aliases, problem = await self._aliases.result()
        return model_wire.model_response(
            self._catalogue.serving, aliases, problem, self._catalogue.trials
        )

    async def ListVersions(
        self, request: model_pb2.ListVersionsRequest, context: Context
    ) -> model_pb2.ListVersionsResponse:
        """List the registry's versions with their states."""
        states = await self._versions.result()
        return model_pb2.ListVersionsResponse(
            versions=[model_wire.version_status(state) for state in states]
        )


class _Shared(Generic[A]):
    """What a function returns, computed once for all who wait for it at the same time."""

    def __init__(self, executor: Executor, function: Callable[[], A]) -> None:
        self._executor = executor
        self._function = function
        self._running: asyncio.Future[A] | None = None

    async def result(self) -> A:
        if self._running is None or self._running.done():
            loop = asyncio.get_running_loop()
            self._running = loop.run_in_executor(self._executor, self._function)
        return await asyncio.shield(self._running)  # one who goes away takes it from nobody
