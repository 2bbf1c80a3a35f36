"""Calls that come together are answered as each would be alone, and each is counted."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from gnnrec_protos.v1 import recommender_pb2 as pb
from gnnrec_server.rpc.together import Together
from tests.server.running import Running, running, scrape
from tests.server.waiting import until

EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.fixture
def server(registry: Path) -> Iterator[Running]:
    with running(registry, cache_bytes=0) as here:
        yield here


def held(server: Running) -> threading.Event:
    """Keep the event loop busy until the event is set, so that calls pile up before it."""
    began, go = threading.Event(), threading.Event()

    def hold() -> None:
        began.set()
        go.wait(10)

    server.call_soon(hold)
    began.wait(5)
    return go


def mixture() -> list[tuple[str, Any]]:
    """Return calls of all kinds: brief and not, of people that are there and not."""
    calls: list[tuple[str, Any]] = []
    for row in range(12):
        user = f"u{row}"
        calls += [
            ("TopK", pb.TopKRequest(user_id=user, k=5)),
            ("TopK", pb.TopKRequest(user_id=user, k=3, exclude_item_ids=["i1", "i2"])),
            ("TopK", pb.TopKRequest(user_id=user, k=4, include_seen=True)),
            ("Score", pb.ScoreRequest(user_id=user, item_ids=["i1", "nothing", "i3"])),
        ]
    entries = [pb.TopKRequest(user_id=f"u{row}", k=2) for row in range(5)]
    calls += [
        ("TopK", pb.TopKRequest(user_id="nobody", k=5)),
        ("TopK", pb.TopKRequest(user_id="u1", k=0)),
        ("TopK", pb.TopKRequest(k=1)),
        ("TopK", pb.TopKRequest(user_id="u1", k=5, version="no")),
        ("Score", pb.ScoreRequest(user_id="u1")),
        ("BatchTopK", pb.BatchTopKRequest(requests=entries)),
    ]
    return calls


def ended(call: Any) -> tuple[Any, ...]:
    """Return the code of a call that has ended, its text, and its answer if it has one."""
    code = call.code()
    return code, call.details(), call.result() if code == grpc.StatusCode.OK else None


def test_each_is_answered_as_it_would_be_alone(server: Running) -> None:
    calls = mixture()
    alone = [
        ended(getattr(server.recommender, rpc).future(request, timeout=10))
        for rpc, request in calls
    ]
    go = held(server)
    waiting = [
        getattr(server.recommender, rpc).future(request, timeout=10) for rpc, request in calls
    ]
    time.sleep(0.2)
    go.set()
    assert [ended(call) for call in waiting] == alone
    codes = Counter((rpc, code.name) for (rpc, _), (code, _, _) in zip(calls, alone, strict=True))
    counted: Counter[tuple[str, str]] = Counter()
    for (name, labels), value in scrape(server).items():
        if name == "gnnrec_requests_total":
            counted[dict(labels)["rpc"], dict(labels)["code"]] += int(value)
    assert counted == Counter({key: 2 * count for key, count in codes.items()})
    assert {code for _, code in codes} == {
        "OK", "NOT_FOUND", "INVALID_ARGUMENT",
    }  # fmt: skip


def test_those_above_the_limit_are_refused_with_a_time_to_come_back(registry: Path) -> None:
    request = pb.TopKRequest(user_id="u0", k=1, exclude_item_ids=["i1"])
    with running(registry, max_concurrent=8, max_queue_s=0, cache_bytes=0) as server:
        go = held(server)
        calls = [server.recommender.TopK.future(request, timeout=10) for _ in range(100)]
        time.sleep(0.2)
        go.set()
        codes = Counter(call.code() for call in calls)
        assert set(codes) <= {grpc.StatusCode.OK, EXHAUSTED}
        assert codes[grpc.StatusCode.OK] >= 8
        for call in calls:
            if call.code() == EXHAUSTED:
                assert "grpc-status-details-bin" in dict(call.trailing_metadata())
        until(lambda: server.server.gateway.in_flight == 0)
        assert server.recommender.TopK(request, timeout=5).version == "v1"


def test_who_goes_before_being_answered_is_counted_and_leaves_nothing(server: Running) -> None:
    request = pb.TopKRequest(user_id="u0", k=1, exclude_item_ids=["i1"])
    go = held(server)
    calls = [server.recommender.TopK.future(request, timeout=10) for _ in range(20)]
    time.sleep(0.2)
    for call in calls[::2]:
        call.cancel()
    go.set()
    assert [call.result().version for call in calls[1::2]] == ["v1"] * 10
    until(lambda: server.server.gateway.in_flight == 0)
    until(lambda: server.server.unread.bytes == 0)
    assert server.server.waiting.queued == server.server.long_waiting.queued == 0


def test_each_call_has_the_request_id_that_it_came_with(server: Running) -> None:
    go = held(server)
    calls = [
        server.recommender.TopK.future(
            pb.TopKRequest(user_id=f"u{row}", k=row % 2),
            timeout=10,
            metadata=(("x-request-id", f"id-{row}"),),
        )
        for row in range(10)
    ]
    time.sleep(0.1)
    go.set()
    found = [dict(call.trailing_metadata())["x-request-id"] for call in calls]
    assert found == [f"id-{row}" for row in range(10)]


def test_a_defect_in_taking_calls_in_ends_them_all_at_once(
    registry: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And those that come later are answered."""
    request = pb.TopKRequest(user_id="u0", k=1)
    with running(registry, front="native") as server:

        def broken(*_: object) -> None:
            raise ZeroDivisionError("secret")

        with monkeypatch.context() as patch:
            patch.setattr(Together, "answer", broken)
            calls = [server.recommender.TopK.future(request, timeout=10) for _ in range(5)]
            assert {call.code() for call in calls} == {grpc.StatusCode.INTERNAL}
            assert all("secret" not in call.details() for call in calls)
        assert "secret" in caplog.text
        assert server.recommender.TopK(request, timeout=5).version == "v1"
