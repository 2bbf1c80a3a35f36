"""Which requests a running server refuses by its limits, and what its log says of them."""

import io
import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from gnnrec_protos.v1 import model_pb2
from gnnrec_protos.v1 import recommender_pb2 as pb
from gnnrec_server.errors import CannotStart
from gnnrec_server.telemetry import logs
from tests.server.running import Running, failure, running, scrape
from tests.server.waiting import until

REQUEST = pb.TopKRequest(user_id="u0", k=1)


@pytest.fixture
def server(registry: Path) -> Iterator[Running]:
    with running(
        registry, max_message_bytes=4096, max_concurrent=4, max_queue_s=0, cache_bytes=0
    ) as here:
        yield here


# Not so brief that it is computed in the event loop.
SEARCHED = pb.TopKRequest(user_id="u0", k=1, exclude_item_ids=["nobody"])


class Gate:
    """Holds every search until it is opened, and counts them."""

    def __init__(self, server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = threading.Event()
        self.searches = 0
        search = server.server.recommender.search

        def held(queries: Any, *rest: Any, **named: Any) -> Any:
            self.searches += len(queries)
            self.open.wait(10)
            return search(queries, *rest, **named)

        monkeypatch.setattr(server.server.recommender, "search", held)


def test_a_message_over_the_limit_is_refused_and_harms_nothing(server: Running) -> None:
    big = pb.TopKRequest(user_id="u0", k=1, exclude_item_ids=["x" * 100] * 50)
    with pytest.raises(grpc.RpcError) as caught:
        server.recommender.TopK(big, timeout=5)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert server.recommender.TopK(REQUEST, timeout=5).version == "v1"


def test_bytes_that_are_no_message_are_the_callers_mistake(server: Running) -> None:
    call: Any = server.channel.unary_unary("/gnnrec.v1.RecommenderService/TopK")
    for raw in (b"\xff\xff\xff", b"\x0a\x02\xff\xfe"):  # no field; a user_id that is not UTF-8
        assert failure(call, raw)[:2] == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")


def test_overload_is_shed_with_a_time_to_come_back(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four are inside; the fifth is refused at once, while health and the model's RPCs answer."""
    gate = Gate(server, monkeypatch)
    with ThreadPoolExecutor(4) as callers:
        taken = [callers.submit(server.recommender.TopK, SEARCHED, timeout=20) for _ in range(4)]
        until(lambda: server.server.gateway.in_flight == 4)
        with pytest.raises(grpc.RpcError) as caught:
            server.recommender.TopK(SEARCHED, timeout=20)
        health = health_pb2_grpc.HealthStub(server.channel)
        assert health.Check(health_pb2.HealthCheckRequest(), timeout=5).status == 1
        assert server.model.GetModel(model_pb2.GetModelRequest(), timeout=5).model == "toy"
        gate.open.set()
        assert [each.result().version for each in taken] == ["v1"] * 4
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    details = rpc_status.from_call(caught.value).details
    assert details[0].Unpack(info)
    assert details[1].Unpack(retry)
    assert info.reason == "OVERLOADED"
    assert 0 < retry.retry_delay.ToTimedelta().total_seconds() < 10
    rejected = scrape(server)["gnnrec_rejected_requests_total", (("reason", "overloaded"),)]
    assert rejected == 1
    assert server.recommender.TopK(REQUEST, timeout=5).version == "v1"


@pytest.mark.grpcio_keeps("--max-pending")
def test_what_is_not_taken_in_is_refused_by_grpc_and_health_answers_on_its_port(
    registry: Path,
) -> None:
    """While the event loop is held, calls pile up before it: two may."""
    with running(registry, max_pending=2, health_port=0) as server:
        began = threading.Event()

        def hold() -> None:
            began.set()
            time.sleep(0.5)

        server.call_soon(hold)
        began.wait(5)
        calls = [server.recommender.TopK.future(REQUEST, timeout=20) for _ in range(30)]
        codes = [call.code() for call in calls]
        assert set(codes) == {grpc.StatusCode.OK, grpc.StatusCode.CANCELLED}
        assert codes.count(grpc.StatusCode.OK) < 10
        assert server.recommender.TopK(REQUEST, timeout=5).version == "v1"
        with grpc.insecure_channel(f"127.0.0.1:{server.server.health_port}") as channel:
            health = health_pb2_grpc.HealthStub(channel)
            assert health.Check(health_pb2.HealthCheckRequest(), timeout=5).status == 1
            call: Any = channel.unary_unary("/gnnrec.v1.RecommenderService/TopK")
            with pytest.raises(grpc.RpcError) as caught:
                call(REQUEST.SerializeToString(), timeout=5)
            assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_who_has_gone_is_not_computed(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """One search is under way; of those behind it one gives up, and one's time runs out."""
    gate = Gate(server, monkeypatch)
    first = server.recommender.TopK.future(SEARCHED)
    until(lambda: gate.searches == 1)
    gone = server.recommender.TopK.future(SEARCHED)
    late = server.recommender.TopK.future(SEARCHED, timeout=0.2)
    until(lambda: server.server.gateway.in_flight == 3)
    gone.cancel()
    assert late.exception().code() == grpc.StatusCode.DEADLINE_EXCEEDED  # type: ignore[union-attr]
    until(lambda: server.server.gateway.in_flight == 1)
    gate.open.set()
    assert first.result().version == "v1"
    assert gate.searches == 1
    with pytest.raises(grpc.RpcError) as caught:
        server.recommender.TopK(REQUEST, timeout=-1)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert server.recommender.TopK(REQUEST, timeout=5).version == "v1"
    assert gate.searches == 2


def test_a_request_id_is_taken_over_or_made(server: Running) -> None:
    def trailing(call: Any) -> str:
        return str(dict(call.trailing_metadata())["x-request-id"])

    for sent, sane in [("abc-123/4", True), ("a b", False), ("x" * 200, False)]:
        _, call = server.recommender.TopK.with_call(REQUEST, metadata=(("x-request-id", sent),))
        assert (trailing(call) == sent) == sane
    with pytest.raises(grpc.RpcError) as caught:
        server.recommender.TopK(pb.TopKRequest(user_id="?", k=1), metadata=(("x-request-id", "e"),))
    assert trailing(caught.value) == "e"
    assert rpc_status.from_call(caught.value) is not None


def test_the_json_log_has_a_line_a_request_and_no_ids_of_people_at_info(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    # not configure itself, which would throw pytest's handlers away
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logs.JsonFormatter())
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        with pytest.raises(grpc.RpcError):
            server.recommender.TopK(
                pb.TopKRequest(user_id="person-7", k=1), metadata=(("x-request-id", "r1"),)
            )

        def broken(*_: object, **__: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(server.server.recommender, "search", broken)
        with pytest.raises(grpc.RpcError):
            server.recommender.TopK(REQUEST, metadata=(("x-request-id", "r2"),))
        until(lambda: " INTERNAL in " in written.getvalue())  # it is written after the answer
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    ours = [line for line in lines if line["logger"] == "gnnrec.server"]
    (answer,) = [line for line in ours if line.get("request_id") == "r1"]
    assert (answer["level"], answer["code"]) == ("DEBUG", "NOT_FOUND")
    assert answer["rpc"] == "/gnnrec.v1.RecommenderService/TopK"
    assert 0 < answer["duration_s"] < 5
    assert answer["timestamp"].endswith("Z")
    defect, _ = (line for line in ours if line.get("request_id") == "r2")
    assert defect["level"] == "ERROR"
    assert "ZeroDivisionError" in defect["traceback"]
    for line in lines:
        assert line["level"] == "DEBUG" or "person-7" not in json.dumps(line)


def test_words_that_the_log_does_not_know_are_refused() -> None:
    for level, layout in [("loud", "text"), ("info", "xml")]:
        with pytest.raises(CannotStart, match="is unknown; use"):
            logs.configure(level, layout)


@pytest.mark.grpcio_keeps("--max-connection-age")
def test_a_connection_is_closed_at_its_age_without_a_failed_call(registry: Path) -> None:
    with running(registry, max_connection_age_s=0.3) as server:
        states: list[grpc.ChannelConnectivity] = []
        server.channel.subscribe(states.append)
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            assert server.recommender.TopK(REQUEST, timeout=5).version == "v1"
        assert states.count(grpc.ChannelConnectivity.READY) >= 2, "it has connected anew"


def test_the_server_drains_under_load_without_a_failed_call(registry: Path) -> None:
    """Clients watch health, and send until it says that the server is going."""
    failed: list[grpc.RpcError] = []
    answered = [0] * 4
    going = threading.Event()
    with running(registry, drain_s=0.5, grace_s=5) as server:
        watch = health_pb2_grpc.HealthStub(server.channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING

        def look() -> None:
            if next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING:
                going.set()
            with pytest.raises(grpc.RpcError):  # a watch ends with the server
                next(watch)

        def load(place: int) -> None:
            while not going.is_set():
                try:
                    server.recommender.TopK(REQUEST, timeout=5)
                    answered[place] += 1
                except grpc.RpcError as error:
                    failed.append(error)

        threads = [threading.Thread(target=look)]
        threads += [threading.Thread(target=load, args=(place,)) for place in range(4)]
        for thread in threads:
            thread.start()
        until(lambda: min(answered) > 20)
        began = time.monotonic()
        server.run(server.server.stop())
        assert time.monotonic() - began < 2, "nothing is waited for but the balancers"
        for thread in threads:
            thread.join(10)
    assert going.is_set()
    assert failed == []


def test_a_caller_who_is_gone_before_the_answer_is_no_error_in_the_log() -> None:
    """GRPC tells it with a traceback; under overload that would be most of the log."""
    told = subprocess.run(
        [sys.executable, "-c", _GOODBYE], capture_output=True, text=True, check=True
    ).stderr
    assert "ExecuteBatchError" not in told
    assert "ZeroDivisionError" in told


_GOODBYE = """
import logging
from grpc._cython import cygrpc
from gnnrec_server.telemetry import logs

logs.configure("info", "text")
for error in (cygrpc.ExecuteBatchError("execute_batch", (), ()), ZeroDivisionError()):
    try:
        raise error
    except Exception:
        logging.getLogger("grpc._cython.cygrpc").exception("raised")
"""


def test_no_message_can_forge_a_line_of_the_log() -> None:
    told = subprocess.run(
        [sys.executable, "-c", _FORGED], capture_output=True, text=True, check=True
    ).stderr
    lines = told.splitlines()
    assert not [line for line in lines if line.startswith("2031")]
    assert lines[0].endswith("quoted \\n2031-01-01 INFO all is well")
    assert all(line.startswith("  ") for line in lines[2:])


_FORGED = """
import logging
from gnnrec_server.telemetry import logs

logs.configure("info", "text")
log = logging.getLogger("gnnrec.server")
log.error("quoted %s", "\\n2031-01-01 INFO all is well")
try:
    raise ValueError("\\n2031-01-01 INFO all is well")
except ValueError:
    log.exception("a defect")
"""
