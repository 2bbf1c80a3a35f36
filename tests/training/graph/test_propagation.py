import pytest
import torch
from torch_geometric.nn import LGConv

from gnnrec_training.config import GraphConfig, LightGCNConfig
from gnnrec_training.data.dataset import Dataset, Interactions
from gnnrec_training.graph.adjacency import adjacency
from gnnrec_training.graph.edges import edges
from gnnrec_training.graph.propagation import propagate, propagate_rows
from gnnrec_training.models.lightgcn import LightGCN
from tests.training.boards import random_interactions

SHAPES = [(1, 1, 0, 0), (4, 6, 10, 1), (40, 25, 300, 2), (200, 300, 3000, 3)]


def dense_adjacency(part: Interactions, users: int, items: int, aggregation: str) -> torch.Tensor:
    matrix = torch.zeros(users + items, users + items, dtype=torch.float64)
    for u, i, w in zip(part.user_rows, part.item_rows, part.weights, strict=True):
        matrix[u, users + i] = matrix[users + i, u] = float(w)
    degree = matrix.sum(1)
    if aggregation == "mean":
        return (matrix / degree[:, None]).float()
    return (matrix / torch.sqrt(degree[:, None] * degree[None, :])).float()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weighted", [False, True])
def test_propagation_equals_pygs_lgconv(shape: tuple[int, int, int, int], weighted: bool) -> None:
    """Weighted edges included, layer by layer, to 1e-5."""
    users, items = shape[:2]
    names = [f"n{row}" for row in range(max(users, items))]
    dataset = Dataset("x", names[:users], names[:items], random_interactions(*shape))
    part = edges(dataset, GraphConfig(weighted=weighted))
    dense = torch.randn(users + items, 16, generator=torch.Generator().manual_seed(0))
    source = torch.from_numpy(part.user_rows).long()
    target = torch.from_numpy(part.item_rows).long() + users
    edge_index = torch.stack([torch.cat([source, target]), torch.cat([target, source])])
    weight = torch.from_numpy(part.weights).repeat(2)
    layers = [dense]
    for _ in range(3):
        layers.append(LGConv()(layers[-1], edge_index, weight))
    graph = adjacency(part, users, items)
    halves = dense[:users], dense[users:]
    for depth in range(4):
        only = [0.0] * depth + [1.0]
        ours = torch.cat(propagate(*halves, graph, only))
        torch.testing.assert_close(ours, layers[depth], atol=1e-5, rtol=1e-5)
    stack = torch.stack(layers)
    for combination, expected in (
        ("mean", stack.mean(0)),
        ("sum", stack.sum(0)),
        ("last", stack[3]),
    ):
        config = LightGCNConfig(num_layers=3, layer_combination=combination)  # type: ignore[arg-type]
        ours = torch.cat(LightGCN(graph, config, halves)())
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("aggregation", ["symmetric", "mean"])
@pytest.mark.parametrize("coefficients", [[1.0], [0.5, 0.5], [0.5, 0.3, 0.2]])
def test_forward_and_gradient_equal_the_dense_formula(
    aggregation: str, coefficients: list[float]
) -> None:
    part = random_interactions(5, 7, 12, 0)
    graph = adjacency(part, 5, 7, aggregation)  # type: ignore[arg-type]
    matrix = dense_adjacency(part, 5, 7, aggregation)
    smooth = sum(
        c * torch.linalg.matrix_power(matrix, power) for power, c in enumerate(coefficients)
    )
    layer0, weight = torch.randn(12, 3), torch.randn(12, 3)
    users, items = layer0[:5].clone().requires_grad_(), layer0[5:].clone().requires_grad_()
    final = torch.cat(propagate(users, items, graph, coefficients))
    torch.testing.assert_close(final.detach(), smooth @ layer0)
    (final * weight).sum().backward()  # type: ignore[no-untyped-call]
    assert users.grad is not None
    assert items.grad is not None
    torch.testing.assert_close(torch.cat([users.grad, items.grad]), smooth.T @ weight)


@pytest.mark.parametrize("aggregation", ["symmetric", "mean"])
def test_propagation_for_a_batchs_nodes_equals_that_for_all(aggregation: str) -> None:
    part = random_interactions(30, 20, 200, 0)
    graph = adjacency(part, 30, 20, aggregation)  # type: ignore[arg-type]
    user_rows, item_rows = torch.tensor([0, 3, 7, 29]), torch.tensor([1, 2, 5, 11, 19])
    weight_users, weight_items = torch.randn(4, 6), torch.randn(5, 6)
    results = []
    for restricted in (True, False):
        users = torch.randn(30, 6, generator=torch.Generator().manual_seed(1)).requires_grad_()
        items = torch.randn(20, 6, generator=torch.Generator().manual_seed(2)).requires_grad_()
        if restricted:
            rows = (user_rows, item_rows)
            final_users, final_items = propagate_rows(users, items, graph, [0.4, 0.6], *rows)
        else:
            final_users, final_items = propagate(users, items, graph, [0.4, 0.6])
            final_users, final_items = final_users[user_rows], final_items[item_rows]
        loss = (final_users * weight_users).sum() + (final_items * weight_items).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        results.append((final_users, final_items, users.grad, items.grad))
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected)
