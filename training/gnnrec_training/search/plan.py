"""How a search spends its time: how many trials of each kind of model, decided beforehand.

The plan follows from the minutes and the data's figures, and not from a clock, so that it is the
same each time. What a model costs is estimated for two cores of a server of today; where they are
slower, the clock ends the search when the time is up, and the record says so.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gnnrec_training.config import Config, Family
from gnnrec_training.config.defaults import Figures, defaults

_FLOPS = 1e10
"""Products of dense matrices, a second."""
_GATHERS = 5e8
"""Numbers of scattered rows that are added up, a second."""
_STEP_S = 0.004
"""What a training step costs besides its products."""
_PLANNED = 0.8
"""The share of the time that is planned for; the rest is slack."""
_ALONE = 0.6
"""The share of all time that one training of LightGCN may take, if there is none to compare."""
SHORT = 0.25
"""A trial of LightGCN has this share of its epochs."""
_USERS_ASKED = 5000

_MOST_TRIALS = 40
_SHARES: dict[Family, float] = {
    "ease": 0.12, "spectral": 0.1, "als": 0.12, "cooccurrence": 0.08, "lightgcn": 0.45,
    "hybrid": 0.13,
}  # fmt: skip
"""How the time is shared, in the order of trials."""
_FUSION = 0.1
"""The share of the time that is kept for fusion."""
_GRAPH = 0.15
"""The most that the choice of a graph may take."""
GRAPH_PROBES = 8
"""About so many models are computed to choose a graph."""


@dataclass(frozen=True)
class Plan:
    """How many trials of each kind of model, and for how long at most."""

    minutes: float
    trials: dict[Family, int]
    """0 for a kind that there is no time for; of LightGCN 1 for its defaults, trained in full."""
    costs: dict[Family, float]
    """About how many seconds one of each takes; of LightGCN a whole training."""
    until: dict[Family, float]
    """After so many seconds of the search no further trial of a kind begins."""

    @property
    def seconds(self) -> float:
        """The time for all of it; no limit without minutes."""
        return self.minutes * 60 if self.minutes else math.inf

    def has_time_for_graphs(self, probe: Family) -> bool:
        """Tell whether graphs can be compared by one kind of model."""
        cost = self.costs.get(probe, math.inf)
        return self.minutes > 0 and GRAPH_PROBES * cost <= _GRAPH * self.seconds


def minutes_for(figures: Figures) -> float:
    """Return the time for a search that none is configured for: a minute for 50,000 interactions.

    At least one, at most 20.
    """
    return min(20.0, max(1.0, figures.interactions / 50_000))


def plan(config: Config, figures: Figures, families: Sequence[Family]) -> Plan:
    """Return what to try: each of the families once without any minutes."""
    assert config.search is not None
    minutes = config.search.minutes
    minutes = minutes_for(figures) if minutes is None else minutes
    costs = {family: cost(family, figures) for family in families}
    if minutes == 0:
        once = dict.fromkeys(families, 1)
        return Plan(0.0, once, costs, dict.fromkeys(families, math.inf))
    seconds = minutes * 60 * (1 - _FUSION)
    shares = sum(_SHARES[family] for family in families)
    trials, until, passed = {}, {}, 0.0
    for family in _SHARES:
        if family not in families:
            continue
        share = seconds * _SHARES[family] / shares
        passed += share
        until[family] = passed
        trials[family] = _trials(family, costs[family], share * _PLANNED, seconds)
    return Plan(minutes, trials, costs, until)


def _trials(family: Family, cost: float, share: float, seconds: float) -> int:
    """Return how many trials of a kind there is time for.

    cost: of one, in seconds; share: what this kind may take of the `seconds` for all
    """
    if family == "lightgcn":
        # the best is trained in full, after short trials for what is left
        short = int((share - cost) // (cost * SHORT))
        return min(_MOST_TRIALS, short) if short > 1 else int(cost < seconds * _ALONE)
    return min(_MOST_TRIALS, int(share // cost)) or int(cost < seconds * _ALONE / 4)


def cost(family: Family, figures: Figures) -> float:
    """Return about how many seconds a fit at the defaults takes, with its validation."""
    users, items, edges = figures.users, figures.catalogue, figures.interactions
    sections = defaults(figures, patient=True)
    width = sections[family].get("embedding_dim", 64) if family in sections else 64
    asked = min(users, _USERS_ASKED)
    validation = 2 * asked * items * (width / _FLOPS + 1 / _GATHERS)
    match family:
        case "spectral" | "ease":
            return _spectrum(figures, width) + validation
        case "als":
            outer = edges * width**2 * 4 + (users + items) * width**3
            return 10 * (outer / _FLOPS + (users + items) * 2e-5) + validation
        case "cooccurrence":
            return edges * (edges / users) / 1e8 + items**2 / 1e9 + validation
        case "lightgcn":
            return _lightgcn(figures, width) + 8 * validation
        case "hybrid":
            return 30e-6 * edges + 20 + 4 * validation


def _lightgcn(figures: Figures, width: int) -> float:
    """Return about how many seconds LightGCN's whole training takes at its defaults."""
    fit = defaults(figures, patient=True)["lightgcn"]["training"]
    steps = fit["epochs"] * max(1, figures.users / fit["batch_size"])
    products = 6 * fit["batch_size"] * fit["negatives"] * width / _FLOPS
    propagation = 4 * figures.interactions * width / _GATHERS / 8
    return float(steps * (_STEP_S + products + propagation))


def _spectrum(figures: Figures, width: int) -> float:
    if figures.smaller <= 3000:
        return 2e-10 * figures.smaller**3 + 1e-9 * figures.smaller * figures.interactions
    basis = 1.8 * width + 64
    return float(
        basis * figures.interactions * 4 / _GATHERS / 4
        + 2 * basis**2 * figures.catalogue / _FLOPS
        + (2 * figures.catalogue**3 / _FLOPS if figures.catalogue <= 20_000 else 0)
    )
