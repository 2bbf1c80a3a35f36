import numpy as np
import pytest
import torch
from torch_geometric.nn import LGConv

from tests.training.boards import random_interactions
from training.config import ModelConfig
from training.graph import csr, normalised_adjacency, propagate
from training.models.lightgcn import LightGCN

SHAPES = [(1, 1, 0, 0), (4, 6, 10, 1), (40, 25, 300, 2), (200, 300, 3000, 3)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weighted", [False, True])
def test_propagation_equals_pygs_lgconv(shape: tuple[int, int, int, int], weighted: bool) -> None:
    """Weighted edges included, layer by layer, to 1e-5."""
    users, items = shape[:2]
    edges = random_interactions(*shape)
    if not weighted:
        edges.weights[:] = 1
    dense = torch.randn(users + items, 16, generator=torch.Generator().manual_seed(0))
    source = torch.from_numpy(edges.user_rows).long()
    target = torch.from_numpy(edges.item_rows).long() + users
    edge_index = torch.stack([torch.cat([source, target]), torch.cat([target, source])])
    weight = torch.from_numpy(edges.weights).repeat(2)
    layers = [dense]
    for _ in range(3):
        layers.append(LGConv()(layers[-1], edge_index, weight))
    adjacency = normalised_adjacency(edges, users, items)
    for depth in range(4):
        only = [0.0] * depth + [1.0]
        torch.testing.assert_close(
            propagate(dense, adjacency, only), layers[depth], atol=1e-5, rtol=1e-5
        )
    for combination, scale in (("mean", 0.25), ("sum", 1.0)):
        config = ModelConfig(num_layers=3, layer_combination=combination)  # type: ignore[arg-type]
        model = LightGCN(users, items, adjacency, config, torch.Generator(), init=dense)
        expected = scale * torch.stack(layers).sum(0)
        torch.testing.assert_close(model(), expected, atol=1e-5, rtol=1e-5)


def test_the_backward_pass_is_the_gradient() -> None:
    edges = random_interactions(5, 7, 12, 0)
    adjacency = normalised_adjacency(edges, 5, 7)
    dense = adjacency.to_dense()
    embeddings = torch.randn(12, 3, requires_grad=True)
    weight = torch.randn(12, 3)
    (propagate(embeddings, adjacency, [0.5, 0.3, 0.2]) * weight).sum().backward()  # type: ignore[no-untyped-call]
    expected = 0.5 * weight + 0.3 * dense.T @ weight + 0.2 * dense.T @ dense.T @ weight
    assert embeddings.grad is not None
    torch.testing.assert_close(embeddings.grad, expected)


def test_the_adjacency_is_symmetric_int32_and_sorted() -> None:
    edges = random_interactions(30, 20, 200, 0)
    adjacency = normalised_adjacency(edges, 30, 20)
    assert adjacency.col_indices().dtype == torch.int32
    dense = adjacency.to_dense()
    torch.testing.assert_close(dense, dense.T, atol=0, rtol=0)
    matrix = csr(edges, 30)
    for start, stop in zip(matrix.indptr, matrix.indptr[1:], strict=False):
        assert (np.diff(matrix.columns[start:stop]) > 0).all()


def test_given_initial_embeddings_are_layer_0() -> None:
    edges = random_interactions(3, 4, 5, 0)
    init = torch.randn(7, 2)
    config = ModelConfig(num_layers=0, embedding_dim=2)
    model = LightGCN(3, 4, normalised_adjacency(edges, 3, 4), config, torch.Generator(), init)
    users, items = model.embeddings()
    torch.testing.assert_close(torch.cat([users, items]), init)
