"""Where a request is computed: in the thread for short work, or in the one for long work.

What takes a few milliseconds never waits behind what takes longer. A request is judged by what it
asks for and by the size of the catalogue, not by a measured time, which the first abuser would set.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from gnnrec_server.load.answer_cache import Reply
from gnnrec_server.load.search_thread import Compute, SearchThread
from gnnrec_server.process.cancellation import attempt
from gnnrec_server.query.answer import ScoreAnswer, TopKAnswer
from gnnrec_server.query.plan import Plan
from gnnrec_server.query.queries import ScoreQuery, TopKQuery
from gnnrec_server.query.recommender import Effort, Query, Recommender
from gnnrec_server.telemetry.metrics import Metrics

# What looks at no more numbers of embeddings takes a few milliseconds.
SHORT_NUMBERS = 50_000_000
# The same where filters say which items count, and where all are scored in double precision.
_SHORT_FILTERED_NUMBERS = 8_000_000
SHORT_WHOLE_NUMBERS = 500_000
# So many are looked at for a single query within a millisecond or two.
BRIEF_NUMBERS = 8_000_000
# So many entries of item lists are added up within a few milliseconds, and so many in a fraction of
# one.
SHORT_ENTRIES = 100_000
_FEW_ENTRIES = 20_000
# What it costs to add lists to an answer, and each entry of them, in numbers that are looked at.
_LISTS_NUMBERS = 4_000_000
_ENTRY_NUMBERS = 100
# A second look for up to so many items takes about as long as the first.
_FEW = 100

Q = TypeVar("Q", TopKQuery, ScoreQuery)


@dataclass(frozen=True, slots=True)
class Unparsed(Generic[Q]):
    """A request whose message takes long to read, and so is read where it is computed."""

    parse: Callable[[], Q]
    """Returns its query, or raises InvalidQuery."""


@dataclass(frozen=True)
class Replies:
    """Makes replies of answers, in the thread that found them."""

    top_k: Callable[[TopKAnswer], Reply]
    score: Callable[[ScoreAnswer], Reply]


class Lanes:
    """The two threads that search, and which of them a TopK or a Score goes to."""

    def __init__(
        self,
        short: SearchThread,
        long: SearchThread,
        recommender: Recommender,
        replies: Replies,
        metrics: Metrics,
    ) -> None:
        """Search in `short` what takes a few milliseconds, and in `long` all else."""
        self.short = short
        self.long = long
        self._recommender = recommender
        self._replies = replies
        self._respond = metrics.stages["respond"]
        # one object each, since the thread computes together what has the same one
        self._usual: Compute[Query, Reply | Plan] = self._top_k
        self._glance: Compute[Query, Reply | Plan]
        self._glance = partial(self._top_k, effort=Effort.GLANCE)
        self._again: Compute[Query, Reply | Plan]
        self._again = partial(self._top_k, effort=Effort.AGAIN)
        self._whole: Compute[Query, Reply | Plan]
        self._whole = partial(self._top_k, effort=Effort.WHOLE)

    def is_brief(self, query: TopKQuery) -> bool:
        """Return whether a query may be answered in the event loop, together with others."""
        return (
            query.is_plain
            and self._recommender.numbers <= BRIEF_NUMBERS
            and self._recommender.list_entries(query) <= _FEW_ENTRIES
        )

    def top_k_here(
        self, queries: list[Query], waited_s: float
    ) -> Sequence[Reply | Plan | Exception]:
        """Answer brief queries that self.short has let in; a plan has to be looked at again."""
        return self.short.run_here(self._glance, queries, waited_s)

    def is_brief_score(self, query: ScoreQuery) -> bool:
        """Return whether a Score is answered at once."""
        return query.is_short and self._recommender.list_entries(query) <= _FEW_ENTRIES

    def score_here(self, query: ScoreQuery) -> Reply:
        """Answer a brief Score."""
        return self._score(query)

    async def top_k(self, asked: TopKQuery | Unparsed[TopKQuery]) -> Reply:
        """Answer a TopK, together with others where they ask alike."""
        if isinstance(asked, Unparsed):
            return _reply(await self.long.run(self._parsed_top_k, asked))
        lane = self.long if self.is_long(asked) else self.short
        few = self._recommender.list_entries(asked) <= _FEW_ENTRIES
        in_loop = self._glance if asked.is_plain and few else None
        found: Reply | Plan = await lane.run(self._usual, asked, in_loop=in_loop)
        return found if isinstance(found, Reply) else await self.look_again(found)

    async def score(self, asked: ScoreQuery | Unparsed[ScoreQuery]) -> Reply:
        """Answer a Score; a short one at once, since a thread would take longer to be woken."""
        if isinstance(asked, Unparsed):
            return await self.long.run(self._parsed_scores, asked)
        if self.is_brief_score(asked):
            return self._score(asked)
        entries = self._recommender.list_entries(asked)
        lane = self.short if entries <= SHORT_ENTRIES else self.long
        return await lane.run(self._scores, asked)

    def is_long(self, query: TopKQuery) -> bool:
        """Return whether a query that is short to read takes long to answer."""
        if query.filters and self._recommender.numbers > _SHORT_FILTERED_NUMBERS:
            return True
        return self._recommender.list_entries(query) > SHORT_ENTRIES

    def list_numbers(self, query: TopKQuery) -> int:
        """Return a look at how many numbers of embeddings costs as much as a query's lists."""
        entries = self._recommender.list_entries(query)
        return _LISTS_NUMBERS + _ENTRY_NUMBERS * entries if entries else 0

    async def look_again(self, plan: Plan) -> Reply:
        """Answer what the first look could not: by the embeddings, and at last by all of them."""
        found: Reply | Plan = plan
        numbers, is_long = plan.variant.index.numbers, self.is_long(plan.query)
        if plan.query.k <= _FEW:
            lane = self.short if numbers <= _SHORT_FILTERED_NUMBERS and not is_long else self.long
            found = await lane.run(self._again, plan, admitted=True)
        if isinstance(found, Plan):
            lane = self.short if numbers <= SHORT_WHOLE_NUMBERS and not is_long else self.long
            found = await lane.run(self._whole, found, admitted=True)
        return _reply(found)

    def _top_k(
        self, queries: Sequence[Query], effort: Effort = Effort.USUAL
    ) -> Sequence[Reply | Plan | Exception]:
        """Answer queries in the thread; while it does, the next ones meet in the queue."""
        answers = self._recommender.search(queries, self._recommender.serving, effort).answers()
        with self._respond.time():
            return [
                self._replies.top_k(answer) if isinstance(answer, TopKAnswer) else answer
                for answer in answers
            ]

    def _parsed_top_k(
        self, unparsed: Sequence[Unparsed[TopKQuery]]
    ) -> Sequence[Reply | Plan | Exception]:
        return self._whole([request.parse() for request in unparsed])

    def _scores(self, queries: Sequence[ScoreQuery]) -> Sequence[Reply | Exception]:
        return [attempt(self._score, query) for query in queries]

    def _parsed_scores(
        self, unparsed: Sequence[Unparsed[ScoreQuery]]
    ) -> Sequence[Reply | Exception]:
        return self._scores([request.parse() for request in unparsed])

    def _score(self, query: ScoreQuery) -> Reply:
        answer = self._recommender.score(query)
        with self._respond.time():
            return self._replies.score(answer)


def _reply(found: Reply | Plan) -> Reply:
    assert isinstance(found, Reply)  # the effort WHOLE leaves no plan
    return found
