"""The softmax's log-sums over candidates, block by block: the logits never stand in memory whole.

B users of a batch, C candidates, D dimensions, M masked pairs.
"""

from typing import Any

import torch
from torch import Tensor

_BLOCK = 2**19  # logits at a time: they stay in the cache from one pass to the next


def bfloat16_is_fast(device: torch.device) -> bool:
    """Tell whether the device multiplies bfloat16 matrices in hardware."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu.get_capabilities().get("avx512_bf16"))


class _WeightedLogSums(torch.autograd.Function):
    """sum over b of weights[b] * log sum over c of exp(users[b] . candidates[c] + bias[c])."""

    @staticmethod
    def forward(
        ctx: Any,
        users: Tensor,
        candidates: Tensor,
        bias: Tensor,
        masked: tuple[Tensor, Tensor],
        weights: Tensor,
        dtype: torch.dtype,
    ) -> Tensor:
        height = max(1, _BLOCK // len(candidates))
        lines, places = masked
        starts = torch.arange(0, len(users) + height, height, device=lines.device)
        bounds = torch.searchsorted(lines, starts).tolist()
        right = candidates.to(dtype)
        left = users.to(dtype)
        of_users, of_candidates = torch.empty_like(users), torch.zeros_like(candidates)
        total = users.new_zeros(())
        for block, first in enumerate(range(0, len(users), height)):
            rows = slice(first, first + height)
            logits = (left[rows] @ right.T).to(users.dtype).add_(bias)
            mine = slice(bounds[block], bounds[block + 1])
            logits[lines[mine] - first, places[mine]] = -torch.inf
            highest = logits.amax(1, keepdim=True)
            shares = logits.sub_(highest).exp_()
            sums = shares.sum(1, keepdim=True)
            share_of = weights[rows, None]
            total += (share_of * (sums.log() + highest)).sum()
            pulls = shares.mul_(share_of / sums).to(dtype)
            of_users[rows] = pulls @ right
            of_candidates += pulls.T @ left[rows]
        ctx.save_for_backward(of_users, of_candidates)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None, None]:
        of_users, of_candidates = ctx.saved_tensors
        return of_users * gradients[0], of_candidates * gradients[0], None, None, None, None


def weighted_log_sums(
    users: Tensor,
    candidates: Tensor,
    bias: Tensor,
    masked: tuple[Tensor, Tensor],
    weights: Tensor,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Return the sum over users of weight times log-sum-exp of their logits with the candidates.

    users (B, D), candidates (C, D), bias (C,), weights (B,) -> (). masked: lines (M,), ascending,
    and places (M,) of logits that count as -inf; each user needs one that does not. The products
    are taken in `dtype`, everything else in the embeddings' own. Differentiable in users and
    candidates.
    """
    result: Tensor = _WeightedLogSums.apply(users, candidates, bias, masked, weights, dtype)  # type: ignore[no-untyped-call]
    return result
