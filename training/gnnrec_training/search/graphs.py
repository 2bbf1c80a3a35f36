"""What a search may choose about the graph: how much disliked items, weights and age count."""

from gnnrec_training.config import Config, GraphConfig
from gnnrec_training.data.dataset import Dataset

_DISLIKED = (0.5, 0.25, 1.0, 0.0)
_SHARES_OF_SPAN = (0.5, 0.125)
_DAY_S = 86_400.0
_LEAST_DAYS = 7.0
"""Data of fewer days do not tell how tastes age."""


def alternatives(config: Config, dataset: Dataset) -> list[list[GraphConfig]]:
    """Return groups of graphs to try, one group after the other; the simplest of each comes first.

    The first of the first group is the configured one, and each group varies what the one before
    chose: its members differ from `config.graph` in one respect alone.
    """
    graph, groups = config.graph, []
    if len(dataset.disliked):
        groups.append([_with(graph, disliked_weight=weight) for weight in _DISLIKED])
    weights = dataset.train.weights
    if config.data.weight_column is not None and weights.min() < weights.max():
        groups.append([_with(graph, weighted=how) for how in ("log", True)])
    days = _days(config, dataset)
    if days >= _LEAST_DAYS:
        groups.append([_with(graph, half_life_days=days * share) for share in _SHARES_OF_SPAN])
    return groups


def joined(chosen: GraphConfig, varied: GraphConfig, base: GraphConfig) -> GraphConfig:
    """Return the chosen graph with what a varied one changes about the base."""
    changed = {
        key: value for key, value in varied.model_dump().items() if value != getattr(base, key)
    }
    return chosen.model_copy(update=changed)


def _with(graph: GraphConfig, **changed: object) -> GraphConfig:
    return graph.model_copy(update=changed)


def _days(config: Config, dataset: Dataset) -> float:
    """Return how many days the interactions span; 0 where times are no moments."""
    times = dataset.train.times
    if config.data.time_column is None or times is None or dataset.summary.unit in (None, "order"):
        return 0.0
    return float(times.max() - times.min()) / _DAY_S
