"""The thread that searches, and the queue before it: what has queued is answered together."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

from gnnrec_server.errors import DeadlinePassed
from gnnrec_server.load.waiting import DEADLINE, WaitingRule
from gnnrec_server.process import threads
from gnnrec_server.process.cancellation import CHECK

_A = TypeVar("_A")
_T = TypeVar("_T")

Compute = Callable[[Sequence[_A]], Sequence[_T | Exception]]
"""Computes, for several requests in their order, each one's result or the error it ends in."""

# After so many calls in a row that the thread computed one at a time, so many are computed in the
# event loop; the next shows again whether others come meanwhile. Where some did, all go to the
# thread for a while: under load the loop often sees one call only, and would never see two.
_ALONE = 4
_IN_LOOP = 8
_TOGETHER = 500

# What keeps the event loop for longer is left to the thread.
_BRIEF_S = 0.002


class _Call:
    """A request in the queue, and where its result goes."""

    __slots__ = ("admitted", "argument", "came", "compute", "deadline", "result", "waiter")

    def __init__(
        self,
        compute: Any,
        argument: Any,
        came: float,
        deadline: float,
        admitted: bool,
        waiter: Any,
    ) -> None:
        self.compute = compute
        self.argument = argument
        self.came = came
        self.deadline = deadline
        self.admitted = admitted
        self.waiter = waiter
        self.result: Any = None


class SearchThread:
    """One thread that computes what has queued, and waits only when the queue is empty.

    It takes all that has queued while it was busy, and computes in one call what asks alike: so a
    lone request is answered at once, and the more come, the less each costs. Who waits too long is
    refused, as the waiting rule says. A request that is cancelled while it waits is not computed,
    and one that is being computed ends at its next pause once nobody waits for it any more.

    While requests come one at a time, those that take a moment only are computed in the event
    loop: to wake the thread, and the thread the loop, would take as long again.
    """

    def __init__(
        self,
        waiting: WaitingRule,
        initializer: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        on_wait: Callable[[float], object] = float,
        *,
        together: bool = True,
        name: str = "search",
    ) -> None:
        """Start no thread yet; the first request does, and the thread begins with `initializer`.

        `on_wait` hears how many seconds the first of those that are computed together has waited.
        Where `together` is off each request is computed by itself, in the order of their coming.
        """
        self._together = together
        self._name = name
        self.waiting = waiting
        self._initializer = initializer
        self._clock = clock
        self._on_wait = on_wait
        self._queue: SimpleQueue[_Call | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._left_in_loop = 0
        """How many may be computed in the event loop before the thread is asked again."""
        self._alone = 0
        """How many in a row the thread has computed alone; below 0 after others had come."""

    async def run(
        self,
        compute: Compute[_A, _T],
        argument: _A,
        *,
        in_loop: Compute[_A, _T] | None = None,
        admitted: bool = False,
    ) -> _T:
        """Return what `compute` returns for `argument`, called for it alone or with others.

        `in_loop` may be called in its place in the event loop, which it must not keep for long.
        `admitted` says that the request has been let in before: it is not refused now, however
        long it waits. Raises Overloaded, DeadlinePassed, or the error that is returned or raised.
        """
        deadline = DEADLINE.get()
        came = self._clock()
        if came >= deadline:
            raise DeadlinePassed("the deadline had passed before the request was computed")
        waiting = self.waiting
        if not admitted:
            waiting.check_coming(deadline - came)
        if in_loop is not None and self._left_in_loop and not waiting.queued:
            return self._compute_in_loop(in_loop, argument)
        loop = self._loop or self._start()
        waiter = loop.create_future()
        waiting.queued += 1
        self._queue.put(_Call(compute, argument, came, deadline, admitted, waiter))
        try:
            result: _T = await waiter
            return result
        finally:
            waiting.queued -= 1

    def let_in(self, deadline: float, waited_s: float) -> None:
        """Count a request that run_here will compute, or raise Overloaded or DeadlinePassed.

        `deadline`: of its caller, by the clock; `waited_s`: for how long it has waited already.
        """
        waiting, now = self.waiting, self._clock()
        if now >= deadline:
            raise DeadlinePassed("the deadline had passed before the request was computed")
        waiting.check_coming(deadline - now)
        waiting.check_waited(waited_s)
        waiting.queued += 1

    def run_here(
        self, compute: Compute[_A, _T], arguments: list[_A], waited_s: float
    ) -> Sequence[_T | Exception]:
        """Return what `compute` returns for requests that were let in, in the caller's thread."""
        self._on_wait(waited_s)
        began = self._clock()
        try:
            return _computed(compute, arguments)
        finally:
            self.waiting.learn(self._clock() - began, len(arguments))
            self.waiting.queued -= len(arguments)

    def shutdown(self) -> None:
        """End the thread once the queue is empty; one that hangs is left behind."""
        if self._thread is not None:
            self._queue.put(None)
            threads.join(self._thread)
            self._thread = None

    def _compute_in_loop(self, compute: Compute[_A, _T], argument: _A) -> _T:
        self._left_in_loop -= 1
        self._on_wait(0.0)
        began = self._clock()
        (result,) = _computed(compute, [argument])
        took_s = self._clock() - began
        self.waiting.learn(took_s, 1)
        if took_s > _BRIEF_S:
            self._left_in_loop = 0
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
        queue = self._queue
        while (first := queue.get()) is not None:
            self._answer_with_others(first)
            del first  # until the next comes it would hold the version that answered

    def _answer_with_others(self, first: _Call) -> None:
        """Answer a call, and those that have come after it if they are answered together."""
        queue = self._queue
        groups: dict[Any, list[_Call]] = {first.compute: [first]}
        for _ in range(queue.qsize() if self._together else 0):  # nobody else takes from it
            call = queue.get()
            if call is None:
                queue.put(None)  # the end comes after those that stand before it
                break
            groups.setdefault(call.compute, []).append(call)
        for compute, group in groups.items():
            self._answer(compute, group)

    def _answer(self, compute: Compute[Any, Any], group: list[_Call]) -> None:
        began = self._clock()
        self._on_wait(began - group[0].came)
        wanted = [call for call in group if self._is_wanted(call, began)]
        CHECK.set(partial(self._check, wanted))
        results = _computed(compute, [call.argument for call in wanted]) if wanted else ()
        took_s = self._clock() - began
        if wanted:
            self.waiting.learn(took_s, len(wanted))
        for call, result in zip(wanted, results, strict=True):
            call.result = result
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._hand_out, group, took_s)

    def _hand_out(self, group: list[_Call], took_s: float) -> None:
        """Wake those who wait; runs in their event loop."""
        if self.waiting.queued > 1:
            self._alone = -_TOGETHER
        elif took_s <= _BRIEF_S:
            self._alone += 1
        self._left_in_loop = _IN_LOOP if self._alone >= _ALONE and took_s <= _BRIEF_S else 0
        for call in group:
            if call.waiter.done():
                continue  # has gone
            if isinstance(call.result, Exception):
                call.waiter.set_exception(call.result)
            else:
                call.waiter.set_result(call.result)

    def _check(self, wanted: list[_Call]) -> None:
        """Raise DeadlinePassed if none of the calls that are being computed is waited for."""
        now = self._clock()
        if all(call.waiter.cancelled() or now > call.deadline for call in wanted):
            raise DeadlinePassed("the caller stopped waiting while the request was computed")

    def _is_wanted(self, call: _Call, now: float) -> bool:
        """Return whether a call is still to be computed; give it its error if it is too late."""
        if call.waiter.cancelled():
            return False
        try:
            if now > call.deadline:
                raise DeadlinePassed("the deadline passed while the request waited")
            if not call.admitted:
                self.waiting.check_waited(now - call.came)
        except Exception as error:
            call.result = error
            return False
        return True


def _computed(compute: Compute[_A, _T], arguments: list[_A]) -> Sequence[_T | Exception]:
    """Return the results for the arguments; where computing them together fails, of each alone.

    What returns another number of results than it has arguments is a defect, and fails.
    """
    try:
        results = compute(arguments)
        if len(results) == len(arguments):
            return results
        raise RuntimeError(f"{len(results)} results for {len(arguments)} requests")
    except Exception as error:
        if len(arguments) == 1:
            return [error]
    return [result for argument in arguments for result in _computed(compute, [argument])]
