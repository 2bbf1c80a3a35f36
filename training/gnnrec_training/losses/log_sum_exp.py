"""The weighted sum of users' log-sum-exps over candidates, and its gradient, block by block.

With users x_u, candidates y_c, biases b_c, weights w_u, and a mask of pairs that do not count:

    s_uc  = <x_u, y_c> + b_c, or -inf where the pair (u, c) is masked
    Z_u   = sum over c of exp(s_uc)
    value = sum over u of w_u log Z_u

    p_uc            = exp(s_uc) / Z_u
    d value / d x_u = w_u * sum over c of p_uc y_c
    d value / d y_c = sum over u of w_u p_uc x_u

The logits s (B, C) would fill gigabytes. The gradient needs them no more than the value does, so
both are computed in one pass over blocks of users, each block's logits in the cache, and the
backward pass only multiplies what was kept by the incoming gradient. As usual the largest logit
of each user is subtracted before exp, so that nothing overflows.

    users (B, D)    candidates (C, D)    bias (C,)    weights (B,)    masked: M pairs
    logits, shares, pulls (height, C): s, exp(s - max), w p of the block's users
"""

from typing import Any

import torch
from torch import Tensor

_BLOCK = 2**19  # logits at a time, which stay in the processor's cache


def bfloat16_is_fast(device: torch.device) -> bool:
    """Tell whether the device multiplies bfloat16 matrices in hardware."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu.get_capabilities().get("avx512_bf16"))


class _WeightedLogSums(torch.autograd.Function):
    """The weighted sum of the log-sum-exps; its gradient is kept from the forward pass."""

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

    users (B, D), candidates (C, D), bias (C,), weights (B,) -> (). masked: the lines (M,),
    ascending, and places (M,) of logits that count as -inf; each user needs one that does not. The
    products are taken in `dtype`, everything else in the embeddings' own. Differentiable in users
    and candidates.
    """
    result: Tensor = _WeightedLogSums.apply(users, candidates, bias, masked, weights, dtype)  # type: ignore[no-untyped-call]
    return result
