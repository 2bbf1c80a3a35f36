import math

import numpy as np
import pytest
import torch

from tests.training.boards import checkerboard, interactions, random_interactions
from training import baselines
from training.config import ModelConfig, TrainingConfig
from training.data.dataset import Dataset
from training.errors import InvalidData, TrainingDiverged
from training.evaluate import evaluate, heldout
from training.fit import fit, train_step
from training.graph import csr, normalised_adjacency
from training.losses import bpr, l2
from training.models.lightgcn import LightGCN
from training.negatives import NegativeSampler


def build(dataset: Dataset, config: ModelConfig, seed: int = 0) -> tuple[LightGCN, NegativeSampler]:
    users, items = len(dataset.user_ids), len(dataset.item_ids)
    adjacency = normalised_adjacency(dataset.train, users, items)
    model = LightGCN(users, items, adjacency, config, torch.Generator().manual_seed(seed))
    return model, NegativeSampler(csr(dataset.train, users), items)


def test_two_bpr_steps_equal_a_numpy_calculation() -> None:
    """Propagation, BPR, L2 on layer 0 and Adam, all by hand in double precision."""
    users, items, width, learning_rate, decay = 4, 6, 3, 0.05, 0.01
    edges = random_interactions(users, items, 8, 3)
    edges.weights[:] = 1
    dataset = Dataset("toy", list("abcd"), list("uvwxyz"), edges)
    model, negatives = build(dataset, ModelConfig(embedding_dim=width, num_layers=2))
    config = TrainingConfig(learning_rate=learning_rate, weight_decay=decay)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate, fused=True)

    layer0 = model.layer0.detach().numpy().astype(np.float64)
    adjacency = np.zeros((users + items, users + items))
    for u, i in zip(edges.user_rows, edges.item_rows, strict=True):
        adjacency[u, users + i] = adjacency[users + i, u] = 1
    degree = adjacency.sum(1)
    adjacency /= np.sqrt(np.outer(degree, degree))
    smooth = (np.eye(users + items) + adjacency + adjacency @ adjacency) / 3
    momentum, variance = np.zeros_like(layer0), np.zeros_like(layer0)

    batch_users, batch_items = np.array([0, 1, 3]), np.array([0, 1, 3])
    for step in (1, 2):
        drawn = negatives.sample(torch.from_numpy(batch_users), torch.Generator().manual_seed(step))
        loss = train_step(
            model,
            optimizer,
            torch.from_numpy(batch_users),
            torch.from_numpy(batch_items),
            negatives,
            config,
            torch.Generator().manual_seed(step),
        )
        final = smooth @ layer0
        gradient_final, gradient = np.zeros_like(layer0), np.zeros_like(layer0)
        expected_loss = 0.0
        count = len(batch_users)
        for u, p, n in zip(batch_users, users + batch_items, users + drawn.numpy(), strict=True):
            margin = final[u] @ (final[p] - final[n])
            expected_loss += math.log1p(math.exp(-margin)) / count
            slope = -1 / (1 + math.exp(margin)) / count
            gradient_final[u] += slope * (final[p] - final[n])
            gradient_final[p] += slope * final[u]
            gradient_final[n] -= slope * final[u]
            for node in (u, p, n):
                expected_loss += decay * 0.5 * float(layer0[node] @ layer0[node]) / count
                gradient[node] += decay * layer0[node] / count
        gradient += smooth.T @ gradient_final
        momentum = 0.9 * momentum + 0.1 * gradient
        variance = 0.999 * variance + 0.001 * gradient**2
        layer0 = layer0 - learning_rate * (momentum / (1 - 0.9**step)) / (
            np.sqrt(variance / (1 - 0.999**step)) + 1e-8
        )
        assert loss == pytest.approx(expected_loss, rel=1e-5)
        np.testing.assert_allclose(model.layer0.detach().numpy(), layer0, atol=2e-6)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_withheld_item_of_a_checkerboard_ranks_first_for_every_user(layers: int) -> None:
    board = checkerboard(30)
    model, negatives = build(board, ModelConfig(embedding_dim=16, num_layers=layers))
    config = TrainingConfig(epochs=60, batch_size=64, learning_rate=0.02)
    losses = fit(
        model, board.train, negatives, config, torch.Generator().manual_seed(0), lambda *_: None
    )
    assert losses[-1] < losses[0] / 2
    users, items = (part.numpy() for part in model.embeddings())
    seen, held_out = csr(board.train, 30), heldout(board.test, 30, 30)
    assert evaluate(users, items, seen, held_out, (1,)).metrics["recall@1"] == 1
    popular = baselines.popularity(board.train, 30, 30)
    assert evaluate(*popular, seen, held_out, (1,)).metrics["recall@1"] < 0.2


def test_training_repeats_itself_with_the_same_seed() -> None:
    board = checkerboard(12)
    results = []
    for seed in (7, 7, 8):
        model, negatives = build(board, ModelConfig(embedding_dim=4), seed)
        generator = torch.Generator().manual_seed(seed)
        fit(model, board.train, negatives, TrainingConfig(epochs=3), generator, lambda *_: None)
        results.append(model.layer0.detach().clone())
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_negatives_are_never_positives_and_reach_everything_else() -> None:
    edges = random_interactions(20, 10, 120, 0)
    sampler = NegativeSampler(csr(edges, 20), 10)
    positives = set(zip(edges.user_rows.tolist(), edges.item_rows.tolist(), strict=True))
    free = torch.nonzero(sampler.has_negative)[:, 0]
    drawn_for = free.repeat(2000)
    drawn = sampler.sample(drawn_for, torch.Generator().manual_seed(0))
    pairs = set(zip(drawn_for.tolist(), drawn.tolist(), strict=True))
    everything = {(u, i) for u in free.tolist() for i in range(10)}
    assert pairs == everything - positives


def test_a_user_who_has_everything_is_left_out_of_sampling() -> None:
    everything = [(0, 0), (0, 1), (1, 0)]
    dataset = Dataset("toy", ["all", "some"], ["a", "b"], interactions(everything))
    model, negatives = build(dataset, ModelConfig(embedding_dim=2))
    assert negatives.has_negative.tolist() == [False, True]
    fit(
        model,
        dataset.train,
        negatives,
        TrainingConfig(epochs=2),
        torch.Generator(),
        lambda *_: None,
    )
    full = Dataset("toy", ["all"], ["a", "b"], interactions(everything[:2]))
    model, negatives = build(full, ModelConfig(embedding_dim=2))
    with pytest.raises(InvalidData, match="every user has every item"):
        fit(model, full.train, negatives, TrainingConfig(), torch.Generator(), lambda *_: None)


def test_a_loss_that_is_not_finite_stops_the_training() -> None:
    board = checkerboard(8)
    model, negatives = build(board, ModelConfig(embedding_dim=4, init_std=1e30))
    with pytest.raises(TrainingDiverged, match=r"at epoch 1, step 1, learning_rate 0\.001"):
        fit(model, board.train, negatives, TrainingConfig(), torch.Generator(), lambda *_: None)


def test_losses_equal_their_formulas() -> None:
    positive, negative = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 3.0])
    expected = np.mean([np.log1p(np.exp(-1.5)), np.log1p(np.exp(4.0))])
    assert bpr(positive, negative).item() == pytest.approx(expected)
    rows = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    assert l2(rows, rows).item() == pytest.approx(0.5 * 2 * 26 / 2)
