"""Calls that came together, answered together: one pass over them, and one search.

What is brief, as most calls are, is computed here, in the event loop: to hand a call of 50
microseconds to a thread, and to be woken by it, takes as long again. All else goes the way of a
single call.
"""

import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any

from gnnrec_server.load import waiting
from gnnrec_server.load.answer_cache import Reply
from gnnrec_server.load.lanes import Lanes
from gnnrec_server.query.plan import Plan
from gnnrec_server.query.queries import Limits, ScoreQuery, TopKQuery
from gnnrec_server.query.recommender import Recommender
from gnnrec_server.rpc import requests
from gnnrec_server.rpc.calls import Call
from gnnrec_server.rpc.gateway import UnaryMethod
from gnnrec_server.rpc.statuses import Ending
from gnnrec_server.telemetry import logs

# The event loop has other things to do as well.
_MOST_S = 0.004
# A message of so many bytes is parsed in microseconds.
_SMALL = 4096


class Waiting(Call):
    """A call whose front waits to be told its answer."""

    __slots__ = ("came",)

    came: float
    """When it arrived, by time.monotonic."""

    def end(self, found: bytes | Ending) -> None:
        """Send the answer, or what ends the call."""
        raise NotImplementedError


@dataclass(frozen=True)
class Later:
    """A call that is not answered yet: it has come in, and `finish` will end it."""

    method: UnaryMethod
    call: Waiting
    reply: Awaitable[Reply] | None = None

    async def finish(self) -> None:
        """Wait for its answer, and send it; in a context of its own."""
        waiting.DEADLINE.set(self.call.deadline)
        logs.REQUEST_ID.set(self.call.request_id)
        self.call.end(await self.method.finish(self.call, self.reply))


@dataclass(frozen=True)
class _Asked:
    """A TopK that is searched for with others."""

    method: UnaryMethod
    call: Waiting
    query: TopKQuery


class Together:
    """Answers calls that came together."""

    def __init__(self, recommender: Recommender, lanes: Lanes, limits: Limits) -> None:
        """Answer by the threads of `lanes`, and without them what is brief."""
        self._recommender = recommender
        self._lanes = lanes
        self._limits = limits

    def answer(self, arrived: Sequence[tuple[UnaryMethod, Waiting]]) -> list[Later]:
        """Answer calls, and return those that take longer."""
        asked: list[_Asked] = []
        later: list[Later] = []
        for method, call in arrived:
            ended = method.enter(call)
            if ended is None:
                ended = self._begun(method, call, asked, later)
            if ended is not None:
                call.end(ended)
        first = 0
        while first < len(asked):
            count = self._lanes.short.waiting.searches_within(_MOST_S)
            self._search(asked[first : first + count], later)
            first += count
        return later

    def _begun(
        self, method: UnaryMethod, call: Waiting, asked: list[_Asked], later: list[Later]
    ) -> bytes | Ending | None:
        """Answer a call that has come in, or add it to `asked` or to `later`."""
        if len(call.raw) > _SMALL or not (method.is_top_k or method.is_score):
            later.append(Later(method, call))
            return None
        try:
            message = method.read(call)
            if method.is_score:
                scoring = requests.score(message, self._limits)
                if isinstance(scoring, ScoreQuery) and self._lanes.is_brief_score(scoring):
                    serving = self._recommender.serving
                    return method.reply(call, self._lanes.score_here(scoring), serving)
                later.append(Later(method, call))
                return None
            query = requests.top_k(message, self._limits)
            if isinstance(query, TopKQuery) and self._lanes.is_brief(query):
                self._lanes.short.let_in(call.deadline, time.monotonic() - call.came)
                asked.append(_Asked(method, call, query))
            else:
                later.append(Later(method, call))
        except Exception as error:
            return method.fail(call, error)
        return None

    def _search(self, asked: list[_Asked], later: list[Later]) -> None:
        serving = self._recommender.serving
        waited_s = time.monotonic() - asked[0].call.came
        queries: list[Any] = [one.query for one in asked]
        for one, found in zip(asked, self._lanes.top_k_here(queries, waited_s), strict=True):
            if isinstance(found, Reply):
                one.call.end(one.method.reply(one.call, found, serving))
            elif isinstance(found, Plan):
                later.append(Later(one.method, one.call, self._lanes.look_again(found)))
            else:
                one.call.end(one.method.fail(one.call, found))
