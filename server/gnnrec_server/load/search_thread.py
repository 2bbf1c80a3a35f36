"""The queue before a thread that searches, which answers together what has come together."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

from gnnrec_server.errors import DeadlinePassed
from gnnrec_server.load.admission import DEADLINE, Patience
from gnnrec_server.process import threads
from gnnrec_server.process.cancellation import CHECK

_A = TypeVar("_A")
_T = TypeVar("_T")

Finish = Callable[[], Sequence[_T | Exception]]
"""Returns a result for each argument, or the error that it ends in; runs in the event loop."""

Together = Callable[[Sequence[_A]], Finish[_T]]
"""Searches for several arguments at once, in the thread; what it returns does what remains.

What remains of one search is done while the thread makes the next.
"""


# After so many calls in a row that the thread searched for alone, so many are searched for where
# they come; the next one shows again whether others come meanwhile. Where some did, all go to the
# thread for a while: under load the loop often sees one call only, and would never see two.
_ALONE = 4
_NEARBY = 8
_TOGETHER = 500

# What keeps the event loop for longer is left to the thread.
_BRIEF_S = 0.002


class _Waiting:
    """A call in the queue, and where its result goes."""

    __slots__ = ("argument", "came", "deadline", "function", "result", "taken", "waiter")

    def __init__(
        self,
        function: Any,
        argument: Any,
        came: float,
        deadline: float,
        taken: bool,
        waiter: Any,
    ) -> None:
        self.function = function
        self.argument = argument
        self.came = came
        self.deadline = deadline
        self.taken = taken
        self.waiter = waiter
        self.result: Any = None


class SearchQueue:
    """One thread that never waits while there is something to do.

    It takes all that has queued while it was busy, and answers those that ask alike in one call: so
    a lone request is answered at once, and the more come, the less each costs. Who waits too long
    is refused, as `patience` says. A request that is cancelled while it waits is not computed, and
    one that is being computed ends at its next pause once nobody waits for it any more.

    While requests come one at a time, those that take a moment only are searched for in the event
    loop: to wake the thread, and it the loop, would take as long again.
    """

    def __init__(
        self,
        patience: Patience,
        initializer: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        on_wait: Callable[[float], object] = float,
        *,
        together: bool = True,
        name: str = "search",
    ) -> None:
        """Compute in a thread that begins with `initializer`, once there is something.

        `on_wait` hears how many seconds the first of those that are answered together has waited.
        Where `together` is off each call is computed by itself, in the order in which they came.
        """
        self._together = together
        self._name = name
        self._patience = patience
        self._initializer = initializer
        self._clock = clock
        self._on_wait = on_wait
        self._todo: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._nearby = 0
        """How many may be searched for in the event loop before the thread is asked again."""
        self._alone = 0
        """How many in a row the thread has searched for alone; below 0 after others had come."""

    async def run(
        self,
        function: Together[_A, _T],
        argument: _A,
        *,
        brief: Together[_A, _T] | None = None,
        taken: bool = False,
    ) -> _T:
        """Return what `function` returns for `argument`, asked for alone or with others.

        `brief` is what may be called in its place in the event loop, which it must not keep for
        long. `taken` says that the request has been let in before: it is not refused now, however
        long it waits. Raises Overloaded, DeadlinePassed, or the error that the function returns or
        raises.
        """
        deadline = DEADLINE.get()
        came = self._clock()
        if came >= deadline:
            raise DeadlinePassed("the deadline had passed before the request was computed")
        patience = self._patience
        if not taken:
            patience.check_coming(deadline - came)
        if brief is not None and self._nearby and not patience.queued:
            return self._search_here(brief, argument)
        loop = self._loop or self._start()
        waiter = loop.create_future()
        patience.queued += 1
        self._todo.put(_Waiting(function, argument, came, deadline, taken, waiter))
        try:
            result: _T = await waiter
            return result
        finally:
            patience.queued -= 1

    def shutdown(self) -> None:
        """End the thread once the queue is empty; one that hangs is left behind."""
        if self._thread is not None:
            self._todo.put(None)
            threads.join(self._thread)
            self._thread = None

    def _search_here(self, function: Together[_A, _T], argument: _A) -> _T:
        self._nearby -= 1
        self._on_wait(0.0)
        began = self._clock()
        (result,) = _begin(function, [argument])()
        took_s = self._clock() - began
        self._patience.learn(took_s, 1)
        if took_s > _BRIEF_S:
            self._nearby = 0
        if isinstance(result, Exception):
            raise result
        return result

    def _start(self) -> asyncio.AbstractEventLoop:
        self._loop = asyncio.get_running_loop()
        self._thread = threads.start(self._name, self._work)
        return self._loop

    def _work(self) -> None:
        if self._initializer is not None:
            self._initializer()
        todo = self._todo
        while (first := todo.get()) is not None:
            self._answer_with_others(first)
            del first  # until the next comes it would hold the version that answered

    def _answer_with_others(self, first: _Waiting) -> None:
        """Answer a call, and those that have come after it if they are answered together."""
        todo = self._todo
        groups: dict[Any, list[_Waiting]] = {first.function: [first]}
        for _ in range(todo.qsize() if self._together else 0):  # nobody else takes from it
            each = todo.get()
            if each is None:
                todo.put(None)  # the end comes after those that stand before it
                break
            groups.setdefault(each.function, []).append(each)
        for function, group in groups.items():
            self._answer(function, group)

    def _answer(self, function: Together[Any, Any], group: list[_Waiting]) -> None:
        began = self._clock()
        self._on_wait(began - group[0].came)
        asking = [each for each in group if self._is_asking(each, began)]
        CHECK.set(partial(self._check, asking))
        finish = _begin(function, [each.argument for each in asking])
        took_s = self._clock() - began
        if asking:
            self._patience.learn(took_s, len(asking))
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._hand_out, group, asking, finish, took_s)

    def _hand_out(
        self, group: list[_Waiting], asking: list[_Waiting], finish: Finish[Any], took_s: float
    ) -> None:
        """Do what remains, and wake those who wait; runs in their event loop."""
        if self._patience.queued > 1:
            self._alone = -_TOGETHER
        elif took_s <= _BRIEF_S:
            self._alone += 1
        self._nearby = _NEARBY if self._alone >= _ALONE and took_s <= _BRIEF_S else 0
        try:
            results = list(zip(asking, finish(), strict=True))
        except Exception as error:  # a defect; without a result they would wait for ever
            results = [(each, error) for each in asking]
        for each, result in results:
            each.result = result
        for each in group:
            if each.waiter.done():
                continue  # has gone
            if isinstance(each.result, Exception):
                each.waiter.set_exception(each.result)
            else:
                each.waiter.set_result(each.result)

    def _check(self, asking: list[_Waiting]) -> None:
        """Raise DeadlinePassed if none of the calls that are being computed is waited for."""
        now = self._clock()
        if all(each.waiter.cancelled() or now > each.deadline for each in asking):
            raise DeadlinePassed("the caller stopped waiting while the request was computed")

    def _is_asking(self, each: _Waiting, now: float) -> bool:
        """Return whether a call is still to be computed; give it its error if it is too late."""
        if each.waiter.cancelled():
            return False
        try:
            if now > each.deadline:
                raise DeadlinePassed("the deadline passed while the request waited")
            if not each.taken:
                self._patience.check_waited(now - each.came)
        except Exception as error:
            each.result = error
            return False
        return True


def _begin(function: Together[_A, _T], arguments: list[_A]) -> Finish[_T]:
    """Return what does the rest; where searching together fails, each is searched for alone."""
    if not arguments:
        return tuple
    try:
        return function(arguments)
    except Exception as error:
        if len(arguments) == 1:
            failed = error
            return lambda: [failed]
    begun = [_begin(function, [each]) for each in arguments]
    return lambda: [result for finish in begun for result in finish()]
