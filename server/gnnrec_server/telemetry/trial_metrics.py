"""Metrics of trials: the candidates, what their shadows compute, and trials ended by a guard."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from prometheus_client import Counter, Histogram

from gnnrec_registry import Candidate
from gnnrec_server.telemetry.collectors import Collectors, Labels, observe

ShadowResult = Literal["compared", "dropped", "failed"]
Return = Literal["returned", "overtaken", "failed"]
Side = Literal["stable", "candidate"]

_SIDE = ("alias", "version")
_BOTH_SIDES = ("alias", "version", "side")
_SHARES = tuple(tenth / 10 for tenth in range(11))
_DRIFTS = (0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_RESULTS: tuple[ShadowResult, ...] = get_args(ShadowResult)
_ENDS = ("ok", "failed")


@dataclass(frozen=True)
class _Counted:
    """The Prometheus children of one side, looked up once and not at each request."""

    ok: Counter
    failed: Counter
    durations: Histogram


class TrialMetrics:
    """The metrics of the trials that a server process takes part in."""

    def __init__(self, collectors: Collectors) -> None:
        """Make the metrics."""
        self._collectors = collectors
        self._tried: set[Labels] = set()
        self._sides: dict[Labels, _Counted] = {}
        self._behind = collectors.gauge(
            "gnnrec_alias_behind",
            "1 for an alias that is answered by another version than it names, which is refused.",
            ("alias", "named", "version"),
        )
        self._percent = collectors.gauge(
            "gnnrec_trial_percent",
            "The share of subjects that an alias's candidate answers, in percent.",
            _SIDE,
        )
        self._waiting = collectors.gauge(
            "gnnrec_trial_waiting",
            "1 for a candidate that answers nobody: it is not loaded, or cannot be.",
            _SIDE,
        )
        self._requests = collectors.counter(
            "gnnrec_trial_requests",
            "Requests of a trial's two sides, each entry of a batch for itself, by result.",
            (*_BOTH_SIDES, "result"),
        )
        self._durations = collectors.histogram(
            "gnnrec_trial_duration_seconds",
            "Time to finish a request of a trial's two sides; batches are left out.",
            _BOTH_SIDES,
        )
        self._shadowed = collectors.counter(
            "gnnrec_shadow_requests",
            "Requests offered to an alias's shadow, by result.",
            (*_SIDE, "result"),
        )
        self._overlap = collectors.histogram(
            "gnnrec_shadow_overlap",
            "The share of the answered items that the shadow has among its own.",
            _SIDE,
            _SHARES,
        )
        self._drift = collectors.histogram(
            "gnnrec_shadow_score_drift",
            "Mean distance of the shadow's scores, as a share of the answered scores.",
            _SIDE,
            _DRIFTS,
        )
        self._seconds = collectors.histogram(
            "gnnrec_shadow_duration_seconds", "Time in which the shadow has computed.", _SIDE
        )
        self._returns = collectors.counter(
            "gnnrec_guard_returns",
            "Trials that a guard was to end, by result.",
            ("alias", "result"),
        )

    def show_behind(self, behind: Mapping[str, tuple[str, str]]) -> None:
        """Show the aliases that are answered by another version than they name."""
        values: dict[Labels, float] = {
            (alias, *versions): 1.0 for alias, versions in behind.items()
        }
        self._collectors.show(self._behind, values)

    def show_trials(self, candidates: Mapping[str, Candidate]) -> None:
        """Show the candidate of each alias, and drop the series of trials that have ended."""
        tried: dict[Labels, float] = {
            (alias, candidate.version): candidate.percent for alias, candidate in candidates.items()
        }
        for labels in self._tried - tried.keys():
            for result in _RESULTS:
                self._collectors.drop(self._shadowed, (*labels, result))
            for histogram in (self._overlap, self._drift, self._seconds):
                self._collectors.drop(histogram, labels)
        for labels in tried.keys() - self._tried:
            for result in _RESULTS:
                self._shadowed.labels(*labels, result)
            for histogram in (self._overlap, self._drift, self._seconds):
                histogram.labels(*labels)
        self._tried = set(tried)
        self._collectors.show(self._percent, tried)

    def show_sides(self, versions: Mapping[str, tuple[str, str]]) -> None:
        """Show both sides of each alias's trial at 0, and drop those of trials that have ended.

        versions: the stable one and the candidate, by alias.
        """
        sides: set[Labels] = {
            (alias, version, side)
            for alias, both in versions.items()
            for version, side in zip(both, get_args(Side), strict=True)
        }
        for labels in self._sides.keys() - sides:
            del self._sides[labels]
            for result in _ENDS:
                self._collectors.drop(self._requests, (*labels, result))
            self._collectors.drop(self._durations, labels)
        for labels in sides - self._sides.keys():
            ok, failed = (self._requests.labels(*labels, result) for result in _ENDS)
            self._sides[labels] = _Counted(ok, failed, self._durations.labels(*labels))
        for alias in versions:
            for returned in get_args(Return):
                self._returns.labels(alias, returned)

    def show_waiting(self, versions: Mapping[str, tuple[str, str]]) -> None:
        """Show the candidates that answer nobody; versions as in show_sides."""
        values: dict[Labels, float] = {
            (alias, candidate): 1.0 for alias, (_, candidate) in versions.items()
        }
        self._collectors.show(self._waiting, values)

    def count_request(self, labels: Labels, failed: bool, seconds: float | None) -> None:
        """Count a request of a side: alias, version, side; one of a batch has no duration."""
        side = self._sides.get(labels)
        if side is None:
            return  # the trial has ended, and its series are gone
        (side.failed if failed else side.ok).inc()
        if seconds is not None:
            observe(side.durations, seconds)

    def count_shadow(self, labels: Labels, result: ShadowResult) -> None:
        """Count a request that was offered to the shadow of an alias and version."""
        if labels in self._tried:  # else it has ended, and its series are gone
            self._shadowed.labels(*labels, result).inc()

    def observe_shadow(
        self, labels: Labels, overlap: float | None, drift: float, seconds: float
    ) -> None:
        """Note what the shadow of an alias and version has computed; Score has no overlap."""
        if labels in self._tried:
            if overlap is not None:
                self._overlap.labels(*labels).observe(overlap)
            self._drift.labels(*labels).observe(drift)
            self._seconds.labels(*labels).observe(seconds)

    def count_return(self, alias: str, result: Return) -> None:
        """Count a trial that a guard has ended, or was to end."""
        self._returns.labels(alias, result).inc()
