import threading
import time
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import suppress
from contextvars import copy_context

import pytest

from server.errors import DeadlinePassed, Overloaded
from server.limiter import DEADLINE, Admission, SearchQueue


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Slow:
    """A queue whose searches take a second of its clock, each once it is let go."""

    def __init__(self, max_wait_s: float) -> None:
        self.clock = Clock()
        self.queue = SearchQueue(max_wait_s, clock=self.clock)
        self.gate = threading.Semaphore(0)
        self.computed: list[object] = []

    def search(self, name: object) -> object:
        self.gate.acquire()
        self.clock.now += 1.0
        self.computed.append(name)
        return name

    def let_go(self, count: int) -> None:
        for _ in range(count):
            self.gate.release()

    def learn(self) -> None:
        """Let it see that a search takes a second."""
        self.let_go(1)
        wait([self.queue.submit(self.search, "first")])
        assert self.queue.expected_wait_s == 0


@pytest.fixture
def slow() -> Iterator[Slow]:
    made = Slow(max_wait_s=3.5)
    yield made
    made.let_go(1000)
    made.queue.shutdown()


def test_who_would_wait_too_long_is_refused_and_told_when_to_come(slow: Slow) -> None:
    slow.learn()
    queued = [slow.queue.submit(slow.search, name) for name in range(4)]
    assert slow.queue.expected_wait_s == pytest.approx(4)
    with pytest.raises(Overloaded) as caught:
        slow.queue.submit(slow.search, "refused")
    assert caught.value.retry_after_s == pytest.approx(4)
    slow.let_go(4)
    assert [each.result(5) for each in queued[:3]] == [0, 1, 2]
    with pytest.raises(Overloaded):
        queued[3].result(5)  # the server is overloaded: this one would be late
    assert slow.queue.expected_wait_s == 0
    slow.let_go(1)
    assert slow.queue.submit(slow.search, "later").result(5) == "later"


def test_who_has_less_time_than_the_wait_is_refused(slow: Slow) -> None:
    slow.learn()
    queued = [slow.queue.submit(slow.search, name) for name in range(2)]
    context = copy_context()
    context.run(DEADLINE.set, slow.clock.now + 1.5)
    with pytest.raises(Overloaded):
        context.run(slow.queue.submit, slow.search, "refused")
    slow.let_go(2)
    wait(queued)


def test_a_request_whose_deadline_passes_in_the_queue_is_not_computed(slow: Slow) -> None:
    context = copy_context()
    context.run(DEADLINE.set, slow.clock.now + 0.5)
    first = slow.queue.submit(slow.search, "first")
    late = context.run(slow.queue.submit, slow.search, "late")
    slow.let_go(2)
    first.result(5)
    with pytest.raises(DeadlinePassed):
        late.result(5)
    with pytest.raises(DeadlinePassed):
        context.run(slow.queue.submit, slow.search, "too late")
    assert slow.computed == ["first"]


def test_a_cancelled_request_is_not_computed_and_leaves_the_queue(slow: Slow) -> None:
    slow.learn()
    first = slow.queue.submit(slow.search, "running")
    while not first.running():
        time.sleep(0.001)
    gone = slow.queue.submit(slow.search, "gone")
    assert gone.cancel()
    assert slow.queue.expected_wait_s == pytest.approx(1)
    slow.let_go(1)
    wait([first])
    assert slow.computed == ["first", "running"]


def test_after_too_long_a_wait_few_may_wait_until_hardly_any_is_refused(slow: Slow) -> None:
    queue = SearchQueue(9.5, clock=slow.clock)
    slow.let_go(1)
    wait([queue.submit(slow.search, "first")])

    def taken(count: int) -> int:
        """Submit so many at once, let them end, and return how many were taken."""
        queued = []
        for name in range(count):
            with suppress(Overloaded):
                queued.append(queue.submit(slow.search, name))
        slow.let_go(len(queued))
        done = wait(queued).done
        return len([each for each in done if each.exception() is None])

    assert taken(9) == 9, "a burst"
    assert taken(30) <= 10
    assert taken(30) <= 5, "overload"
    slow.clock.now += 3
    assert taken(9) == 9, "at ease again"
    slow.let_go(1000)
    queue.shutdown()


def test_without_a_limit_only_deadlines_count(slow: Slow) -> None:
    queue = SearchQueue(0, clock=slow.clock)
    queued = [queue.submit(slow.search, name) for name in range(100)]
    slow.let_go(100)
    wait(queued)
    assert len(slow.computed) == 100
    queue.shutdown()


def test_admission_counts_who_is_inside(slow: Slow) -> None:
    admission = Admission(2, slow.queue)
    admission.enter()
    admission.enter()
    with pytest.raises(Overloaded):
        admission.enter()
    admission.leave()
    admission.enter()


def test_shedding_is_logged_once_in_a_while(slow: Slow, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    admission = Admission(1, slow.queue, clock)
    for _ in range(5):
        admission.note_shed()
    clock.now += 11.0
    admission.note_shed()
    said = [record.getMessage() for record in caplog.records]
    assert [text.split()[1] for text in said] == ["1", "5"]
