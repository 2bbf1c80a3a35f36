"""Prometheus metrics: what every gRPC dashboard knows, and what is ours."""

from collections.abc import Callable, Mapping
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from server.errors import CannotStart
from server.snapshot import Snapshot

_SECONDS = (
    0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
)  # fmt: skip
_GRPC = ("grpc_type", "grpc_service", "grpc_method")


class Metrics:
    """All metrics of one server, in a registry of its own."""

    def __init__(self) -> None:
        """Create every metric."""
        registry = CollectorRegistry()
        self.registry = registry
        self.started = Counter("grpc_server_started", "RPCs started.", _GRPC, registry=registry)
        self.handled = Counter(
            "grpc_server_handled",
            "RPCs completed, by code.",
            (*_GRPC, "grpc_code"),
            registry=registry,
        )
        self.handling = Histogram(
            "grpc_server_handling_seconds", "Time to complete an RPC.", _GRPC,
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self.requests = Counter(
            "gnnrec_requests", "Requests answered, by the version and variant that answered.",
            ("rpc", "version", "variant"), registry=registry,
        )  # fmt: skip
        self.in_flight = Gauge(
            "gnnrec_in_flight_requests", "RPCs being answered.", registry=registry
        )
        self.model_info = Gauge(
            "gnnrec_model_info", "1 for the version that is served.",
            ("model", "alias", "version", "default_variant"), registry=registry,
        )  # fmt: skip
        self.loads = Counter(
            "gnnrec_model_loads", "Attempts to load a version, by result.", ("result",),
            registry=registry,
        )  # fmt: skip
        self.load_seconds = Gauge(
            "gnnrec_model_load_seconds", "How long the phases of the last load took.", ("phase",),
            registry=registry,
        )  # fmt: skip
        self.activated = Gauge(
            "gnnrec_model_activated_timestamp_seconds", "When the version began to be served.",
            registry=registry,
        )  # fmt: skip
        self.created = Gauge(
            "gnnrec_model_created_timestamp_seconds", "When the version was published.",
            registry=registry,
        )  # fmt: skip
        self.index_items = Gauge(
            "gnnrec_index_items", "Items in the index.", ("variant",), registry=registry
        )
        self.poll_errors = Counter(
            "gnnrec_registry_poll_errors", "Times the registry could not be read.",
            registry=registry,
        )  # fmt: skip
        self.cold_starts = Counter(
            "gnnrec_cold_starts", "New users and new items embedded.", ("kind", "variant"),
            registry=registry,
        )  # fmt: skip
        self.unknown_feature_values = Counter(
            "gnnrec_unknown_feature_values", "Texts in features that training has not seen.",
            ("feature",), registry=registry,
        )  # fmt: skip
        self.onnx_provider = Gauge(
            "gnnrec_onnx_provider_info", "1 for what each variant's model was bound to.",
            ("variant", "provider"), registry=registry,
        )  # fmt: skip
        for result in ("loaded", "refused"):
            self.loads.labels(result)

    def activate(self, snapshot: Snapshot, alias: str, activated_at: float) -> None:
        """Describe the version that is served from now on."""
        manifest = snapshot.manifest
        self.model_info.clear()
        self.model_info.labels(
            manifest.model, alias, manifest.version, manifest.default_variant
        ).set(1)
        for phase, seconds in snapshot.load_seconds.items():
            self.load_seconds.labels(phase).set(seconds)
        self.activated.set(activated_at)
        self.created.set(manifest.created_at.timestamp())
        self.index_items.clear()
        for variant in snapshot.variants.values():
            self.index_items.labels(variant.name).set(len(variant.index))
        self.onnx_provider.clear()
        for variant in snapshot.variants.values():
            if variant.model is not None:
                self.onnx_provider.labels(variant.name, variant.model.encoder.provider).set(1)

    def count_newcomer(
        self, kind: Literal["new_user", "new_item"], variant: str, unknown: Mapping[str, int]
    ) -> None:
        """Count a node embedded by a variant, and its unknown texts by feature."""
        self.cold_starts.labels(kind, variant).inc()
        for feature, count in unknown.items():
            self.unknown_feature_values.labels(feature).inc(count)

    def expose(self, host: str, port: int) -> tuple[int, Callable[[], None]]:
        """Serve the metrics over HTTP and return the port and how to stop."""
        try:
            server, thread = start_http_server(port, host, self.registry)
        except OSError as error:
            raise CannotStart(
                f"metrics port {host}:{port} cannot be used: {error.strerror}; "
                "choose another with --metrics-port"
            ) from None

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return server.server_port, stop
