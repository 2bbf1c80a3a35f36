import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from gnnrec_server.errors import DeadlinePassed, Overloaded
from gnnrec_server.load.search_thread import SearchThread
from gnnrec_server.load.waiting import DEADLINE, WaitingRule
from gnnrec_server.process.cancellation import pause
from tests.server.waiting import Clock, until


class Slow:
    """A search thread whose searches take a second of its clock, and end when the test says so."""

    def __init__(self, max_wait_s: float) -> None:
        self.clock = Clock()
        self.patience = WaitingRule(max_wait_s, self.clock)
        self.queue = SearchThread(self.patience, clock=self.clock)
        self.gate = threading.Semaphore(0)
        self.began = 0
        self.computed: list[object] = []
        self.sizes: list[int] = []

    def search(self, names: Sequence[object]) -> Sequence[object]:
        self.began += 1
        self.gate.acquire()
        self.clock.now += 1.0
        self.computed += names
        self.sizes.append(len(names))
        return [ValueError(name) if name == "bad" else name for name in names]

    async def ask(
        self, name: object, *, alone: bool = True, left_s: float = 1e9
    ) -> object | Exception:
        """Return the answer, or the error; with `alone` it is not computed together with others."""

        def search(names: Sequence[object]) -> Sequence[object]:
            return self.search(names)

        DEADLINE.set(self.clock.now + left_s)
        try:
            return await self.queue.run(search if alone else self.search, name)
        except (DeadlinePassed, Overloaded, ValueError) as error:
            return error

    def let_go(self, count: int) -> None:
        for _ in range(count):
            self.gate.release()

    async def learn(self) -> None:
        """Run one search, so that it knows that a search takes a second."""
        self.let_go(1)
        assert await self.ask("first") == "first"
        assert self.patience.expected_wait_s == 0

    async def queued(self, *names: object, **how: Any) -> list[asyncio.Task[object | Exception]]:
        """Ask for each name, and return once all of them are in the queue."""
        tasks = [asyncio.create_task(self.ask(name, **how)) for name in names]
        await asyncio.sleep(0)
        return tasks

    async def busy(self) -> asyncio.Task[object | Exception]:
        """Begin a search that does not end until the test lets it."""
        (task,) = await self.queued("busy")
        began = self.began
        await asyncio.to_thread(until, lambda: self.began > began or self.began == 1)
        return task


@contextmanager
def slow_queue(max_wait_s: float) -> Iterator[Slow]:
    made = Slow(max_wait_s)
    yield made
    made.let_go(1000)
    made.queue.shutdown()


def run(work: Callable[[Slow], Awaitable[None]], max_wait_s: float = 3.5) -> None:
    async def main() -> None:
        with slow_queue(max_wait_s) as slow:
            await work(slow)

    asyncio.run(main())


def test_who_would_wait_too_long_is_refused_and_told_when_to_come() -> None:
    async def work(slow: Slow) -> None:
        await slow.learn()
        queued = await slow.queued(*range(4))
        assert slow.patience.expected_wait_s == pytest.approx(4)
        refused = await slow.ask("refused")
        assert isinstance(refused, Overloaded)
        assert refused.retry_after_s == pytest.approx(4)
        slow.let_go(5)
        answers = await asyncio.gather(*queued)
        assert answers == [0, 1, 2, 3]
        assert slow.patience.expected_wait_s == 0
        assert await slow.ask("later") == "later"

    run(work)


def test_who_has_less_time_than_the_wait_is_refused() -> None:
    async def work(slow: Slow) -> None:
        await slow.learn()
        queued = await slow.queued(0, 1)
        assert isinstance(await slow.ask("refused", left_s=1.5), Overloaded)
        slow.let_go(2)
        assert await asyncio.gather(*queued) == [0, 1]

    run(work)


def test_a_request_whose_deadline_passes_in_the_queue_is_not_computed() -> None:
    async def work(slow: Slow) -> None:
        busy = await slow.busy()
        (late,) = await slow.queued("late", left_s=0.5)
        slow.let_go(2)
        assert await busy == "busy"
        assert isinstance(await late, DeadlinePassed)
        assert isinstance(await slow.ask("too late", left_s=0), DeadlinePassed)
        assert slow.computed == ["busy"]

    run(work)


def test_a_cancelled_request_is_not_computed_and_leaves_the_queue() -> None:
    async def work(slow: Slow) -> None:
        await slow.learn()
        (running,) = await slow.queued("running")
        (gone,) = await slow.queued("gone")
        assert slow.patience.expected_wait_s == pytest.approx(2)
        gone.cancel()
        await asyncio.sleep(0)
        assert slow.patience.expected_wait_s == pytest.approx(1)
        slow.let_go(1)
        assert await running == "running"
        assert slow.computed == ["first", "running"]

    run(work)


def test_after_too_long_a_wait_few_may_wait_until_hardly_any_is_refused() -> None:
    async def work(slow: Slow) -> None:
        await slow.learn()

        async def taken(count: int) -> int:
            """Ask for so many at once, let them end, and return how many were answered."""
            queued = await slow.queued(*range(count))
            slow.let_go(count)
            answers = await asyncio.gather(*queued)
            while slow.gate.acquire(blocking=False):
                pass
            return len([each for each in answers if not isinstance(each, Exception)])

        assert await taken(9) == 9, "a burst"
        assert await taken(30) <= 10
        assert await taken(30) <= 5, "overload"
        slow.clock.now += 3
        assert await taken(9) == 9, "at ease again"

    run(work, max_wait_s=9.5)


def test_without_a_limit_only_deadlines_count() -> None:
    async def work(slow: Slow) -> None:
        queued = await slow.queued(*range(100))
        slow.let_go(100)
        assert await asyncio.gather(*queued) == list(range(100))

    run(work, max_wait_s=0)


def test_what_came_while_it_was_busy_is_answered_together() -> None:
    """The lone first waits for nobody; an error is that of one alone."""

    async def work(slow: Slow) -> None:
        busy = await slow.busy()
        queued = await slow.queued("a", "bad", "b", alone=False)
        slow.let_go(2)
        assert await busy == "busy"
        first, bad, last = await asyncio.gather(*queued)
        assert (first, last) == ("a", "b")
        assert isinstance(bad, ValueError)
        assert slow.sizes == [1, 3]

    run(work)


def test_where_answering_together_fails_each_is_answered_alone() -> None:
    async def work(slow: Slow) -> None:
        def search(names: Sequence[object]) -> Sequence[object]:
            slow.sizes.append(len(names))
            if len(names) > 1 or names[0] == "bad":
                raise ValueError(names)
            return list(names)

        busy = await slow.busy()
        tasks = [asyncio.create_task(slow.queue.run(search, name)) for name in ("a", "bad", "b")]
        await asyncio.sleep(0)
        slow.let_go(1)
        await busy
        first, bad, last = await asyncio.gather(*tasks, return_exceptions=True)
        assert (first, last) == ("a", "b")
        assert isinstance(bad, ValueError)
        assert slow.sizes == [1, 3, 1, 1, 1]

    run(work)


def test_a_defect_in_answering_together_ends_those_calls_and_not_the_thread() -> None:
    queue = SearchThread(WaitingRule(0.0))

    def forgetful(names: Sequence[str]) -> Sequence[str]:
        return [] if names == ["first"] else list(names)

    async def ask() -> str:
        with pytest.raises(RuntimeError, match="0 results for 1 requests"):
            await asyncio.wait_for(queue.run(forgetful, "first"), 10)
        return await asyncio.wait_for(queue.run(forgetful, "second"), 10)

    try:
        assert asyncio.run(ask()) == "second"
    finally:
        queue.shutdown()


def test_those_who_come_one_at_a_time_are_searched_for_in_the_event_loop() -> None:
    """That ends when others come too, which every ninth request finds out in the thread."""
    queue = SearchThread(WaitingRule(0.0))
    searched: list[tuple[str, str]] = []

    def search(names: Sequence[str]) -> Sequence[str | Exception]:
        searched.extend((name, threading.current_thread().name) for name in names)
        return [ValueError(name) if name == "bad" else name for name in names]

    async def ask() -> None:
        for name in ("1st", "2nd", "3rd", "4th", "a", "b", "c"):
            assert await queue.run(search, name, in_loop=search) == name
        with pytest.raises(ValueError, match="bad"):
            await queue.run(search, "bad", in_loop=search)
        assert await queue.run(search, "long") == "long"
        asked = [queue.run(search, str(number), in_loop=search) for number in range(40)]
        assert await asyncio.gather(*asked) == [str(number) for number in range(40)]

    try:
        asyncio.run(ask())
    finally:
        queue.shutdown()
    where = dict(searched)
    here = threading.current_thread().name
    assert [where[name] for name in ("1st", "4th", "a", "b", "c", "bad", "long")] == [
        "search", "search", here, here, here, here, "search",
    ]  # fmt: skip
    assert [where[str(number)] for number in range(20, 40)] == ["search"] * 20


def test_one_search_that_takes_far_longer_has_nobody_refused_for_it() -> None:
    """The next ones take as long as those before it, and that is what is expected of them."""
    clock = Clock()
    patience = WaitingRule(0.5, clock)
    for _ in range(20):
        patience.learn(0.01, 1)
    patience.learn(80.0, 1)
    patience.queued = 5
    patience.check_coming(left_s=1.0)
    assert patience.expected_wait_s < 0.2
    for _ in range(40):  # but what has become slow is found out
        patience.learn(1.0, 1)
    with pytest.raises(Overloaded):
        patience.check_coming(left_s=100.0)


def test_a_request_that_has_been_taken_in_is_not_refused_later() -> None:
    async def work(slow: Slow) -> None:
        await slow.learn()
        queued = await slow.queued(*range(4))
        going_on = asyncio.create_task(slow.queue.run(slow.search, "part", admitted=True))
        await asyncio.sleep(0)
        assert isinstance(await slow.ask("refused"), Overloaded)
        slow.let_go(5)
        assert await going_on == "part"
        assert await asyncio.gather(*queued) == [0, 1, 2, 3]

    run(work)


@pytest.mark.parametrize("gone", [True, False])
def test_what_is_computed_ends_at_its_next_pause_once_nobody_waits(gone: bool) -> None:
    """The caller has gone, or its deadline has passed; while one of several waits it goes on."""
    clock = Clock()
    queue = SearchThread(WaitingRule(0.0), clock=clock)
    began, go_on = threading.Event(), threading.Event()
    ended: list[str] = []

    def search(names: Sequence[str]) -> Sequence[str | Exception]:
        began.set()
        go_on.wait(10)
        try:
            pause()
        except DeadlinePassed:
            ended.extend(names)
            raise
        return list(names)

    async def ask(name: str, left_s: float) -> str | None:
        DEADLINE.set(clock.now + left_s)
        try:
            return await queue.run(search, name)
        except DeadlinePassed:
            return None

    async def main() -> None:
        first = asyncio.create_task(ask("first", 5))
        await asyncio.to_thread(began.wait, 10)
        together = [asyncio.create_task(ask(name, 5 * n)) for n, name in enumerate("abc", 1)]
        await asyncio.sleep(0)
        if gone:
            first.cancel()
            await asyncio.sleep(0)
        else:
            clock.now += 6
        go_on.set()
        results = await asyncio.gather(first, *together, return_exceptions=True)
        assert results[1:] == (["a", "b", "c"] if gone else [None, "b", "c"])
        assert ended == ["first"]

    try:
        asyncio.run(main())
    finally:
        queue.shutdown()


def test_where_each_is_computed_by_itself_none_waits_for_another_to_end() -> None:
    queue = SearchThread(WaitingRule(0.0), together=False)
    sizes = []

    def search(names: Sequence[int]) -> Sequence[int]:
        sizes.append(len(names))
        return list(names)

    async def main() -> None:
        assert await asyncio.gather(*(queue.run(search, n) for n in range(9))) == list(range(9))

    try:
        asyncio.run(main())
    finally:
        queue.shutdown()
    assert sizes == [1] * 9
