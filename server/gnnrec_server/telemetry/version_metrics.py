"""Metrics of the versions: which are loaded, in what state, how large, how old."""

import math
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version as installed
from typing import Literal

from gnnrec_server.telemetry.collectors import Labels, Series
from gnnrec_server.version.snapshot import Snapshot

_VARIANT = ("version", "variant")
# A server that follows daily rollouts for years must not keep series of all it ever served.
_VERSIONS_COUNTED = 10

State = Literal["loading", "serving", "refused"]


@dataclass(frozen=True)
class _Held:
    """What is told of a version in memory."""

    items: dict[Labels, float]
    sizes: dict[Labels, float]
    recalls: dict[Labels, float]
    providers: dict[Labels, float]


class VersionMetrics:
    """What a server process tells of the versions that it has loaded."""

    def __init__(self, series: Series) -> None:
        """Make the metrics."""
        self._series = series
        self._held: dict[str, _Held] = {}
        self._states: dict[str, State] = {}
        self._served_by: dict[str, str] = {}
        self._info: dict[str, Labels] = {}
        self._times: dict[str, tuple[float, float]] = {}
        # The variants of each version that requests may still be counted under, oldest first.
        self._counted: dict[str, frozenset[str]] = {}
        self._make_model_metrics()

    def _make_model_metrics(self) -> None:
        counter, gauge = self._series.counter, self._series.gauge
        self.model_info = gauge(
            "gnnrec_model_info",
            "1 for the version that each alias names.",
            ("model", "alias", "version", "default_variant"),
        )
        self.model_state = gauge(
            "gnnrec_model_state", "1 for the state that a version is in.", ("version", "state")
        )
        self.loads = counter(
            "gnnrec_model_loads", "Attempts to load a version, by result.", ("result",)
        )
        self.load_seconds = gauge(
            "gnnrec_model_load_seconds", "How long the phases of the last load took.", ("phase",)
        )
        self.activated = gauge(
            "gnnrec_model_activated_timestamp_seconds",
            "When the version that the alias names began to be served.",
            ("alias",),
        )
        self.created = gauge(
            "gnnrec_model_created_timestamp_seconds",
            "When the version that the alias names was published.",
            ("alias",),
            joined="livemin",
        )
        self.index_items = gauge("gnnrec_index_items", "Items in the index.", _VARIANT)
        self.index_bytes = gauge(
            "gnnrec_index_bytes", "Size of the vectors in the index.", _VARIANT, joined="livesum"
        )
        self.index_recall = gauge(
            "gnnrec_index_recall",
            "The share of the 100 best items that a search finds; 1 where all are looked at.",
            _VARIANT,
        )
        self.onnx_provider = gauge(
            "gnnrec_onnx_provider_info",
            "1 for what each variant's model was bound to.",
            ("variant", "provider"),
        )
        self.poll_errors = counter(
            "gnnrec_registry_poll_errors",
            "Times the registry, or an alias in it, could not be read.",
        )
        build = gauge("gnnrec_build_info", "1 for the software that runs.", ("version", "python"))
        build.labels(installed("gnnrec"), platform.python_version()).set(1)
        for result in ("loaded", "refused"):
            self.loads.labels(result)

    def served(self, version: str = "", alias: str = "", variant: str = "") -> tuple[str, str]:
        """Return version and variant as a request names them, each empty where not served of late.

        Where it names neither version nor alias, it means the alias that was activated first.
        """
        if not version:
            version = self._served_by.get(alias or next(iter(self._served_by), ""), "")
        variants = self._counted.get(version)
        if variants is None:
            return "", ""
        return version, variant if variant in variants else ""

    def _is_forgotten(self, version: str) -> bool:
        return version != "" and version not in self._counted

    def activate(self, snapshot: Snapshot, alias: str, activated_at: float) -> None:
        """Describe the version that an alias names from now on."""
        self.hold(snapshot)
        manifest = snapshot.manifest
        self._served_by[alias] = manifest.version
        self._info[alias] = (manifest.model, alias, manifest.version, manifest.default_variant)
        self._times[alias] = (activated_at, manifest.created_at.timestamp())
        self._show_aliases()
        for phase, seconds in snapshot.load_seconds.items():
            self.load_seconds.labels(phase).set(seconds)

    def deactivate(self, alias: str) -> None:
        """Forget an alias that no version is served under any more."""
        del self._served_by[alias], self._info[alias], self._times[alias]
        self._show_aliases()

    def hold(self, snapshot: Snapshot) -> None:
        """Describe a version in memory, whether or not an alias names it."""
        version, variants = snapshot.version, list(snapshot.variants.values())
        counts: dict[Labels, float] = {}
        sizes: dict[Labels, float] = {}
        recalls: dict[Labels, float] = {}
        for each in variants:
            counts[version, each.name] = len(each.index)
            sizes[version, each.name] = each.index.nbytes
            recalls[version, each.name] = each.index.recall
        self._held[version] = _Held(
            items=counts,
            sizes=sizes,
            recalls=recalls,
            providers={
                (each.name, each.model.encoder.provider): 1.0
                for each in variants
                if each.model is not None
            },
        )
        self.set_state(version, "serving")
        self._show_held()
        self._counted.pop(version, None)
        self._counted[version] = frozenset(snapshot.variants)
        self._forget_old()

    def release(self, version: str) -> None:
        """Forget a version that is no longer in memory; what it answered stays counted."""
        self._held.pop(version, None)
        self.set_state(version, None)
        self._show_held()

    def set_state(self, version: str, state: State | None) -> None:
        """Say what state a version is in; None when there is nothing to say of it any more."""
        if state is None:
            self._states.pop(version, None)
        else:
            self._states[version] = state
        self._series.show(self.model_state, dict.fromkeys(self._states.items(), 1.0))

    def _show_aliases(self) -> None:
        times = self._times.items()
        self._series.show(self.model_info, dict.fromkeys(self._info.values(), 1.0))
        began: dict[Labels, float] = {(alias,): moment for alias, (moment, _) in times}
        made: dict[Labels, float] = {(alias,): moment for alias, (_, moment) in times}
        self._series.show(self.activated, began, gone=math.nan)
        self._series.show(self.created, made, gone=math.nan)

    def _show_held(self) -> None:
        held = self._held.values()
        self._series.show(self.index_items, _joined(one.items for one in held))
        self._series.show(self.index_bytes, _joined(one.sizes for one in held))
        self._series.show(self.index_recall, _joined(one.recalls for one in held))
        self._series.show(self.onnx_provider, _joined(one.providers for one in held))

    def _forget_old(self) -> None:
        """Let go of versions that have not been loaded for long."""
        for version in set(list(self._counted)[:-_VERSIONS_COUNTED]) - self._held.keys():
            del self._counted[version]


def _joined(parts: Iterable[dict[Labels, float]]) -> dict[Labels, float]:
    return {labels: value for part in parts for labels, value in part.items()}
