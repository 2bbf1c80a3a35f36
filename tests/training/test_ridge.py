import numpy as np
import pytest
import torch

from gnnrec_training.config import HybridConfig
from gnnrec_training.nodes import ridge as module
from gnnrec_training.nodes.fit import embed_hybrid, fit_hybrid
from gnnrec_training.nodes.ridge import ridge
from tests.training.test_nodes import (
    CPU,
    QUICK,
    USERS,
    find_their_kind,
    graph_embeddings,
    inputs,
)


@pytest.mark.parametrize("columns", [3, 20], ids=["more rows", "more columns"])
def test_ridge_equals_its_formula(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 4)
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(10, columns)), generator.normal(size=(10, 2))
    expected = np.linalg.solve(x.T @ x + 0.5 * np.eye(columns), x.T @ y)
    found = ridge(torch.from_numpy(x).float(), torch.from_numpy(y).float(), 0.5)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_the_hybrid_starts_from_a_ridge_to_the_graph_embeddings() -> None:
    still = QUICK.model_copy(update={"learning_rate": 1e-12, "epochs": 1})
    config = HybridConfig(hidden_dim=16, ridge_l2=2.0, training=still)
    data, graph = inputs(), graph_embeddings()
    model, _ = fit_hybrid(data, graph, config, 0, CPU)
    weights = ridge(data.x[USERS : USERS + 40], graph[1][:40] * model.scale, 2.0)
    items = embed_hybrid(model, data, graph)[1]
    torch.testing.assert_close(items[40:], data.x[USERS + 40 :] @ weights)
    assert find_their_kind(graph[0], items) == 1
