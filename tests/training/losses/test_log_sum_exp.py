import pytest
import torch

from gnnrec_training.losses import log_sum_exp
from gnnrec_training.losses.log_sum_exp import bfloat16_is_fast, weighted_log_sums

B, C, D = 13, 7, 5


def inputs() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    users, candidates = (
        torch.randn(count, D, generator=generator).requires_grad_() for count in (B, C)
    )
    bias, weights = torch.rand(C, generator=generator), torch.rand(B, generator=generator)
    return users, candidates, bias, weights


@pytest.mark.parametrize("block", [1, 3 * C, 2**19])
def test_value_and_gradient_equal_a_dense_calculation_whatever_the_block(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_sum_exp, "_BLOCK", block)
    masked = (torch.tensor([0, 0, 4, 12]), torch.tensor([1, 3, 6, 0]))
    results = []
    for ours in (True, False):
        users, candidates, bias, weights = inputs()
        if ours:
            value = weighted_log_sums(users, candidates, bias, masked, weights)
        else:
            logits = (users @ candidates.T + bias).index_put(masked, torch.tensor(-torch.inf))
            value = (weights * logits.logsumexp(1)).sum()
        (3 * value).backward()  # type: ignore[no-untyped-call]
        results.append((value, users.grad, candidates.grad))
    for mine, expected in zip(*results, strict=True):
        torch.testing.assert_close(mine, expected)


def test_large_logits_do_not_overflow() -> None:
    users, candidates, bias, weights = inputs()
    nothing = (torch.tensor([], dtype=torch.long),) * 2
    value = weighted_log_sums(users * 1e4, candidates, bias, nothing, weights)
    assert value.isfinite()


def test_bfloat16_products_come_close() -> None:
    users, candidates, bias, weights = inputs()
    nothing = (torch.tensor([], dtype=torch.long),) * 2
    exact = weighted_log_sums(users, candidates, bias, nothing, weights)
    fast = weighted_log_sums(users, candidates, bias, nothing, weights, torch.bfloat16)
    assert fast.item() == pytest.approx(exact.item(), rel=0.01)
    assert isinstance(bfloat16_is_fast(torch.device("cpu")), bool)
