import pytest
import torch

from gnnrec_training.config import LightGCNConfig
from gnnrec_training.graph.adjacency import adjacency
from gnnrec_training.graph.propagation import propagate
from gnnrec_training.models.lightgcn import coefficients
from gnnrec_training.models.warm_start import from_neighbours, layer0_of
from tests.training.boards import interactions, random_interactions


@pytest.mark.parametrize("layers", [0, 1, 2, 3])
@pytest.mark.parametrize("combination", ["mean", "sum"])
@pytest.mark.parametrize("aggregation", ["symmetric", "mean"])
def test_more_steps_find_a_layer_0_with_the_published_embeddings(
    layers: int, combination: str, aggregation: str
) -> None:
    config = LightGCNConfig.model_validate(
        {"num_layers": layers, "layer_combination": combination, "aggregation": aggregation}
    )
    weights = coefficients(config)
    graph = adjacency(random_interactions(20, 30, 150, 0), 20, 30, config.aggregation)
    generator = torch.Generator().manual_seed(0)
    layer0 = torch.randn(20, 8, generator=generator), torch.randn(30, 8, generator=generator)
    final = propagate(*layer0, graph, weights)

    def left(steps: int) -> float:
        again = propagate(*layer0_of(final, graph, weights, steps), graph, weights)
        return float((torch.cat(again) - torch.cat(final)).norm() / torch.cat(final).norm())

    errors = [left(steps) for steps in (0, 3, 30, 300)]
    if layers == 0:
        assert errors[1] < 1e-6
    else:
        assert errors[0] > errors[1] > errors[2] > errors[3]
        assert errors[3] < 0.02


def test_who_is_new_gets_the_mean_of_the_neighbours_that_are_known() -> None:
    users, items = torch.zeros(4, 2), torch.zeros(4, 2)
    users[0], items[0], items[1] = (torch.tensor(pair) for pair in ([1.0, 2], [3.0, 0], [0.0, 5]))
    edges = interactions([(0, 0), (1, 0), (1, 1), (1, 2), (2, 2), (3, 3)])
    filled_users, filled_items = from_neighbours(users, items, edges, torch.Generator())
    assert torch.equal(filled_users[0], users[0])
    assert torch.equal(filled_items[:2], items[:2])
    assert filled_users[1].tolist() == [1.5, 2.5], "item 2 is new itself"
    assert filled_items[2].tolist() == [1.5, 2.5], "of the users that have something by now"
    for lonely in (filled_users[3], filled_items[3]):
        assert lonely.abs().sum() > 0, "only new neighbours: random"
