import numpy as np
import pytest
import torch

from gnnrec_training.models.fusion import compress, fuse


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_joined_scores_are_the_weighted_sum_at_equal_spread() -> None:
    first = torch.randn(40, 3, generator=generator()), torch.randn(30, 3)
    second = 9 * torch.randn(40, 5), torch.randn(30, 5)
    competing = torch.tensor([3, 3, 3, 7, 20])
    (users, items), _ = fuse(first, second, 0.5, competing)
    assert users.shape == (40, 8)
    one, two = first[0] @ first[1].T, second[0] @ second[1].T
    expected = one + 0.5 * one[:, competing].std() / two[:, competing].std() * two
    torch.testing.assert_close(users @ items.T, expected, atol=1e-3, rtol=1e-4)


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
