"""OpenTelemetry: a span for each request, where the extra `tracing` and an endpoint are given.

The only module that knows OpenTelemetry, and it imports it only once tracing is switched on. Spans
carry what the metrics do, and k; never the id of a user or an item.
"""

import logging
import threading
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from gnnrec_server.errors import CannotStart

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span

_log = logging.getLogger("gnnrec.server")

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_CONTEXT = ("traceparent", "tracestate")
# What the conventions call an error of the server, not of the caller.
_SERVER_ERRORS = {
    "UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
}  # fmt: skip
# A collector that does not answer must not hold up the end of the server.
_LAST_EXPORT_S = 2.0


class Tracing:
    """Makes spans and exports them in a thread of its own."""

    def __init__(self, exporter: "SpanExporter") -> None:
        """Export in batches; OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER and OTEL_BSP_* are heeded."""
        from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        named = Resource({SERVICE_NAME: "gnnrec"}).merge(OTELResourceDetector().detect())
        self._exporter = exporter
        self._provider = TracerProvider(resource=named, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("gnnrec")
        self._propagator = TraceContextTextMapPropagator()
        self._kind = SpanKind.SERVER

    def begin(self, method: str, metadata: Iterable[tuple[str, str | bytes]]) -> "Span":
        """Begin the span of an RPC, under the caller's where the metadata have a traceparent.

        method: as gRPC names it, such as /gnnrec.v1.RecommenderService/TopK.
        """
        carrier = {
            key: value for key, value in metadata if key in _CONTEXT and isinstance(value, str)
        }
        method = method.lstrip("/")
        return self._tracer.start_span(
            method,
            self._propagator.extract(carrier),
            self._kind,
            {"rpc.system.name": "grpc", "rpc.method": method},
        )

    def end(self, span: "Span", code: str, version: str, variant: str, k: int | None) -> None:
        """End a span: how the RPC ended, what answered, and for how many items it was asked."""
        from opentelemetry.trace import StatusCode

        span.set_attribute("rpc.response.status_code", code)
        span.set_attribute("gnnrec.version", version)
        span.set_attribute("gnnrec.variant", variant)
        if k is not None:
            span.set_attribute("gnnrec.k", k)
        if code in _SERVER_ERRORS:
            span.set_attribute("error.type", code)
            span.set_status(StatusCode.ERROR)
        span.end()

    def flush(self) -> None:
        """Export what has ended."""
        self._provider.force_flush()

    def close(self) -> None:
        """Export what is left, if the collector takes it soon, and stop."""
        stopping = threading.Thread(target=self._provider.shutdown, daemon=True)
        stopping.start()
        stopping.join(_LAST_EXPORT_S)
        if stopping.is_alive():
            self._exporter.shutdown()  # ends an export that is still being tried


def from_environment(environment: Mapping[str, str]) -> Tracing | None:
    """Return tracing if an OTLP endpoint is set and the extra is installed, else None.

    Raises CannotStart for an endpoint that cannot be used.
    """
    if not any(environment.get(name) for name in _ENDPOINTS):
        return None
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.exporter") is None:
        _log.warning(
            "%s is set, and nothing is traced: install gnnrec with its extra `tracing`",
            " or ".join(name for name in _ENDPOINTS if environment.get(name)),
        )
        return None
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    try:
        return Tracing(OTLPSpanExporter())
    except ValueError as error:
        raise CannotStart(f"tracing cannot start: {error}") from None
