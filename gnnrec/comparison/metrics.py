"""Differences of metrics, with bootstrap intervals over users. V users, M metrics, R rounds."""

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gnnrec_registry import Version
from gnnrec_registry.errors import VersionCorrupt
from gnnrec_registry.files.json import Json
from gnnrec_registry.files.layout import REPORT
from gnnrec_registry.pages.html import metric_place
from gnnrec_registry.scoring.metrics import Hits

_ROUNDS = 1000
_LEVEL = 0.95

Values = NDArray[np.float64]


@dataclass(frozen=True)
class MetricDifference:
    """One metric of two versions, and the confidence interval of their difference.

    `a` and `b` are as published. `difference` is the mean of b - a over the `users` measured in
    both versions; `low` and `high` are the bounds of its 95% bootstrap interval. The three are None
    if no user was measured in both, or if the metric has no value for each user.
    """

    split: str
    metric: str
    a: float | None
    b: float | None
    users: int = 0
    difference: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def verdict(self) -> str:
        """Return better, worse, or unclear if the interval contains 0; "" without one."""
        if self.low is None or self.high is None:
            return ""
        return "better" if self.low > 0 else "worse" if self.high < 0 else "unclear"


def metric_differences(
    a: Version, b: Version, variants: tuple[str, str], advance: Callable[[float], None]
) -> list[MetricDifference]:
    """Compare every metric of a variant of each version, those on the test part first."""
    published = [
        version.manifest.variants[variant].metrics
        for version, variant in zip((a, b), variants, strict=True)
    ]
    splits = [
        split for split in ("test", "validation") if any(split in metrics for metrics in published)
    ]
    found = []
    for done, split in enumerate(splits):
        ours, theirs = (metrics.get(split, {}) for metrics in published)
        paired, users = _paired(a, b, variants, split)
        intervals = bootstrap(np.stack(list(paired.values()), 1)) if users else None
        for metric in sorted(ours.keys() | theirs.keys(), key=metric_place):
            values = (ours.get(metric), theirs.get(metric))
            if intervals is None or metric not in paired:
                found.append(MetricDifference(split, metric, *values))
                continue
            place = list(paired).index(metric)
            found.append(
                MetricDifference(
                    split, metric, *values, users, *(float(part[place]) for part in intervals)
                )
            )
        advance((done + 1) / len(splits))
    return found


def bootstrap(differences: Values, seed: int = 0) -> tuple[Values, Values, Values]:
    """Return the mean of each column, and the bounds of its 95% percentile interval.

    differences (V, M) -> (M,) three times. Users are drawn with replacement, as many as there are,
    1000 times (Efron and Tibshirani 1993, "An Introduction to the Bootstrap", 13.3).
    """
    users = len(differences)
    generator = np.random.default_rng(seed)
    means = np.empty((_ROUNDS, differences.shape[1]))
    for number in range(_ROUNDS):
        drawn = np.bincount(generator.integers(users, size=users), minlength=users)
        means[number] = drawn @ differences / users
    tail = (1 - _LEVEL) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    return differences.mean(axis=0), low, high


def _paired(
    a: Version, b: Version, variants: tuple[str, str], split: str
) -> tuple[dict[str, Values], int]:
    """Return b - a by user for every metric both have, over the users measured in both."""
    (a_users, ours), (b_users, theirs) = (
        _per_user(version, variant, split)
        for version, variant in zip((a, b), variants, strict=True)
    )
    place = {user: row for row, user in enumerate(b_users)}
    pairs = [(row, place[user]) for row, user in enumerate(a_users) if user in place]
    if not pairs:
        return {}, 0
    in_a, in_b = np.array(pairs).T
    both = [metric for metric in ours if metric in theirs]
    return {metric: theirs[metric][in_b] - ours[metric][in_a] for metric in both}, len(pairs)


def _per_user(version: Version, variant: str, split: str) -> tuple[list[str], dict[str, Values]]:
    """Return the ids of the users measured, and each metric by user (V,)."""
    report = json.loads(version.read(REPORT))
    entry = report.get("slices", {}).get(variant, {}).get(split)
    if entry is None:
        return [], {}
    if "hits" in entry:
        return _from_hits(version, entry["hits"])
    # older versions store the metrics of each user instead of the ranks of the hits
    array = version.array(entry["per_user"])
    names = entry["per_user_columns"]
    users = [version.user_ids[row] for row in array[:, 0].astype(np.int64)]
    return users, {
        name: array[:, column].astype(np.float64) for column, name in enumerate(names) if column
    }


def _from_hits(version: Version, entry: Json) -> tuple[list[str], dict[str, Values]]:
    held_out = version.array(entry["held_out"])
    rows = np.flatnonzero(held_out)
    try:
        hits = Hits.unpacked(version.array(entry["ranks"]), held_out[rows])
    except ValueError as error:
        raise VersionCorrupt(f"version {version.name!r}: {entry['ranks']} has {error}") from None
    users = [version.user_ids[row] for row in rows]
    return users, {name: values for k in entry["k"] for name, values in hits.metrics(k).items()}
