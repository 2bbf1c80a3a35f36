"""Callers who never read their answers: other callers, memory and the drain do not suffer."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from gnnrec_protos.v1 import model_pb2
from gnnrec_protos.v1 import recommender_pb2 as pb
from gnnrec_registry import ModelStore
from tests import made
from tests.server.http2 import RawClient
from tests.server.running import Running, failure, running, scrape
from tests.server.test_workers import serving
from tests.server.waiting import until

REQUEST = pb.TopKRequest(user_id="u0", k=1)
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
WATCH = "/grpc.health.v1.Health/Watch"
BATCH = "/gnnrec.v1.RecommenderService/BatchTopK"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("registry")
    long_ids = [f"an-item-with-a-long-id-{row:04}" for row in range(1000)]
    made_of = made.export(made.embeddings(20, 8), made.embeddings(1000, 8, 1), item_ids=long_ids)
    store = ModelStore(root, "toy")
    store.publish(made_of, version="v1")
    store.aliases.promote("v1", alias="production")
    return root


class Hostile(Protocol):
    """Opens connections, and closes them at the end of the test."""

    def __call__(self, port: int, window: int = 0) -> RawClient:
        """Connect."""


@pytest.fixture
def hostile() -> Iterator[Hostile]:
    clients: list[RawClient] = []

    def connect(port: int, window: int = 0) -> RawClient:
        clients.append(RawClient(port, window))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


def health(server: Running) -> health_pb2_grpc.HealthStub:
    return health_pb2_grpc.HealthStub(server.channel)


def state(watch: Iterator[health_pb2.HealthCheckResponse]) -> int:
    return int(next(watch).status)


def test_watchers_who_do_not_read_hold_up_nobody(registry: Path, hostile: Hostile) -> None:
    with running(registry, grace_s=0.5) as server:
        for client in [hostile(server.ports.grpc) for _ in range(20)]:
            for _ in range(5):
                client.call(WATCH)
        until(lambda: len(server.server.gateway._streams._open) == 100)
        watch = health(server).Watch(health_pb2.HealthCheckRequest(), timeout=20)
        assert state(watch) == SERVING
        server.call_soon(lambda: server.server.health.set("", is_serving=False))
        assert state(watch) == NOT_SERVING
        server.call_soon(lambda: server.server.health.set("", is_serving=True))
        assert state(watch) == SERVING
        began = time.monotonic()
        server.run(server.server.stop())
        assert time.monotonic() - began < 4
        assert state(watch) == NOT_SERVING


def test_a_process_ends_in_time_whatever_watchers_do(registry: Path, hostile: Hostile) -> None:
    with serving(registry, "--drain", "0.2", "--grace", "1", "--workers", "2") as (
        process,
        address,
        _,
    ):
        client = hostile(int(address.rpartition(":")[2]))
        for _ in range(10):
            client.call(WATCH)
        with grpc.insecure_channel(address) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            assert state(stub.Watch(health_pb2.HealthCheckRequest(), timeout=5)) == SERVING
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


@pytest.mark.grpcio_keeps("the count of what is unread")
def test_a_watcher_who_does_not_read_in_time_is_watching_no_more(
    registry: Path, hostile: Hostile
) -> None:
    with running(registry, unread_timeout_s=0.2) as server:
        client = hostile(server.ports.grpc)
        client.call(WATCH)
        until(lambda: len(server.server.gateway._streams._open) == 1)
        until(lambda: len(server.server.gateway._streams._open) == 0)
        until(lambda: client.is_closed)


def test_a_watcher_of_what_is_not_here_is_told_when_it_comes(registry: Path) -> None:
    with running(registry) as server:
        watch = health(server).Watch(health_pb2.HealthCheckRequest(service="later"), timeout=20)
        assert state(watch) == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        server.call_soon(lambda: server.server.health.set("later", is_serving=True))
        assert state(watch) == SERVING
        request = health_pb2.HealthCheckRequest(service="never")
        code, reason, _ = failure(health(server).Check, request)
        assert (code, reason) == (grpc.StatusCode.NOT_FOUND, "SERVICE_NOT_FOUND")


def test_health_lists_the_states_of_all_services(registry: Path) -> None:
    with running(registry) as server:
        found = health(server).List(health_pb2.HealthListRequest(), timeout=5).statuses
        assert {name: each.status for name, each in found.items()} == dict.fromkeys(
            ["", "liveness", "gnnrec.v1.RecommenderService", "gnnrec.v1.ModelService"], SERVING
        )


@pytest.mark.parametrize(
    "method", ["/grpc.health.v1.Health/Other", "/no.Service/Method", "/nothing"]
)
def test_a_method_that_is_not_there_is_no_defect(
    registry: Path, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    with running(registry) as server:
        call: Any = server.channel.unary_unary(method)
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=5)
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert not [each for each in caplog.messages if "defect" in each]


def test_more_streams_than_may_be_open_are_refused(registry: Path) -> None:
    """Of health and of reflection alike, and each that ends makes room."""
    with running(registry, max_streams=3) as server:
        watches = [health(server).Watch(health_pb2.HealthCheckRequest()) for _ in range(3)]
        assert [state(each) for each in watches] == [SERVING] * 3
        reflected = reflection_pb2_grpc.ServerReflectionStub(server.channel)
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        for stream in (
            health(server).Watch(health_pb2.HealthCheckRequest()),
            reflected.ServerReflectionInfo(iter([asked])),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                next(stream)
            assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert scrape(server)["gnnrec_rejected_requests_total", (("reason", "overloaded"),)] == 2
        watches[0].cancel()
        until(lambda: len(server.server.gateway._streams._open) == 2)
        assert state(health(server).Watch(health_pb2.HealthCheckRequest())) == SERVING


def test_one_connection_has_not_all_the_streams(registry: Path, hostile: Hostile) -> None:
    with running(registry) as server:
        client = hostile(server.ports.grpc, window=1 << 20)
        for _ in range(150):
            client.call(WATCH)
        # the headers of a stream that goes on, or the trailers of one that is refused
        until(lambda: client.headers == 150)
        assert len(server.server.gateway._streams._open) == 100
        assert state(health(server).Watch(health_pb2.HealthCheckRequest(), timeout=5)) == SERVING


def batch(k: int = 1000) -> bytes:
    entries = [pb.TopKRequest(user_id=f"u{row}", k=k) for row in range(20)]
    return pb.BatchTopKRequest(requests=entries).SerializeToString()


@pytest.mark.grpcio_keeps("the count of what is unread")
def test_answers_that_nobody_reads_are_bounded_and_dropped_for_others(
    registry: Path, hostile: Hostile
) -> None:
    """Unread answers may fill the limit; the next caller makes the server end their connections."""
    with running(registry, max_concurrent=4, max_unread_bytes=3_000_000) as server:
        client = hostile(server.ports.grpc)
        for _ in range(4):
            client.call(BATCH, batch())
        unread = server.server.unread
        until(lambda: unread.bytes > 2_000_000)  # four answers of 20 x 1000 items each
        answers = []

        def ask() -> bool:
            try:
                answers.append(server.recommender.TopK(REQUEST, timeout=5).version)
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED  # noqa: PT017
            return bool(answers)

        until(ask)
        assert answers == ["v1"]
        until(lambda: client.is_closed)


@pytest.mark.grpcio_keeps("the count of what is unread")
def test_an_answer_that_is_not_read_in_time_is_dropped(registry: Path, hostile: Hostile) -> None:
    with running(registry, unread_timeout_s=0.3) as server:
        client = hostile(server.ports.grpc)
        client.call(BATCH, batch())
        client.call("/gnnrec.v1.ModelService/GetModel")
        until(lambda: server.server.unread.bytes > 500_000)
        until(lambda: client.is_closed)
        until(lambda: server.server.unread.bytes == 0)
        assert server.recommender.TopK(REQUEST, timeout=5).version == "v1"


def test_what_is_read_is_forgotten_at_once(registry: Path) -> None:
    with running(registry) as server:
        for _ in range(50):
            server.recommender.TopK(REQUEST, timeout=5)
        server.recommender.BatchTopK(pb.BatchTopKRequest.FromString(batch()), timeout=5)
        until(lambda: server.server.unread.bytes == 0)
        assert not server.server.unread._connections


def test_reading_the_registry_once_answers_all_who_wait(
    registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(registry) as server:
        store = server.server.rollout.store
        real = store.versions
        reads = []

        def slow() -> list[object]:
            reads.append(1)
            time.sleep(0.2)
            return list(real())

        monkeypatch.setattr(store, "versions", slow)
        calls = [
            server.model.ListVersions.future(model_pb2.ListVersionsRequest(), timeout=10)
            for _ in range(40)
        ]
        assert {call.result().versions[0].version for call in calls} == {"v1"}
        assert len(reads) < 5


def test_more_calls_of_model_service_than_are_waited_for_are_refused(
    registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(registry) as server:
        store = server.server.rollout.store
        real = store.versions

        def slow() -> list[object]:
            time.sleep(0.5)
            return list(real())

        monkeypatch.setattr(store, "versions", slow)
        calls = [
            server.model.ListVersions.future(model_pb2.ListVersionsRequest(), timeout=10)
            for _ in range(100)
        ]
        codes = [call.code() for call in calls]
        assert codes.count(grpc.StatusCode.OK) == 64
        assert codes.count(grpc.StatusCode.RESOURCE_EXHAUSTED) == 36
        assert server.recommender.TopK(REQUEST, timeout=5).version == "v1"


def test_an_answer_over_the_limit_is_refused_with_the_reason(registry: Path) -> None:
    with running(registry, max_message_bytes=8192) as server:
        code, reason, _ = failure(server.recommender.TopK, pb.TopKRequest(user_id="u0", k=1000))
        assert (code, reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "ANSWER_TOO_LARGE")
        labels = {"rpc": "TopK", "code": "RESOURCE_EXHAUSTED"}
        counted = [
            value
            for (name, found), value in scrape(server).items()
            if name == "gnnrec_requests_total" and labels.items() <= dict(found).items()
        ]
        assert counted == [1]


def test_a_batch_answers_what_fits_and_says_so_of_the_rest(registry: Path) -> None:
    with running(registry, max_message_bytes=20_000) as server:
        entries = [pb.TopKRequest(user_id=f"u{row}", k=100) for row in range(20)]
        alone = [server.recommender.TopK(each, timeout=5) for each in entries]
        answer = server.recommender.BatchTopK(pb.BatchTopKRequest(requests=entries), timeout=5)
        kinds = [each.WhichOneof("result") for each in answer.entries]
        assert 0 < kinds.count("response") < 20
        for entry, expected in zip(answer.entries, alone, strict=True):
            if entry.WhichOneof("result") == "response":
                assert entry.response == expected
            else:
                assert entry.error.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
                assert "--max-message-bytes" in entry.error.message
        assert len(answer.SerializeToString()) <= 20_000
