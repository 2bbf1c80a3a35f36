"""The methods of both services: parse a message, have the core answer it, convert the answer.

They decide where a request is computed, so that nobody waits for long, and how a batch is cut.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from grpc import aio

from gnnrec_protos.v1 import model_pb2, model_pb2_grpc, recommender_pb2
from gnnrec_server.errors import AnswerTooLarge, InvalidQuery
from gnnrec_server.load.search_thread import Finish, SearchQueue, Together
from gnnrec_server.query.plan import Plan
from gnnrec_server.query.queries import Limits, ScoreQuery, TopKQuery, check_batch
from gnnrec_server.query.recommender import Effort, Query, Recommender, Result
from gnnrec_server.query.routing import Serving
from gnnrec_server.rollout.catalogue import Catalogue
from gnnrec_server.rpc import descriptions, requests
from gnnrec_server.rpc.statuses import report, to_status
from gnnrec_server.telemetry.metrics import Metrics

pb = recommender_pb2
Context = aio.ServicerContext[Any, Any]
A = TypeVar("A")

Entry = Query | pb.TopKRequest
"""An entry of a batch, or its message where to read it takes long."""
Part = tuple[Serving, Sequence[Entry]]
"""Some of a batch's entries, and what they are asked of."""
Answers = list[bytes | Plan]
"""Entries of the answer; for those that one look has not answered, the searches to be made."""

# A batch goes to the thread in parts: small enough to keep nobody waiting, for the thread or for
# the event loop, which makes their messages, and large enough for the matrix product. A part has
# at most so many plain entries, or fewer where they look at more than so many numbers together.
_PART = 128
_LEAST_PART = 16
_PART_NUMBERS = 400_000_000
# An entry counts as one for as many items as this, and as so many if it is searched for by itself.
_ITEMS = 50
_ALONE = 16
# Where all items may have to be scored in double precision.
_WHOLE_PART_NUMBERS = 128_000_000
# What remains of the parts of a batch of no more than so many is done in the event loop while the
# next is searched for.
_PARTS_IN_LOOP = 4
# Of one batch so many parts wait at a time, that others have their turn between them; where parts
# take long there is only one.
_AHEAD = 2

# What looks at no more numbers takes a few milliseconds.
_SHORT_NUMBERS = 50_000_000
# The same where filters say which items count, and where all are scored in double precision.
_SHORT_FILTERED_NUMBERS = 8_000_000
_SHORT_WHOLE_NUMBERS = 500_000
# A second look for up to so many items takes about as long as the first.
_FEW = 100


@dataclass(frozen=True)
class Lanes:
    """The threads that search: a request that takes long keeps none waiting that do not."""

    short: SearchQueue
    long: SearchQueue


class RecommenderServicer:
    """gnnrec.v1.RecommenderService; it answers with bytes that stand for the messages."""

    def __init__(
        self,
        recommender: Recommender,
        limits: Limits,
        lanes: Lanes,
        metrics: Metrics,
        max_answer_bytes: int,
    ) -> None:
        """Search in the threads of `lanes`, so that the event loop stays free."""
        self._max_answer_bytes = max_answer_bytes
        too_large = AnswerTooLarge(
            f"the batch's answers before this one fill --max-message-bytes of the server, "
            f"{max_answer_bytes}; ask again, in a smaller batch"
        )
        self._too_large = requests.batch_entry(to_status(too_large))
        self._respond = metrics.stages["respond"]
        self._recommender = recommender
        self._limits = limits
        self._lanes = lanes
        self._glance: Together[TopKQuery, requests.Reply | Plan]
        self._glance = partial(self._top_k, effort=Effort.GLANCE)
        self._again: Together[Plan, requests.Reply | Plan]
        self._again = partial(self._top_k, effort=Effort.AGAIN)
        self._whole: Together[TopKQuery | Plan, requests.Reply | Plan]
        self._whole = partial(self._top_k, effort=Effort.WHOLE)

    async def TopK(self, request: pb.TopKRequest, context: Context) -> requests.Reply:
        """Return the k best items for one query."""
        query = requests.light_top_k(request, self._limits)
        if query is None:
            return _whole_reply(await self._lanes.long.run(self._read_top_k, request))
        return await self.top_k(query)

    async def top_k(self, query: TopKQuery) -> requests.Reply:
        """Answer a query that is short to read, together with others where that can be."""
        lane = self._lanes.long if self._is_long(query) else self._lanes.short
        brief = self._glance if query.is_plain else None
        reply: requests.Reply | Plan = await lane.run(self._top_k, query, brief=brief)
        if isinstance(reply, Plan) and reply.query.k <= _FEW:
            is_short = reply.variant.index.numbers <= _SHORT_FILTERED_NUMBERS
            lane = self._lanes.short if is_short else self._lanes.long
            reply = await lane.run(self._again, reply, taken=True)
        if isinstance(reply, Plan):
            is_short = reply.variant.index.numbers <= _SHORT_WHOLE_NUMBERS
            lane = self._lanes.short if is_short else self._lanes.long
            reply = await lane.run(self._whole, reply, taken=True)
        return _whole_reply(reply)

    async def BatchTopK(self, request: pb.BatchTopKRequest, context: Context) -> requests.Reply:
        """Answer many TopK queries, each for itself, all from the same versions."""
        check_batch(len(request.requests), self._limits)
        serving = self._recommender.serving
        parts = self._parts(serving, [self._entry(each) for each in request.requests])
        is_short = len(parts) == 1 and self._is_short(parts[0])
        answers = await self._all(
            self._lanes.short if is_short else self._lanes.long,
            self._part if len(parts) <= _PARTS_IN_LOOP else self._finished_part,
            parts,
        )
        missing = [number for number, answer in enumerate(answers) if isinstance(answer, Plan)]
        if missing:
            plans = [answer for answer in answers if isinstance(answer, Plan)]
            size = _fitting(_WHOLE_PART_NUMBERS, self._recommender.numbers, 1, _LEAST_PART)
            wholes = [
                (serving, plans[first : first + size]) for first in range(0, len(plans), size)
            ]
            whole = partial(self._finished_part, effort=Effort.WHOLE)
            numbers = sum(plan.variant.index.numbers for plan in plans)
            lane = self._lanes.short if numbers <= _SHORT_WHOLE_NUMBERS else self._lanes.long
            found = await self._all(lane, whole, wholes, taken=True)
            for number, answer in zip(missing, found, strict=True):
                answers[number] = answer
        entries = [each for each in answers if isinstance(each, bytes)]
        return requests.batch_reply(entries, self._max_answer_bytes, self._too_large)

    async def Score(self, request: pb.ScoreRequest, context: Context) -> requests.Reply:
        """Score the named items for one query."""
        query = requests.light_score(request, self._limits)
        if query is None:
            return await self._lanes.long.run(self._read_score, request)
        if query.is_short:
            return self._answer_score(query)
        return await self._lanes.short.run(self._score, query)

    def _top_k(
        self, queries: Sequence[TopKQuery | Plan], effort: Effort = Effort.USUAL
    ) -> Finish[requests.Reply | Plan]:
        """Answer queries in the thread: more of them meet while it does."""
        answers = self._recommender.begin(queries, self._recommender.serving, effort)()
        with self._respond.time():
            replies = [
                answer if isinstance(answer, Exception | Plan) else requests.top_k_reply(answer)
                for answer in answers
            ]
        return lambda: replies

    def _read_top_k(self, messages: Sequence[pb.TopKRequest]) -> Finish[requests.Reply | Plan]:
        return self._whole([requests.parse_top_k(each, self._limits) for each in messages])

    def _part(self, parts: Sequence[Part], effort: Effort = Effort.USUAL) -> Finish[Answers]:
        """Search for each part by itself: it is large enough alone."""
        begun = [
            self._recommender.begin([self._read(each) for each in entries], serving, effort)
            for serving, entries in parts
        ]
        return lambda: [self._entries(finish()) for finish in begun]

    def _finished_part(
        self, parts: Sequence[Part], effort: Effort = Effort.USUAL
    ) -> Finish[Answers]:
        """Do the same, and what remains of it as well: the event loop has others to answer."""
        answers = self._part(parts, effort)()
        return lambda: answers

    def _entries(self, answers: Sequence[Result]) -> Answers:
        with self._respond.time():
            return [
                answer if isinstance(answer, Plan) else requests.batch_entry(_reported(answer))
                for answer in answers
            ]

    async def _all(
        self,
        lane: SearchQueue,
        function: Together[Part, Answers],
        parts: Sequence[Part],
        *,
        taken: bool = False,
    ) -> Answers:
        """Return the answers of all parts; those of one are made while the next is searched for."""
        has_long_parts = self._recommender.numbers > _SHORT_NUMBERS
        places = asyncio.Semaphore(1 if has_long_parts else _AHEAD)

        async def one(number: int) -> Answers:
            async with places:
                return await lane.run(function, parts[number], taken=taken or number > 0)

        tasks = [asyncio.ensure_future(one(number)) for number in range(len(parts))]
        try:
            made = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        return [answer for answers in made for answer in answers]

    def _parts(self, serving: Serving, entries: Sequence[Entry]) -> list[Part]:
        """Divide a batch; what is long to read is a part of its own."""
        most = _fitting(_PART_NUMBERS, self._recommender.numbers, _LEAST_PART, _PART)
        parts: list[list[Entry]] = []
        room = 0.0
        for entry in entries:
            costs = _cost(entry, most)
            if costs > room:
                parts.append([])
                room = most
            parts[-1].append(entry)
            room -= costs
        return [(serving, part) for part in parts]

    def _is_short(self, part: Part) -> bool:
        """Return whether a part takes a few milliseconds."""
        _, entries = part
        if len(entries) * self._recommender.numbers > _SHORT_NUMBERS:
            return False
        return not any(
            isinstance(entry, pb.TopKRequest)
            or (isinstance(entry, TopKQuery) and self._is_long(entry))
            for entry in entries
        )

    def _is_long(self, query: TopKQuery) -> bool:
        """Return whether a query that is short to read takes long to answer."""
        return bool(query.filters) and self._recommender.numbers > _SHORT_FILTERED_NUMBERS

    def _entry(self, request: pb.TopKRequest) -> Entry:
        """Read an entry where it has come, unless that takes long."""
        try:
            return requests.light_top_k(request, self._limits) or request
        except InvalidQuery as error:
            return error

    def _read(self, entry: Entry) -> Query:
        if not isinstance(entry, pb.TopKRequest):
            return entry
        try:
            return requests.parse_top_k(entry, self._limits)
        except InvalidQuery as error:
            return error

    def _read_score(self, messages: Sequence[pb.ScoreRequest]) -> Finish[requests.Reply]:
        return self._score([requests.parse_score(each, self._limits) for each in messages])

    def _score(self, queries: Sequence[ScoreQuery]) -> Finish[requests.Reply]:
        replies = [self._attempt(self._answer_score, query) for query in queries]
        return lambda: replies

    def _answer_score(self, query: ScoreQuery) -> requests.Reply:
        answer = self._recommender.score(query)
        with self._respond.time():
            return requests.score_reply(answer)

    @staticmethod
    def _attempt(
        function: Callable[[A], requests.Reply], argument: A
    ) -> requests.Reply | Exception:
        """Return what a function returns or raises: one request's error is not another's."""
        try:
            return function(argument)
        except Exception as error:
            return error


def _fitting(budget: int, numbers: int, least: int, most: int) -> int:
    """Return how many looks at so many numbers a budget allows, within limits."""
    return min(max(budget // max(1, numbers), least), most)


def _cost(entry: Entry, most: float) -> float:
    """Return for how many plain entries of a few items an entry counts."""
    if not isinstance(entry, TopKQuery):
        return most if isinstance(entry, pb.TopKRequest) else 1
    searched = 1 if entry.is_plain else _ALONE
    return max(searched, entry.k / _ITEMS)


def _whole_reply(reply: requests.Reply | Plan) -> requests.Reply:
    assert isinstance(reply, requests.Reply)
    return reply


def _reported(answer: Result) -> Any:
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
        return descriptions.model_response(
            self._catalogue.serving, aliases, problem, self._catalogue.trials
        )

    async def ListVersions(
        self, request: model_pb2.ListVersionsRequest, context: Context
    ) -> model_pb2.ListVersionsResponse:
        """List the registry's versions with their states."""
        states = await self._versions.result()
        return model_pb2.ListVersionsResponse(
            versions=[descriptions.version_status(state) for state in states]
        )


class _Shared(Generic[A]):
    """What a function returns, computed once for all who come while it is computed for others.

    It begins after they came, so that they see what happened before.
    """

    def __init__(self, executor: Executor, function: Callable[[], A]) -> None:
        self._executor = executor
        self._function = function
        self._turn = asyncio.Lock()
        self._next: asyncio.Task[A] | None = None

    async def result(self) -> A:
        if self._next is None:
            self._next = asyncio.create_task(self._compute())
        return await asyncio.shield(self._next)  # one who goes away takes it from nobody

    async def _compute(self) -> A:
        async with self._turn:
            self._next = None  # who comes from now on has another
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._executor, self._function)
