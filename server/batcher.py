"""The queue before the one thread that searches, which answers together what has come together."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, TypeVar

from server.errors import DeadlinePassed
from server.limiter import DEADLINE, Patience

_A = TypeVar("_A")
_T = TypeVar("_T")

Together = Callable[[Sequence[_A]], Sequence[_T | Exception]]
"""Answers several at once: for each argument a result, or the error that it ends in."""


class _Waiting:
    """A call in the queue, and where its result goes."""

    __slots__ = ("argument", "came", "deadline", "function", "result", "waiter")

    def __init__(
        self, function: Any, argument: Any, came: float, deadline: float, waiter: Any
    ) -> None:
        self.function = function
        self.argument = argument
        self.came = came
        self.deadline = deadline
        self.waiter = waiter
        self.result: Any = None


class SearchQueue:
    """One thread that never waits while there is something to do.

    It takes all that has queued while it was busy, and answers those that ask alike in one call: so
    a lone request is answered at once, and the more come, the less each costs. Who waits too long
    is refused, as `patience` says. A request that is cancelled while it waits is not computed.
    """

    def __init__(
        self,
        patience: Patience,
        initializer: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        on_wait: Callable[[float], object] = float,
    ) -> None:
        """Compute in a thread that begins with `initializer`, once there is something.

        `on_wait` hears how many seconds the first of those that are answered together has waited.
        """
        self._patience = patience
        self._initializer = initializer
        self._clock = clock
        self._on_wait = on_wait
        self._todo: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self, function: Together[_A, _T], argument: _A) -> _T:
        """Return what `function` returns for `argument`, asked for alone or with others.

        Raises Overloaded, DeadlinePassed, or the error that the function returns or raises.
        """
        deadline = DEADLINE.get()
        came = self._clock()
        if came >= deadline:
            raise DeadlinePassed("the deadline had passed before the request was computed")
        patience = self._patience
        patience.check_coming(deadline - came)
        loop = self._loop or self._start()
        waiter = loop.create_future()
        patience.queued += 1
        self._todo.put(_Waiting(function, argument, came, deadline, waiter))
        try:
            result: _T = await waiter
            return result
        finally:
            patience.queued -= 1

    def shutdown(self) -> None:
        """End the thread once the queue is empty."""
        if self._thread is not None:
            self._todo.put(None)
            self._thread.join()
            self._thread = None

    def _start(self) -> asyncio.AbstractEventLoop:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="search")
        self._thread.start()
        return self._loop

    def _work(self) -> None:
        if self._initializer is not None:
            self._initializer()
        todo = self._todo
        while (first := todo.get()) is not None:
            groups: dict[Any, list[_Waiting]] = {first.function: [first]}
            for _ in range(todo.qsize()):  # nobody else takes from it
                each = todo.get()
                if each is None:
                    todo.put(None)  # the end comes after those that stand before it
                    break
                groups.setdefault(each.function, []).append(each)
            for function, group in groups.items():
                self._answer(function, group)

    def _answer(self, function: Together[Any, Any], group: list[_Waiting]) -> None:
        try:
            self._compute(function, group)
        except Exception as error:  # a defect; without the thread everybody would wait for ever
            for each in group:
                each.result = error
        assert self._loop is not None
        self._loop.call_soon_threadsafe(_hand_out, group)

    def _compute(self, function: Together[Any, Any], group: list[_Waiting]) -> None:
        """Give each of a group its result or its error."""
        began = self._clock()
        self._on_wait(began - group[0].came)
        asking = [each for each in group if self._is_asking(each, began)]
        if asking:
            results = _answers(function, [each.argument for each in asking])
            for each, result in zip(asking, results, strict=True):
                each.result = result
            self._patience.learn(self._clock() - began, len(asking))

    def _is_asking(self, each: _Waiting, now: float) -> bool:
        """Return whether a call is still to be computed; give it its error if it is too late."""
        if each.waiter.cancelled():
            return False
        try:
            if now > each.deadline:
                raise DeadlinePassed("the deadline passed while the request waited")
            self._patience.check_waited(now - each.came)
        except Exception as error:
            each.result = error
            return False
        return True


def _answers(function: Together[_A, _T], arguments: list[_A]) -> Sequence[_T | Exception]:
    """Return the results; where asking together fails, each is asked alone."""
    try:
        return function(arguments)
    except Exception as error:
        if len(arguments) == 1:
            return [error]
    return [result for each in arguments for result in _answers(function, [each])]


def _hand_out(group: list[_Waiting]) -> None:
    """Wake those who wait; runs in their event loop."""
    for each in group:
        if each.waiter.done():
            continue  # has gone
        if isinstance(each.result, Exception):
            each.waiter.set_exception(each.result)
        else:
            each.waiter.set_result(each.result)
