import math

import numpy as np
import pytest
import torch

from gnnrec_training.data.dataset import Dataset
from gnnrec_training.errors import InvalidData, TrainingDiverged
from gnnrec_training.evaluation import baselines
from gnnrec_training.evaluation.ranking import evaluate, heldout
from gnnrec_training.fitting.lightgcn import fit_lightgcn, train_step
from gnnrec_training.graph.sparse import by_user
from gnnrec_training.losses.negatives import NegativeSampler
from tests.training.boards import checkerboard, interactions, random_interactions
from tests.training.untrained import build, shape


def test_two_bpr_steps_equal_a_numpy_calculation() -> None:
    """Propagation, BPR, L2 on layer 0 and Adam, all by hand in double precision."""
    users, items, width, learning_rate, decay = 4, 6, 3, 0.05, 0.01
    part = random_interactions(users, items, 8, 3)
    part.weights[:] = 1
    dataset = Dataset("toy", list("abcd"), list("uvwxyz"), part)
    model, steps = build(dataset, shape(width, 2, loss="bpr", negatives=1, weight_decay=decay))
    negatives = NegativeSampler(by_user(part, users), items)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate, fused=True)

    def layer0_now() -> np.ndarray:
        halves = [model.user_layer0.detach().numpy(), model.item_layer0.detach().numpy()]
        return np.concatenate(halves).astype(np.float64)

    layer0 = layer0_now()
    matrix = np.zeros((users + items, users + items))
    for u, i in zip(part.user_rows, part.item_rows, strict=True):
        matrix[u, users + i] = matrix[users + i, u] = 1
    degree = matrix.sum(1)
    matrix /= np.sqrt(np.outer(degree, degree))
    smooth = (np.eye(users + items) + matrix + matrix @ matrix) / 3
    momentum, variance = np.zeros_like(layer0), np.zeros_like(layer0)

    batch = torch.tensor([0, 2, 5])
    batch_users, batch_items = part.user_rows[batch.numpy()], part.item_rows[batch.numpy()]
    for step in (1, 2):
        wanted = torch.from_numpy(batch_users).long()
        drawn = negatives.sample(wanted, torch.Generator().manual_seed(step))
        loss = train_step(model, steps, optimizer, batch, torch.Generator().manual_seed(step))
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
        np.testing.assert_allclose(layer0_now(), layer0, atol=2e-6)


@pytest.mark.parametrize("loss", ["bpr", "bce", "softmax", "bsl"])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("aggregation", ["symmetric", "mean"])
def test_the_withheld_item_of_a_checkerboard_ranks_first_for_every_user(
    loss: str, layers: int, aggregation: str
) -> None:
    board = checkerboard(30)
    batch_size = 64 if loss in ("bpr", "bce") else 10
    training = {
        "loss": loss, "epochs": 60, "batch_size": batch_size, "learning_rate": 0.02,
        "negatives": 1 if loss in ("bpr", "bce") else 20, "negative_exponent": 0.9,
    }  # fmt: skip
    config = shape(16, layers, **training).model_copy(update={"aggregation": aggregation})
    model, steps = build(board, config)
    (users, items), state = fit_lightgcn(
        model, steps, config.training, torch.Generator().manual_seed(0)
    )
    assert state.losses[-1] < state.losses[0]
    seen, held_out = by_user(board.train, 30), heldout(board.test, 30, 30)
    ours = evaluate(users.numpy(), items.numpy(), seen, held_out, (1,))
    assert ours.metrics["recall@1"] == 1
    popular = baselines.popularity(board.train, 30, 30)
    assert evaluate(*popular, seen, held_out, (1,)).metrics["recall@1"] < 0.2


@pytest.mark.parametrize("loss", ["bpr", "softmax"])
def test_training_repeats_itself_with_the_same_seed(loss: str) -> None:
    board = checkerboard(12)
    results = []
    for seed in (7, 7, 8):
        config = shape(4, loss=loss, epochs=3, negatives=5, batch_size=5)
        model, steps = build(board, config, seed)
        fit_lightgcn(model, steps, config.training, torch.Generator().manual_seed(seed))
        results.append(model.user_layer0.detach().clone())
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


@pytest.mark.parametrize("loss", ["bpr", "softmax"])
def test_a_user_who_has_everything_is_left_out_of_sampling(loss: str) -> None:
    everything = [(0, 0), (0, 1), (1, 0)]
    config = shape(2, loss=loss, epochs=2)
    dataset = Dataset("toy", ["all", "some"], ["a", "b"], interactions(everything))
    model, steps = build(dataset, config)
    _, state = fit_lightgcn(model, steps, config.training, torch.Generator())
    assert all(map(math.isfinite, state.losses))
    full = Dataset("toy", ["all"], ["a", "b"], interactions(everything[:2]))
    with pytest.raises(InvalidData, match="every user has every item"):
        build(full, config)


def test_a_loss_that_is_not_finite_stops_the_training() -> None:
    config = shape(4, loss="bpr", learning_rate=0.001, schedule="constant", warmup=0)
    config = config.model_copy(update={"init_std": 1e30})
    model, steps = build(checkerboard(8), config)
    with pytest.raises(TrainingDiverged, match=r"at epoch 1, step 1, learning rate 0\.001"):
        fit_lightgcn(model, steps, config.training, torch.Generator())


@pytest.mark.parametrize("exponent", [1.0, 0.5, 0.0])
def test_the_softmax_step_equals_a_numpy_calculation(exponent: float) -> None:
    """Cosines over a temperature, candidates as often as drawn, the user's own ones masked.

    Each interaction counts by its weight, in popularity too.
    """
    part = random_interactions(6, 9, 20, 0)
    dataset = Dataset("toy", list("abcdef"), list("qrstuvwxy"), part)
    config = shape(
        4, 1, loss="softmax", negatives=12, temperature=0.2, weight_decay=0,
        candidate_exponent=exponent, products="float32",
    )  # fmt: skip
    model, steps = build(dataset, config)
    batch = torch.tensor([1, 3, 4])
    had = {user: part.item_rows[part.user_rows == user] for user in batch.tolist()}
    pool = np.concatenate([np.sort(items) for items in had.values()])
    generator = torch.Generator().manual_seed(5)
    if exponent == 1:
        drawn = pool[torch.randint(len(pool), (12,), generator=generator)]
    else:
        shares = np.cumsum(np.bincount(part.item_rows, part.weights, minlength=9) ** exponent)
        drawn = np.searchsorted(shares / shares[-1], torch.rand(12, generator=generator).numpy())
    final = [half.detach().numpy().astype(np.float64) for half in model()]
    users, items = (half / np.linalg.norm(half, axis=1, keepdims=True) for half in final)
    counted = {
        (user, item): float(weight)
        for user, item, weight in zip(part.user_rows, part.item_rows, part.weights, strict=True)
        if user in had
    }
    total = 0.0
    for user, own in had.items():
        negatives = [items[item] @ users[user] for item in drawn if item not in own]
        denominator = np.log(np.exp(np.array(negatives) / 0.2).sum())
        total += sum(
            counted[user, item] * (denominator - items[item] @ users[user] / 0.2) for item in own
        )
    loss = steps.loss(model, batch, torch.Generator().manual_seed(5))
    assert loss.item() == pytest.approx(total / sum(counted.values()), rel=1e-4)
