"""Metrics of trials: who is tried, what its shadow computes, when a guard ends it."""

from collections.abc import Mapping
from typing import Literal

from registry import Candidate
from server.series import Labels, Series

ShadowResult = Literal["compared", "dropped", "failed"]
Return = Literal["returned", "overtaken", "failed"]

_SIDE = ("alias", "version")
_SHARES = tuple(tenth / 10 for tenth in range(11))
_DRIFTS = (0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_RESULTS: tuple[ShadowResult, ...] = ("compared", "dropped", "failed")


class TrialMetrics:
    """What a server process tells of the trials that it takes part in."""

    def __init__(self, series: Series) -> None:
        """Make the metrics."""
        self._series = series
        self._tried: set[Labels] = set()
        self._behind = series.gauge(
            "gnnrec_alias_behind",
            "1 for an alias that is answered by another version than it names, which is refused.",
            ("alias", "named", "version"),
        )
        self._percent = series.gauge(
            "gnnrec_trial_percent",
            "The share of subjects that an alias's candidate answers, in percent.",
            _SIDE,
        )
        self._shadowed = series.counter(
            "gnnrec_shadow_requests",
            "Requests offered to an alias's shadow, by result.",
            (*_SIDE, "result"),
        )
        self._overlap = series.histogram(
            "gnnrec_shadow_overlap",
            "The share of the answered items that the shadow has among its own.",
            _SIDE,
            _SHARES,
        )
        self._drift = series.histogram(
            "gnnrec_shadow_score_drift",
            "Mean distance of the shadow's scores, as a share of the answered scores.",
            _SIDE,
            _DRIFTS,
        )
        self._seconds = series.histogram(
            "gnnrec_shadow_duration_seconds", "Time in which the shadow has computed.", _SIDE
        )
        self._returns = series.counter(
            "gnnrec_guard_returns",
            "Trials that a guard was to end, by result.",
            ("alias", "result"),
        )

    def show_behind(self, behind: Mapping[str, tuple[str, str]]) -> None:
        """Show the aliases that are answered by another version than they name."""
        values: dict[Labels, float] = {
            (alias, *versions): 1.0 for alias, versions in behind.items()
        }
        self._series.show(self._behind, values)

    def show_trials(self, candidates: Mapping[str, Candidate]) -> None:
        """Show what each alias tries, and drop the series of trials that have ended."""
        tried: dict[Labels, float] = {
            (alias, candidate.version): candidate.percent for alias, candidate in candidates.items()
        }
        for labels in self._tried - tried.keys():
            for result in _RESULTS:
                self._series.drop(self._shadowed, (*labels, result))
            for histogram in (self._overlap, self._drift, self._seconds):
                self._series.drop(histogram, labels)
        for labels in tried.keys() - self._tried:
            for result in _RESULTS:
                self._shadowed.labels(*labels, result)
            for histogram in (self._overlap, self._drift, self._seconds):
                histogram.labels(*labels)
        self._tried = set(tried)
        self._series.show(self._percent, tried)

    def count_shadow(self, labels: Labels, result: ShadowResult) -> None:
        """Count a request that was offered to the shadow of an alias and version."""
        if labels in self._tried:  # else it has ended, and its series are gone
            self._shadowed.labels(*labels, result).inc()

    def observe_shadow(self, labels: Labels, overlap: float, drift: float, seconds: float) -> None:
        """Note what the shadow of an alias and version has computed."""
        if labels in self._tried:
            self._overlap.labels(*labels).observe(overlap)
            self._drift.labels(*labels).observe(drift)
            self._seconds.labels(*labels).observe(seconds)

    def count_return(self, alias: str, result: Return) -> None:
        """Count a trial that a guard has ended, or was to end."""
        self._returns.labels(alias, result).inc()
