"""Metrics of the versions: which are loaded, in what state, how large, how old."""

import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version as installed
from typing import Literal

from gnnrec_server.telemetry.collectors import Collectors, Labels

_VARIANT = ("version", "variant")
# A server that follows daily rollouts for years must not keep series of all it ever served.
_VERSIONS_COUNTED = 10

State = Literal["loading", "serving", "refused"]


@dataclass(frozen=True)
class VariantFigures:
    """The figures that metrics show of a variant in memory."""

    name: str
    items: int
    index_bytes: int
    recall: float
    """The share of the 100 best items that a search of its index finds."""
    provider: str | None
    """What its ONNX model was bound to, such as CPUExecutionProvider; None without a model."""


@dataclass(frozen=True)
class VersionFigures:
    """The figures that metrics show of a version in memory."""

    model: str
    version: str
    default_variant: str
    created_at: float
    """When it was published, in Unix seconds."""
    load_seconds: Mapping[str, float]
    """How long each phase of loading it took."""
    variants: Sequence[VariantFigures]


class VersionMetrics:
    """The metrics of the versions that a server process has loaded."""

    def __init__(self, collectors: Collectors) -> None:
        """Make the metrics."""
        self._collectors = collectors
        self._held: dict[str, VersionFigures] = {}
        self._info: dict[str, Labels] = {}
        self._times: dict[str, tuple[float, float]] = {}
        # The variants of each version that requests may still be counted under, oldest first.
        self._counted: dict[str, frozenset[str]] = {}
        self._make_model_metrics()

    def _make_model_metrics(self) -> None:
        counter, gauge = self._collectors.counter, self._collectors.gauge
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

    def counted(self, version: str, variant: str) -> tuple[str, str]:
        """Return the version and variant that a request is counted under.

        Each is empty where it is not served of late: callers may have made the name up, and every
        name is a series.
        """
        variants = self._counted.get(version)
        if variants is None:
            return "", ""
        return version, variant if variant in variants else ""

    def _is_forgotten(self, version: str) -> bool:
        return version != "" and version not in self._counted

    def activate(self, figures: VersionFigures, alias: str, activated_at: float) -> None:
        """Describe the version that an alias names from now on."""
        self.hold(figures)
        self._info[alias] = (figures.model, alias, figures.version, figures.default_variant)
        self._times[alias] = (activated_at, figures.created_at)
        self._show_aliases()
        for phase, seconds in figures.load_seconds.items():
            self.load_seconds.labels(phase).set(seconds)

    def deactivate(self, alias: str) -> None:
        """Forget an alias that no version is served under any more."""
        del self._info[alias], self._times[alias]
        self._show_aliases()

    def hold(self, figures: VersionFigures) -> None:
        """Describe a version in memory, whether or not an alias names it."""
        self._held[figures.version] = figures
        self._show_held()
        self._counted.pop(figures.version, None)
        self._counted[figures.version] = frozenset(variant.name for variant in figures.variants)
        self._forget_old()

    def release(self, version: str) -> None:
        """Forget a version that is no longer in memory; what it answered stays counted."""
        self._held.pop(version, None)
        self._show_held()

    def show_states(self, states: Mapping[str, State]) -> None:
        """Show these states, and no others: of versions that are loading, serving or refused."""
        self._collectors.show(self.model_state, dict.fromkeys(states.items(), 1.0))

    def _show_aliases(self) -> None:
        times = self._times.items()
        self._collectors.show(self.model_info, dict.fromkeys(self._info.values(), 1.0))
        began: dict[Labels, float] = {(alias,): moment for alias, (moment, _) in times}
        made: dict[Labels, float] = {(alias,): moment for alias, (_, moment) in times}
        self._collectors.show(self.activated, began, gone=math.nan)
        self._collectors.show(self.created, made, gone=math.nan)

    def _show_held(self) -> None:
        items: dict[Labels, float] = {}
        sizes: dict[Labels, float] = {}
        recalls: dict[Labels, float] = {}
        providers: dict[Labels, float] = {}
        for version, figures in self._held.items():
            for variant in figures.variants:
                labels = version, variant.name
                items[labels] = variant.items
                sizes[labels] = variant.index_bytes
                recalls[labels] = variant.recall
                if variant.provider is not None:
                    providers[variant.name, variant.provider] = 1.0
        self._collectors.show(self.index_items, items)
        self._collectors.show(self.index_bytes, sizes)
        self._collectors.show(self.index_recall, recalls)
        self._collectors.show(self.onnx_provider, providers)

    def _forget_old(self) -> None:
        """Let go of versions that have not been loaded for long."""
        for version in set(list(self._counted)[:-_VERSIONS_COUNTED]) - self._held.keys():
            del self._counted[version]
