"""Making the Prometheus collectors of one process, and replacing and dropping their series."""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    make_wsgi_app,
)

from gnnrec_server.errors import CannotStart
from gnnrec_server.process.address import Tcp
from gnnrec_server.telemetry import endpoint
from gnnrec_server.telemetry.worker_metrics import count_into

Labels = tuple[str, ...]

_SECONDS = (
    0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
)  # fmt: skip


class Collectors:
    """The metrics of one process, in a registry of its own."""

    def __init__(self, shared: Path | None = None) -> None:
        """Begin with the process metrics; workers count into files of the folder `shared`."""
        disable_created_metrics()  # type: ignore[no-untyped-call]
        if shared is not None:
            count_into(shared)
        self._shared = shared is not None
        self._shown: dict[Gauge, set[Labels]] = {}
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)

    def counter(self, name: str, text: str, labels: Labels = ()) -> Counter:
        """Make a counter; its exposed name ends with _total."""
        return Counter(name, text, labels, registry=self.registry)

    def histogram(
        self, name: str, text: str, labels: Labels = (), buckets: tuple[float, ...] = _SECONDS
    ) -> Histogram:
        """Make a histogram; its buckets are for seconds unless others are given."""
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)

    def gauge(
        self,
        name: str,
        text: str,
        labels: Labels = (),
        joined: Literal["livemax", "livemin", "livesum"] = "livemax",
    ) -> Gauge:
        """Make a gauge; `joined` says how the values of several workers become one."""
        return Gauge(name, text, labels, registry=self.registry, multiprocess_mode=joined)

    def show(self, gauge: Gauge, values: Mapping[Labels, float], gone: float = 0.0) -> None:
        """Make the gauge show exactly these; the new come first, so that no scrape sees a gap.

        With several workers nothing can be taken back: what is not shown any more becomes `gone`.
        """
        for labels, value in values.items():
            gauge.labels(*labels).set(value)
        for labels in self._shown.get(gauge, set()) - values.keys():
            self._remove(gauge, labels, gone)
        self._shown[gauge] = set(values)

    def drop(self, metric: Counter | Histogram, labels: Labels) -> None:
        """Drop a series that will not be counted again."""
        if not self._shared:  # files of several processes only ever grow
            metric.remove(*labels)

    def _remove(self, gauge: Gauge, labels: Labels, gone: float) -> None:
        if self._shared:
            gauge.labels(*labels).set(gone)
        else:
            gauge.remove(*labels)


def observe(histogram: Histogram, value: float, count: int = 1) -> None:
    """Observe the same value `count` times, for the price of one."""
    # The library has no such call; what it would do is plain addition, of which it takes care.
    histogram._sum.inc(value * count)
    histogram._buckets[bisect_left(histogram._upper_bounds, value)].inc(count)


def expose(registry: CollectorRegistry, where: Tcp) -> tuple[int, Callable[[], None]]:
    """Serve a registry over HTTP and return the port and how to stop; raises CannotStart."""
    try:
        listener = where.listener()
        return listener.getsockname()[1], endpoint.serve(make_wsgi_app(registry), listener)
    except OSError as error:
        raise CannotStart(
            f"metrics port {where} cannot be used: {error.strerror}; "
            "choose another with --metrics-port or --metrics-host"
        ) from None
