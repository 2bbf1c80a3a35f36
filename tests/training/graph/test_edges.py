import numpy as np

from gnnrec_training.config import GraphConfig
from gnnrec_training.data.dataset import Dataset, Interactions
from gnnrec_training.graph.edges import as_of, edges
from tests.training.boards import interactions


def test_an_edge_counts_half_after_each_half_life() -> None:
    day = 86_400.0
    part = interactions([(0, 0), (0, 1), (0, 2)], [2, 2, 2])
    part = Interactions(part.user_rows, part.item_rows, part.weights, np.array([0, 10, 20]) * day)
    dataset = Dataset("x", ["u"], ["a", "b", "c"], part)
    config = GraphConfig(weighted=True, half_life_days=10)
    assert edges(dataset, config).weights.tolist() == [0.5, 1, 2]
    assert as_of(part, config) == 20 * day
    fixed = GraphConfig(half_life_days=10, as_of=10 * day)
    assert edges(dataset, fixed).weights.tolist() == [0.5, 1, 1], "the future counts fully"
    assert as_of(part, GraphConfig()) is None
    ancient = GraphConfig(half_life_days=0.001)
    assert (edges(dataset, ancient).weights > 0).all(), "an old edge never vanishes"
