"""What one training step looks at: batches of interactions, or of users with all they have.

B examples of a batch, C candidates, E interactions, D dimensions.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from training.config import FitConfig
from training.data.dataset import Interactions
from training.errors import InvalidData
from training.graph import Csr, csr_tensor
from training.losses import bce, bpr, l2, softmax
from training.models.lightgcn import LightGCN
from training.negatives import NegativeSampler
from training.rows import take_rows


class Steps(Protocol):
    """The batches of an epoch, and the loss of one."""

    def epoch(self, generator: torch.Generator) -> Sequence[Tensor]:
        """Return the epoch's batches in a random order."""

    def loss(self, model: LightGCN, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Return the loss of a batch."""


class PairSteps:
    """Batches of interactions, each against items drawn for it: BPR and BCE."""

    def __init__(
        self,
        train: Interactions,
        positives: Csr,
        items: int,
        config: FitConfig,
        device: torch.device,
    ) -> None:
        """Raise InvalidData if every user has every item."""
        self._config = config
        self._device = device
        self._negatives = NegativeSampler(positives, items)
        users = torch.from_numpy(train.user_rows).long()
        trainable = self._negatives.has_negative[users]
        self._users = users[trainable]
        self._items = torch.from_numpy(train.item_rows).long()[trainable]
        if len(self._users) == 0:
            raise InvalidData("every user has every item; there is nothing to learn from")

    def epoch(self, generator: torch.Generator) -> Sequence[Tensor]:
        """Return positions of interactions: (B,) each."""
        shuffled = torch.randperm(len(self._users), generator=generator)
        return torch.split(shuffled, self._config.batch_size)

    def loss(self, model: LightGCN, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Return BPR or BCE with the L2 penalty on layer 0."""
        config = self._config
        drawn_for = self._users[batch].repeat(config.negatives)
        negatives = self._negatives.sample(drawn_for, generator).to(self._device)
        users, positives = self._users[batch].to(self._device), self._items[batch].to(self._device)
        user_final, item_final = model()
        user = user_final[users]  # (B, D)
        positive_scores = (user * item_final[positives]).sum(1)
        negative_scores = (user.repeat(config.negatives, 1) * item_final[negatives]).sum(
            1
        )  # (B * negatives,)
        if config.loss == "bpr":
            loss = bpr(positive_scores.repeat(config.negatives), negative_scores)
        else:
            loss = bce(positive_scores, negative_scores)
        if config.weight_decay == 0:
            return loss
        layer0 = (
            model.user_layer0[users],
            model.item_layer0[positives],
            model.item_layer0[negatives],
        )
        return loss + config.weight_decay * l2(*layer0)


class UserSteps:
    """Batches of users with all their interactions, against shared candidates: softmax and BSL.

    The candidates of a step are drawn from the batch's interactions, so an item is as likely as it
    is popular, or from all items by a power of that; one drawn m times counts m times. A user's own
    positives are masked out. So a few products serve tens of thousands of interactions.
    """

    def __init__(self, positives: Csr, items: int, config: FitConfig, device: torch.device) -> None:
        """Raise InvalidData if every user has every item."""
        self._config = config
        self._items = items
        indptr = torch.from_numpy(positives.indptr)
        counts = indptr.diff()
        # someone who had everything leaves no negative
        self._users = torch.nonzero((counts > 0) & (counts < items))[:, 0]
        if len(self._users) == 0:
            raise InvalidData("every user has every item; there is nothing to learn from")
        columns = torch.from_numpy(positives.columns)
        ones = torch.ones(len(columns))
        popularity = torch.bincount(columns.long(), minlength=items).clamp(min=1).double()
        shares = (popularity**config.candidate_exponent).cumsum(0)
        self._shares = (shares / shares[-1]).float()
        """(I,): the share of the draws that falls on an item or one before it."""
        shape = (len(counts), items)
        self._had = csr_tensor(indptr.int(), columns, ones, shape).to(device)

    def epoch(self, generator: torch.Generator) -> Sequence[Tensor]:
        """Return user rows, ascending in each batch: (B,) each."""
        shuffled = self._users[torch.randperm(len(self._users), generator=generator)]
        return [part.sort().values for part in torch.split(shuffled, self._config.batch_size)]

    def loss(self, model: LightGCN, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Return the sampled softmax of cosines over a temperature, bilateral if so configured."""
        config = self._config
        rows = batch.to(self._had.device)
        had, transposed = take_rows(self._had, rows)  # (B, I), (I, B)
        columns, counts = had.col_indices().long(), had.crow_indices().diff()
        candidates, times = self._draw(columns, generator)  # (C,), (C,)
        user_final, item_final = model.of_batch(rows)  # (B, D), (I, D)
        users = F.normalize(user_final) / config.temperature
        items = F.normalize(item_final)
        positive_sums = (users * _sparse_product(had, transposed, items)).sum(1)  # (B,)
        logits = users @ items[candidates].T + times.log()  # (B, C)
        logits, weights = self._mask(logits, candidates, columns, counts)
        exponent = config.negative_exponent if config.loss == "bsl" else 1.0
        loss = softmax(positive_sums * (weights > 0), logits, weights, exponent)
        if config.weight_decay == 0:
            return loss
        return loss + config.weight_decay * l2(
            model.user_layer0[rows], model.item_layer0[candidates]
        )

    def _draw(self, columns: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return distinct item rows, ascending, and how often each was drawn."""
        count = self._config.negatives
        if self._config.candidate_exponent == 1:
            places = torch.randint(len(columns), (count,), generator=generator)
            drawn = columns[places.to(columns.device)]
        else:
            places = torch.searchsorted(self._shares, torch.rand(count, generator=generator))
            drawn = places.clamp(max=self._items - 1).to(columns.device)
        distinct, times = torch.unique(drawn, return_counts=True)
        return distinct, times

    def _mask(
        self, logits: Tensor, candidates: Tensor, columns: Tensor, counts: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Put -inf where a candidate is a positive of the user; give the users their weights.

        A user all of whose candidates are positives learns nothing in this step: weight 0.
        """
        place = torch.full((self._items,), -1, device=logits.device)
        place[candidates] = torch.arange(len(candidates), device=logits.device)
        lines = torch.repeat_interleave(counts.long())
        places = place[columns]
        is_candidate = places >= 0
        lines, places = lines[is_candidate], places[is_candidate]
        free = torch.bincount(lines, minlength=len(counts)) < len(candidates)
        lines, places = lines[free[lines]], places[free[lines]]
        masked = logits.index_put_((lines, places), logits.new_tensor(-torch.inf))
        return masked, counts * free


class _SparseProduct(torch.autograd.Function):
    """matrix @ dense, with the transpose at hand for the backward pass."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, transposed: Tensor, dense: Tensor) -> Tensor:
        ctx.transposed = transposed
        return matrix @ dense

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None, Tensor]:
        return None, None, ctx.transposed @ gradients[0]


def _sparse_product(matrix: Tensor, transposed: Tensor, dense: Tensor) -> Tensor:
    result: Tensor = _SparseProduct.apply(matrix, transposed, dense)  # type: ignore[no-untyped-call]
    return result
