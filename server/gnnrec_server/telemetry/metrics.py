"""The server's Prometheus metrics. docs/metrics.md says what each is for."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Literal, get_args

from prometheus_client import Counter, Gauge, Histogram

from gnnrec_server.process.address import Tcp
from gnnrec_server.telemetry import collectors
from gnnrec_server.telemetry.collectors import Collectors, Labels
from gnnrec_server.telemetry.trial_metrics import TrialMetrics
from gnnrec_server.telemetry.version_metrics import VersionMetrics

_K = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
_GRPC = ("grpc_type", "grpc_service", "grpc_method")

Stage = Literal["queue", "embed", "search", "rank", "respond"]
Reason = Literal["overloaded", "deadline", "unauthenticated", "not_ready"]
UnknownKind = Literal["user", "item", "listed_item"]
NewcomerKind = Literal["new_user", "new_item"]


class Calls:
    """Counts the calls of one RPC; its Prometheus children are looked up once, not at each call."""

    def __init__(
        self,
        started: Counter,
        in_flight: Gauge,
        seconds: Histogram,
        handled: Callable[[str], Counter],
    ) -> None:
        """Take the RPC's metrics; `handled` returns the one for a code."""
        self._started = started
        self._in_flight = in_flight
        self._seconds = seconds
        self._handled = handled
        self._by_code: dict[str, Counter] = {}

    def start(self, in_flight: int) -> None:
        """Count a call that begins; `in_flight` with it."""
        self._started.inc()
        self._in_flight.set(in_flight)

    def finish(self, in_flight: int, code: str, seconds: float) -> None:
        """Count a call that ends; `in_flight` without it."""
        self._in_flight.set(in_flight)
        collectors.observe(self._seconds, seconds)
        handled = self._by_code.get(code)
        if handled is None:
            handled = self._by_code[code] = self._handled(code)
        handled.inc()


class Metrics(VersionMetrics):
    """All metrics of one server process."""

    def __init__(self, shared: Path | None = None) -> None:
        """Make every metric; `shared` is a SharedMetrics' directory, given to a worker process."""
        super().__init__(Collectors(shared))
        self.registry = self._collectors.registry
        self.trials = TrialMetrics(self._collectors)
        self._requests: dict[Labels, Counter] = {}
        self._durations: dict[Labels, Histogram] = {}
        self._make_rpc_metrics()
        self._make_query_metrics()

    def _make_rpc_metrics(self) -> None:
        counter, histogram = self._collectors.counter, self._collectors.histogram
        self.started = counter("grpc_server_started", "RPCs started.", _GRPC)
        self.handled = counter(
            "grpc_server_handled", "RPCs completed, by code.", (*_GRPC, "grpc_code")
        )
        self.handling = histogram("grpc_server_handling_seconds", "Time to complete an RPC.", _GRPC)
        self.requests = counter(
            "gnnrec_requests",
            "Requests finished, by the version and variant that answered or were asked.",
            ("rpc", "version", "variant", "code"),
        )
        self.durations = histogram(
            "gnnrec_request_duration_seconds", "Time to finish a request.", ("rpc", "version")
        )
        self.in_flight = self._collectors.gauge(
            "gnnrec_in_flight_requests", "RPCs being answered.", joined="livesum"
        )
        self.front = self._collectors.gauge(
            "gnnrec_front_info", "What speaks HTTP/2 for the server.", ("front",)
        )
        self.rejected = counter(
            "gnnrec_rejected_requests", "Requests turned away unanswered, by reason.", ("reason",)
        )
        for reason in get_args(Reason):
            self.rejected.labels(reason)
        self._background_failures = counter(
            "gnnrec_background_failures",
            "Times that work in the background failed and began again, by what it is.",
            ("task",),
        )

    def _make_query_metrics(self) -> None:
        counter, histogram = self._collectors.counter, self._collectors.histogram
        stages = histogram(
            "gnnrec_stage_duration_seconds", "Time that a request spends in a stage.", ("stage",)
        )
        self.stages: dict[Stage, Histogram] = {
            stage: stages.labels(stage) for stage in get_args(Stage)
        }
        """A histogram for each stage: `with metrics.stages["search"].time(): ...`."""
        self.requested_k = histogram(
            "gnnrec_requested_k", "How many items were asked for.", buckets=_K
        )
        self.short_answers = counter(
            "gnnrec_short_answers", "Answers with fewer than k items, for want of permitted ones."
        )
        self.unknown_ids = counter(
            "gnnrec_unknown_ids", "Ids that the version does not know, by kind.", ("kind",)
        )
        self.cold_starts = counter(
            "gnnrec_cold_starts", "New users and new items embedded.", ("kind", "variant")
        )
        self.unknown_feature_values = counter(
            "gnnrec_unknown_feature_values",
            "Texts in features that training has not seen.",
            ("feature",),
        )
        self.cached = counter(
            "gnnrec_cache_lookups", "Requests looked up among the ready answers.", ("result",)
        )
        self.cache_bytes = self._collectors.gauge(
            "gnnrec_cache_bytes", "Size of the ready answers.", joined="livesum"
        )
        for result in ("hit", "miss"):
            self.cached.labels(result)
        for kind in get_args(UnknownKind):
            self.unknown_ids.labels(kind)

    def calls(self, service: str, rpc: str) -> Calls:
        """Return what counts the calls of an RPC."""
        labels = ("unary", service, rpc)
        return Calls(
            self.started.labels(*labels),
            self.in_flight,
            self.handling.labels(*labels),
            lambda code: self.handled.labels(*labels, code),
        )

    def announce_background(self, task: str) -> None:
        """Show a background task's failures at 0, so that its first failure is seen as a rise."""
        self._background_failures.labels(task)

    def count_background_failure(self, task: str) -> None:
        """Count that work in the background failed."""
        self._background_failures.labels(task).inc()

    def announce(self, service: str, rpcs: Iterable[str]) -> None:
        """Show a service's RPCs at 0, so that the first call of each is seen as a rise."""
        for rpc in rpcs:
            labels = ("unary", service, rpc)
            self.started.labels(*labels)
            self.handling.labels(*labels)
            self.handled.labels(*labels, "OK")

    def count(self, rpc: str, code: str, seconds: float, version: str, variant: str) -> None:
        """Count a finished request under a version and variant that have answered."""
        labels = (rpc, version, variant, code)
        requests = self._requests.get(labels)
        if requests is None:
            self._drop_forgotten()
            requests = self._requests[labels] = self.requests.labels(*labels)
        requests.inc()
        durations = self._durations.get((rpc, version))
        if durations is None:
            durations = self._durations[rpc, version] = self.durations.labels(rpc, version)
        collectors.observe(durations, seconds)

    def _drop_forgotten(self) -> None:
        """Drop the series of versions under which nothing is counted any more."""
        for labels in [labels for labels in self._requests if self._is_forgotten(labels[1])]:
            del self._requests[labels]
            self._collectors.drop(self.requests, labels)
        for labels in [labels for labels in self._durations if self._is_forgotten(labels[1])]:
            del self._durations[labels]
            self._collectors.drop(self.durations, labels)

    def show_front(self, name: str) -> None:
        """Say what speaks HTTP/2."""
        self._collectors.show(self.front, {(name,): 1.0})

    def reject(self, reason: Reason) -> None:
        """Count a request that was turned away before it was looked at."""
        self.rejected.labels(reason).inc()

    def count_answers(self, asked: Mapping[int, int], short: int) -> None:
        """Count answered queries by their k, and how many got fewer items."""
        for k, count in asked.items():
            collectors.observe(self.requested_k, k, count)
        if short:
            self.short_answers.inc(short)

    def count_unknown(self, kind: UnknownKind, count: int = 1) -> None:
        """Count unknown ids: the query's own user or item, or items listed in it."""
        self.unknown_ids.labels(kind).inc(count)

    def count_newcomer(self, kind: NewcomerKind, variant: str, unknown: Mapping[str, int]) -> None:
        """Count a node embedded by a variant, and its unknown texts by feature."""
        self.cold_starts.labels(kind, variant).inc()
        for feature, count in unknown.items():
            self.unknown_feature_values.labels(feature).inc(count)

    def expose(self, where: Tcp) -> tuple[int, Callable[[], None]]:
        """Serve the metrics over HTTP and return the port and how to stop; raises CannotStart."""
        return collectors.expose(self.registry, where)
