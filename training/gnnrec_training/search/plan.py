"""How a search spends its time: how many trials of each kind of model, decided beforehand.

The plan follows from the minutes and the data's figures, and not from a clock, so that it is the
same each time. What a model costs is estimated for two cores of a server of today; where they are
slower, the clock ends the search when the time is up, and the record says so.
"""

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
_SPENT = 0.8
"""The share of the time that is planned for; the rest is slack."""
_USERS_ASKED = 5000

_MOST_TRIALS = 40
_SHARES: dict[Family, float] = {
    "spectral": 0.15, "ease": 0.2, "als": 0.15, "cooccurrence": 0.1, "lightgcn": 0.3, "hybrid": 0.1,
}  # fmt: skip
"""How the time is shared."""
_AFTERWARDS = 0.15
"""The share of the time that is kept for fusion."""


@dataclass(frozen=True)
class Plan:
    """How many trials of each kind of model, and for how long at most."""

    minutes: float
    trials: dict[Family, int]
    """0 for a kind that there is no time for."""
    costs: dict[Family, float]
    """About how many seconds one of each takes."""

    @property
    def seconds(self) -> float:
        """After so many seconds no further trial begins; no limit without a search."""
        return self.minutes * 60 if self.minutes else float("inf")


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
        return Plan(0.0, dict.fromkeys(families, 1), costs)
    seconds = minutes * 60 * _SPENT * (1 - _AFTERWARDS)
    shares = sum(_SHARES[family] for family in families)
    trials = {}
    for family in families:
        share = seconds * _SHARES[family] / shares
        # a first trial may take what others leave, as long as it leaves half of the time
        count = int(share // costs[family]) or int(costs[family] < seconds / 2)
        trials[family] = min(_MOST_TRIALS, count)
    return Plan(minutes, trials, costs)


def cost(family: Family, figures: Figures) -> float:
    """Return about how many seconds one trial takes: the fit at its defaults, and its validation."""
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
            # a trial has a quarter of the epochs
            return lightgcn_seconds(figures, width) / 4 + 4 * validation
        case "hybrid":
            return 30e-6 * edges + 20 + 4 * validation


def lightgcn_seconds(figures: Figures, width: int) -> float:
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
