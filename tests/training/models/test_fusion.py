import numpy as np
import pytest
import torch

from gnnrec_training.models.fusion import Part, compress, fuse, scales, spreads
from tests.item_lists import random_lists
from tests.training.boards import interactions, random_interactions


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_joined_scores_are_the_weighted_sum_at_equal_spread() -> None:
    first = torch.randn(40, 3, generator=generator()), torch.randn(30, 3)
    second = 9 * torch.randn(40, 5), torch.randn(30, 5)
    edges = interactions([(row, (row * 7) % 11) for row in range(40)])
    parts = [Part(first), Part(second)]
    factors = scales(parts, [1, 0.5], edges)
    users, items = fuse(parts, factors)
    assert users.shape == (40, 8)
    one, two = first[0] @ first[1].T, second[0] @ second[1].T
    competing = torch.from_numpy(edges.item_rows).long()
    expected = one + 0.5 * one[:, competing].std() / two[:, competing].std() * two
    torch.testing.assert_close(users @ items.T, expected, atol=1e-3, rtol=1e-4)


def test_a_part_of_lists_spreads_by_its_lists_and_takes_no_columns() -> None:
    edges = random_interactions(30, 20, 200, 0)
    dense = torch.randn(30, 3, generator=generator()), torch.randn(20, 3)
    listed = Part((torch.ones(30, 1), torch.ones(20, 1)), random_lists(20, 0.3))
    parts = [Part(dense), listed]
    assert all(spread > 1e-6 for spread in spreads(parts, edges))
    assert [half.shape[1] for half in fuse(parts, scales(parts, [1, 1], edges))] == [3, 3]


def test_a_single_user_and_item_have_finite_factors() -> None:
    """One score has no spread: each part counts by its weight alone."""
    pair = torch.ones(1, 2), torch.ones(1, 2)
    assert scales([Part(pair), Part(pair)], [1, 0.5], interactions([(0, 0)])) == [1, 0.5]


def test_compression_keeps_scores_of_low_rank_and_is_the_best_of_its_width() -> None:
    base = torch.randn(50, 6, generator=generator()), torch.randn(40, 6)
    mixing = torch.randn(6, 12)
    wide = base[0] @ mixing, base[1] @ torch.linalg.pinv(mixing).T
    users, items = compress(wide, 6)
    assert users.shape == (50, 6)
    torch.testing.assert_close(users @ items.T, wide[0] @ wide[1].T, atol=1e-3, rtol=1e-3)
    users, items = compress(wide, 2)
    lengths = wide[0].norm(dim=1, keepdim=True)
    lost = (((users @ items.T) - wide[0] @ wide[1].T) / lengths).square().sum().item()
    exact = np.linalg.svd((wide[0] @ wide[1].T / lengths).numpy(), compute_uv=False)
    assert lost == pytest.approx((exact[2:] ** 2).sum(), rel=1e-3)
