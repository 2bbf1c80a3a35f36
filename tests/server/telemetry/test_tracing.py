import logging
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gnnrec_protos.v1 import recommender_pb2 as pb
from gnnrec_registry import ModelStore
from gnnrec_server.telemetry import tracing
from tests import made
from tests.server.running import running

pytest.importorskip("opentelemetry.sdk", reason="the extra `tracing` is not installed")

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import (
    InMemorySpanExporter,
)
from opentelemetry.trace import StatusCode

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    made.publish(tmp_path, version="v1")
    ModelStore(tmp_path, "toy").aliases.promote("v1", alias="production")
    return tmp_path


def spans_of(
    registry: Path, monkeypatch: pytest.MonkeyPatch, *requests: pb.TopKRequest, broken: bool = False
) -> list[ReadableSpan]:
    """Return the spans of a real server's answers; the first request has a traceparent."""
    exporter = InMemorySpanExporter()
    traced = tracing.Tracing(exporter)
    monkeypatch.setattr(tracing, "from_environment", lambda _: traced)
    with running(registry) as server:
        if broken:
            monkeypatch.setattr(server.server.recommender, "search", None)
        metadata: tuple[tuple[str, str], ...] = (("traceparent", f"00-{TRACE}-{PARENT}-01"),)
        for request in requests:
            with suppress(grpc.RpcError):
                server.recommender.TopK(request, metadata=metadata)
            metadata = ()
        stub = health_pb2_grpc.HealthStub(server.channel)
        stub.Check(health_pb2.HealthCheckRequest())
        traced.flush()
        return list(exporter.get_finished_spans())


def test_a_request_is_a_span_of_the_callers_trace(
    registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Health checks and ids of people are left out."""
    first, second = spans_of(
        registry,
        monkeypatch,
        pb.TopKRequest(user_id="u0", k=3),
        pb.TopKRequest(user_id="secret-person", k=4, variant="lightgcn"),
    )
    assert first.name == "gnnrec.v1.RecommenderService/TopK"
    assert first.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": "gnnrec.v1.RecommenderService/TopK",
        "rpc.response.status_code": "OK",
        "gnnrec.version": "v1",
        "gnnrec.variant": "lightgcn",
        "gnnrec.k": 3,
    }
    assert first.parent is not None
    assert f"{first.parent.span_id:016x}" == PARENT
    assert f"{first.context.trace_id:032x}" == TRACE
    assert first.start_time is not None
    assert first.end_time is not None
    assert first.end_time > first.start_time
    assert second.parent is None
    assert second.attributes is not None
    assert second.attributes["rpc.response.status_code"] == "NOT_FOUND"
    assert second.attributes["gnnrec.k"] == 4
    assert second.status.status_code is StatusCode.UNSET
    assert "secret" not in second.to_json()
    assert first.resource.attributes["service.name"] == "gnnrec"


def test_a_defect_marks_the_span_as_an_error(
    registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (span,) = spans_of(registry, monkeypatch, pb.TopKRequest(user_id="u0", k=3), broken=True)
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes is not None
    assert span.attributes["error.type"] == "INTERNAL"


def test_tracing_is_off_without_an_endpoint(registry: Path) -> None:
    assert tracing.from_environment({}) is None
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    assert tracing.from_environment({**endpoint, "OTEL_SDK_DISABLED": "true"}) is None
    with running(registry) as server:
        assert server.server.tracing is None


def test_a_server_that_does_not_trace_imports_nothing_for_it() -> None:
    program = (
        "import sys, gnnrec_server.main; from gnnrec_server.telemetry import tracing;"
        "tracing.from_environment({});"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_an_endpoint_without_the_extra_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tracing, "find_spec", lambda _: None)
    with caplog.at_level(logging.WARNING, "gnnrec.server"):
        assert tracing.from_environment({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317"}) is None
    (record,) = caplog.records
    assert "install gnnrec with its extra `tracing`" in record.getMessage()


def test_a_collector_that_does_not_answer_does_not_hold_up_the_end(
    registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr(tracing, "_LAST_EXPORT_S", 0.2)
    with running(registry) as server:
        assert server.server.tracing is not None
        server.client.top_k("u0")
