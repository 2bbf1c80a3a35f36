"""How a batch is cut into parts, so that others have their turn between them.

A part goes to a search thread by itself: it is large enough alone. What remains of it (to rank the
candidates and to write the entries) is done in the event loop while the thread searches for the
next part, for batches of few parts; of more the thread does that as well, since the event loop has
others to answer.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from gnnrec_server.errors import InvalidQuery
from gnnrec_server.load.lanes import SHORT_NUMBERS, SHORT_WHOLE_NUMBERS, Lanes, Unparsed
from gnnrec_server.load.search_thread import Compute, SearchThread
from gnnrec_server.query.answer import TopKAnswer
from gnnrec_server.query.plan import Plan
from gnnrec_server.query.queries import TopKQuery
from gnnrec_server.query.recommender import Effort, Query, Recommender, Search
from gnnrec_server.query.routing import Serving
from gnnrec_server.telemetry.metrics import Metrics

# A part is small enough to keep nobody waiting, for the thread or for the event loop, and large
# enough for the matrix product. It has at most so many plain entries, or fewer where they look at
# more than so many numbers of embeddings together.
_PART = 128
_LEAST_PART = 16
_PART_NUMBERS = 400_000_000
# An entry counts as one for as many items as this, and as so many if it is searched for by itself.
_ITEMS = 50
_ALONE = 16
# Where all items may have to be scored in double precision.
_WHOLE_PART_NUMBERS = 128_000_000
# Of batches of no more parts, what remains of each is done in the event loop.
_PARTS_IN_LOOP = 4
# Of one batch so many parts wait at a time, that others have their turn between them; where parts
# take long there is only one.
_AHEAD = 2

Entry = Query | Unparsed[TopKQuery]
"""An entry of a batch, as far as it is read."""

Part = tuple[Serving, Sequence[Entry]]
"""Some of a batch's entries, and the versions that all of them are asked of."""

Written = list[bytes | Plan]
"""Entries as they are sent; for those that one look has not answered, the searches to be made."""


class Batches:
    """Answers batches, each entry by itself and all from the same versions."""

    def __init__(
        self,
        lanes: Lanes,
        recommender: Recommender,
        write: Callable[[TopKAnswer | Exception], bytes],
        metrics: Metrics,
    ) -> None:
        """`write` makes the bytes of an entry from its answer or its error."""
        self._lanes = lanes
        self._recommender = recommender
        self._write = write
        self._respond = metrics.stages["respond"]

    async def top_k(self, entries: Sequence[Entry]) -> list[bytes]:
        """Return the written answers of a batch's entries, in their order."""
        lanes, serving = self._lanes, self._recommender.serving
        parts = self._parts(serving, entries)
        is_short = len(parts) == 1 and self._is_short(entries)
        answers = await self._all(
            lanes.short if is_short else lanes.long,
            self._search if len(parts) <= _PARTS_IN_LOOP else self._search_and_finish,
            parts,
        )
        missing = [number for number, answer in enumerate(answers) if isinstance(answer, Plan)]
        if missing:
            plans = [answer for answer in answers if isinstance(answer, Plan)]
            for number, answer in zip(missing, await self._whole(serving, plans), strict=True):
                answers[number] = answer
        return [answer for answer in answers if isinstance(answer, bytes)]

    async def _whole(self, serving: Serving, plans: Sequence[Plan]) -> Written:
        """Answer the entries that need more than a look at the best candidates."""
        size = _fitting(_WHOLE_PART_NUMBERS, self._recommender.numbers, 1, _LEAST_PART)
        parts = [(serving, plans[first : first + size]) for first in range(0, len(plans), size)]
        numbers = sum(plan.variant.index.numbers for plan in plans)
        is_long = any(self._lanes.is_long(plan.query) for plan in plans)
        is_short = numbers <= SHORT_WHOLE_NUMBERS and not is_long
        lane = self._lanes.short if is_short else self._lanes.long
        whole = partial(self._search_and_finish, effort=Effort.WHOLE)
        return await self._all(lane, whole, parts, admitted=True)

    async def _all(
        self,
        lane: SearchThread,
        compute: Compute[Part, Search | Written],
        parts: Sequence[Part],
        *,
        admitted: bool = False,
    ) -> Written:
        """Return the answers of all parts; the first of them decides whether they are admitted."""
        has_long_parts = self._recommender.numbers > SHORT_NUMBERS
        places = asyncio.Semaphore(1 if has_long_parts else _AHEAD)

        async def one(number: int) -> Written:
            async with places:
                is_in = admitted or number > 0
                found: Search | Written = await lane.run(compute, parts[number], admitted=is_in)
                return self._finish(found) if isinstance(found, Search) else found

        tasks = [asyncio.ensure_future(one(number)) for number in range(len(parts))]
        try:
            made = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        return [answer for answers in made for answer in answers]

    def _search(self, parts: Sequence[Part], effort: Effort = Effort.USUAL) -> Sequence[Search]:
        return [
            self._recommender.search([_parsed(entry) for entry in entries], serving, effort)
            for serving, entries in parts
        ]

    def _search_and_finish(
        self, parts: Sequence[Part], effort: Effort = Effort.USUAL
    ) -> Sequence[Written]:
        return [self._finish(found) for found in self._search(parts, effort)]

    def _finish(self, found: Search) -> Written:
        """Rank what was found for a part, and write its entries."""
        answers = found.answers()
        with self._respond.time():
            return [
                answer if isinstance(answer, Plan) else self._write(answer) for answer in answers
            ]

    def _parts(self, serving: Serving, entries: Sequence[Entry]) -> list[Part]:
        """Divide a batch; what is long to read is a part of its own."""
        most = _fitting(_PART_NUMBERS, self._recommender.numbers, _LEAST_PART, _PART)
        parts: list[list[Entry]] = []
        room = 0.0
        for entry in entries:
            costs = self._cost(entry, most)
            if costs > room:
                parts.append([])
                room = most
            parts[-1].append(entry)
            room -= costs
        return [(serving, part) for part in parts]

    def _is_short(self, entries: Sequence[Entry]) -> bool:
        """Return whether entries together take a few milliseconds."""
        numbers = len(entries) * self._recommender.numbers
        for entry in entries:
            if numbers > SHORT_NUMBERS or isinstance(entry, Unparsed):
                return False
            if isinstance(entry, TopKQuery):
                if self._lanes.is_long(entry):
                    return False
                numbers += self._lanes.list_numbers(entry)
        return numbers <= SHORT_NUMBERS

    def _cost(self, entry: Entry, most: float) -> float:
        """Return for how many plain entries of a few items an entry counts."""
        if not isinstance(entry, TopKQuery):
            return most if isinstance(entry, Unparsed) else 1
        searched = 1 if entry.is_plain else _ALONE
        of_lists = self._lanes.list_numbers(entry) * most / _PART_NUMBERS
        return max(searched, entry.k / _ITEMS) + of_lists


def _parsed(entry: Entry) -> Query:
    if not isinstance(entry, Unparsed):
        return entry
    try:
        return entry.parse()
    except InvalidQuery as error:
        return error


def _fitting(budget: int, numbers: int, least: int, most: int) -> int:
    """Return how many looks at so many numbers a budget allows, within limits."""
    return min(max(budget // max(1, numbers), least), most)
