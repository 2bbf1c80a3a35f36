"""How a search spends its time: how many trials of each kind of model, decided beforehand.

The plan follows from the minutes and the data's figures, and not from a clock, so that it is the
same each time. What a model costs is estimated for two cores of a server of today; where they are
slower, the clock ends the search when the time is up, and the record says so.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gnnrec_training.config import Config, Family
from gnnrec_training.config.defaults import Figures, defaults
from gnnrec_training.evaluation.judge import MOST_FUSED_USERS, MOST_USERS
from gnnrec_training.search.models import SHORT

_FLOPS = 1e11
"""Operations of large dense products, a second."""
_SMALL_FLOPS = 1e10
"""Operations of many small ones."""
_MEDIUM_FLOPS = 2.5e10
"""Those of products whose results are exponentiated."""
_GATHERS = 1e9
"""Numbers of scattered rows that are added up, a second."""
_SCORES = 1e8
"""Scores that are ranked, a second."""
_STEP_S = 0.004
"""What a training step costs besides its products."""
_PLANNED = 0.8
"""The share of the time that is planned for; the rest is slack."""
_MOST = 0.8
"""The most of all time that LightGCN's two whole trainings may take, or it is left out."""
_MOST_CLOSED = 0.15
"""The most of all time that one model of another kind may take."""
_SMALL, _EXACT = 3_000, 20_000
"""The smaller side up to which spectra are complete, and the items up to which EASE inverts."""

_MOST_TRIALS = 40
_SHARES: dict[Family, float] = {
    "ease": 0.12, "spectral": 0.1, "als": 0.12, "cooccurrence": 0.08, "lightgcn": 0.45,
    "hybrid": 0.13,
}  # fmt: skip
"""How the time is shared, in the order of trials: the simplest kind of model first."""
ORDER = tuple(_SHARES)
"""The kinds of models in this order."""
_FUSION = 0.1
"""The share of the time that is kept for fusion."""
_FEWEST_FUSED_USERS = 1000
_WEIGHTS_TRIED = 6e-4
"""About how many seconds it takes to try all weights on one user's pool."""
_GRAPH = 0.15
"""The most that the choice of a graph may take."""
_GRAPH_S = 10.0
"""And the most seconds without minutes."""
GRAPH_PROBES = 9
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
    fused_users: int = MOST_FUSED_USERS
    """So many users are asked about fusions."""

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {family}" for family, count in self.trials.items() if count)
        left_out = [family for family, count in self.trials.items() if count == 0]
        without = f"; no time for {', '.join(left_out)}" if left_out else ""
        return f"{self.minutes:g} minutes for {kinds} trials{without}; --minutes sets the time"

    @property
    def seconds(self) -> float:
        """The time for all of it; no limit without minutes."""
        return self.minutes * 60 if self.minutes else math.inf

    def has_time_for_graphs(self, probe: Family) -> bool:
        """Tell whether graphs can be compared by one kind of model.

        Without minutes that is done where it takes seconds: what age counts is no default that
        suits all data.
        """
        most = _GRAPH * self.seconds if self.minutes else _GRAPH_S
        return GRAPH_PROBES * self.costs.get(probe, math.inf) <= most


def minutes_for(figures: Figures) -> float:
    """Return the time for a search that none is configured for: a minute for 40,000 interactions.

    At least two minutes, at most an hour.
    """
    return min(60.0, max(2.0, round(figures.interactions / 40_000, 1)))


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
    trials: dict[Family, int] = dict.fromkeys(families, 0)
    there = [family for family in families if _fits(family, costs[family], seconds)]
    for family in there:
        share = seconds * _SHARES[family] / sum(_SHARES[other] for other in there)
        trials[family] = _trials(family, costs[family], share * _PLANNED)
    if not there:
        trials[min(costs, key=lambda family: costs[family])] = 1
    share = minutes * 60 * _FUSION * _PLANNED
    asked = share / _fused_user(figures, [family for family in trials if trials[family]])
    fused_users = int(min(MOST_FUSED_USERS, max(_FEWEST_FUSED_USERS, asked)))
    return Plan(minutes, trials, costs, _until(trials, seconds), fused_users)


def _fits(family: Family, cost: float, seconds: float) -> bool:
    """Tell whether there is time for one model of a kind, of so many seconds for all."""
    if family == "lightgcn":
        return 2 * cost < seconds * _MOST
    return cost < seconds * _MOST_CLOSED


def _trials(family: Family, cost: float, share: float) -> int:
    """Return how many trials of a kind to make, in `share` seconds of which one costs `cost`.

    Of LightGCN one means that its defaults are trained in full. More are short ones, after which
    the best is trained in full; and what was chosen is trained once more before the test.
    """
    if family == "lightgcn":
        short = int((share - 2 * cost) // (cost * SHORT))
        return min(_MOST_TRIALS, short) if short > 1 else 1
    return min(_MOST_TRIALS, max(1, int(share // cost)))


def _until(trials: Mapping[Family, int], seconds: float) -> dict[Family, float]:
    """Return after how many seconds no further trial of a kind begins, by the shares."""
    shares = [_SHARES[family] if count else 0.0 for family, count in trials.items()]
    passed = itertools.accumulate(shares)
    return {
        family: seconds * share / sum(shares) for family, share in zip(trials, passed, strict=True)
    }


def cost(family: Family, figures: Figures) -> float:
    """Return about how many seconds a fit at the defaults takes, with its validation."""
    users, items, edges = figures.users, figures.catalogue, figures.interactions
    width = _width(family, figures)
    validation = min(users, MOST_USERS) * _ranking(family, figures)
    match family:
        case "spectral" | "ease":
            return _spectrum(figures, width) + _inverse(family, figures) + validation
        case "als":
            outer = edges * width**2 * 4 + (users + items) * width**3
            return 10 * (outer / _SMALL_FLOPS + (users + items) * 2e-5) + validation
        case "cooccurrence":
            return edges * (edges / users) / 1e8 + items**2 * 5e-9 + validation
        case "lightgcn":
            return _lightgcn(figures, width) + 8 * validation
        case "hybrid":
            return 30e-6 * edges + 20 + 4 * validation


def _width(family: Family, figures: Figures) -> int:
    sections = defaults(figures, patient=True)
    width: int = sections[family].get("embedding_dim", 64) if family in sections else 64
    return width


def _ranking(family: Family, figures: Figures) -> float:
    """Return about how many seconds it takes to rank all items for one user."""
    return figures.catalogue * (2 * _width(family, figures) / _FLOPS + 1 / _SCORES)


def _fused_user(figures: Figures, families: Sequence[Family]) -> float:
    """Return about how many seconds one user costs who is asked about fusions."""
    return _WEIGHTS_TRIED + sum(_ranking(family, figures) for family in families)


def _lightgcn(figures: Figures, width: int) -> float:
    """Return about how many seconds LightGCN's whole training takes at its defaults."""
    fit = defaults(figures, patient=True)["lightgcn"]["training"]
    steps = fit["epochs"] * max(1, figures.users / fit["batch_size"])
    layers = defaults(figures, patient=True)["lightgcn"]["num_layers"]
    products = 6 * fit["batch_size"] * fit["negatives"] * width / _MEDIUM_FLOPS
    propagation = layers * figures.interactions * width / _GATHERS
    return float(steps * (_STEP_S + products + propagation))


def _inverse(family: Family, figures: Figures) -> float:
    """Return what EASE's matrix takes where it is inverted."""
    inverted = family == "ease" and figures.smaller > _SMALL and figures.catalogue <= _EXACT
    return 2 * figures.catalogue**3 / _FLOPS if inverted else 0.0


def _spectrum(figures: Figures, width: int) -> float:
    if figures.smaller <= _SMALL:
        return 2e-10 * figures.smaller**3 + 1e-9 * figures.smaller * figures.interactions
    basis = 1.8 * width + 64
    return basis * figures.interactions * 5.4e-9 + basis**2 * figures.catalogue * 5.3e-11
