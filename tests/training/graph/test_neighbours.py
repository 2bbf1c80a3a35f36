import numpy as np

from gnnrec_training.graph.neighbours import Bipartite, sample_neighbourhood
from tests.training.boards import random_interactions


def test_neighbours_are_the_rows_of_the_adjacency_under_the_mask() -> None:
    part = random_interactions(9, 7, 30, 0)
    graph = Bipartite(part.user_rows, part.item_rows, 9, 7)
    passing = np.random.default_rng(0).random(len(part)) < 0.6
    dense = np.zeros((16, 16))
    kept = graph.user_rows[passing], graph.item_rows[passing] + 9
    dense[kept] = 1
    dense[kept[::-1]] = 1
    np.testing.assert_array_equal(graph.neighbours(passing).csr().to_dense().numpy(), dense)


def test_a_sampled_neighbourhood_holds_true_edges_up_to_the_fanout() -> None:
    part = random_interactions(200, 30, 2000, 0)
    neighbours = Bipartite(part.user_rows, part.item_rows, 200, 30).neighbours()
    dense = neighbours.csr().to_dense().numpy()
    seeds = np.array([0, 5, 200, 229])
    nodes, edges = sample_neighbourhood(neighbours, seeds, (4, 3), np.random.default_rng(0))
    assert nodes[:4].tolist() == seeds.tolist()
    assert len(set(nodes)) == len(nodes)
    sources, targets = nodes[edges.numpy()]
    assert (dense[targets, sources] == 1).all()
    assert len(set(zip(sources, targets, strict=True))) == len(sources)
    for target in np.unique(targets):
        limit = 4 if target in seeds else 3
        degree = int(dense[target].sum())
        found = int((targets == target).sum())
        assert found <= limit
        assert found == degree or degree > limit
    every, _ = sample_neighbourhood(neighbours, seeds, (1000, 1000), np.random.default_rng(0))
    reached = dense[seeds].any(0)
    assert set(every) == {*seeds, *np.flatnonzero(reached), *np.flatnonzero(dense[reached].any(0))}
