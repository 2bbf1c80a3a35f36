import numpy as np
import pytest
import torch

from gnnrec_training.losses.formulas import bce, bpr, l2, listwise, softmax


def test_pairwise_losses_equal_their_formulas() -> None:
    positive, negative = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 3.0])
    expected = np.mean([np.log1p(np.exp(-1.5)), np.log1p(np.exp(4.0))])
    assert bpr(positive, negative).item() == pytest.approx(expected)
    expected = np.mean([np.log1p(np.exp(-2.0)), np.log1p(np.exp(1.0))])
    expected += np.mean([np.log1p(np.exp(0.5)), np.log1p(np.exp(3.0))])
    assert bce(positive, negative).item() == pytest.approx(expected)
    rows = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    assert l2(rows, rows).item() == pytest.approx(0.5 * 2 * 26 / 2)


@pytest.mark.parametrize("exponent", [1.0, 0.8])
def test_softmax_equals_a_sum_over_positives(exponent: float) -> None:
    """Three users with two, one and three positives, one candidate masked for the second."""
    generator = np.random.default_rng(0)
    positives = [generator.normal(size=count) for count in (2, 1, 3)]
    logits = generator.normal(size=(3, 4))
    logits[1, 2] = -np.inf
    expected = np.mean(
        [
            -score + exponent * np.log(np.exp(line).sum())
            for scores, line in zip(positives, logits, strict=True)
            for score in scores
        ]
    )
    counts = torch.tensor([2, 1, 3])
    ours = softmax(
        torch.tensor(sum(scores.sum() for scores in positives)),
        (counts * torch.from_numpy(logits).logsumexp(1)).sum(),
        counts,
        exponent,
    )
    assert ours.item() == pytest.approx(expected)


def test_listwise_loss_equals_its_formula() -> None:
    generator = np.random.default_rng(0)
    scores, weights = generator.normal(size=(3, 5)), generator.random((3, 5))
    target = (generator.random((3, 5)) < 0.5).astype(float)
    scores[0, 1], target[0, 1] = -np.inf, 0
    shares = (np.exp(scores) / np.exp(scores).sum(1, keepdims=True))[target > 0]
    expected = -(weights[target > 0] * np.log(shares)).sum() / (weights * target).sum()
    ours = listwise(*map(torch.from_numpy, (scores, target, weights)))
    assert ours.item() == pytest.approx(expected)
