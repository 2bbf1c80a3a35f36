"""What one training step looks at: batches of interactions, or of users with all they have.

B examples of a batch, C candidates, E interactions, D dimensions.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from gnnrec_training.config import FitConfig
from gnnrec_training.data.dataset import Interactions
from gnnrec_training.errors import InvalidData
from gnnrec_training.graph.sparse import Csr, csr_tensor, take_rows, transpose
from gnnrec_training.losses.formulas import bce, bpr, l2, softmax
from gnnrec_training.losses.log_sum_exp import bfloat16_is_fast, weighted_log_sums
from gnnrec_training.losses.negatives import NegativeSampler
from gnnrec_training.models.lightgcn import LightGCN


class Batches(Protocol):
    """The batches of an epoch, and the loss of one."""

    def epoch(self, generator: torch.Generator) -> Sequence[Tensor]:
        """Return the epoch's batches in a random order."""

    def loss(self, model: LightGCN, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Return the loss of a batch."""


class PairBatches:
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


class UserBatches:
    """Batches of users with all their interactions, against shared candidates: softmax and BSL.

    The candidates of a step are drawn from the batch's interactions, so an item is as likely as it
    is popular, or from all items by a power of that; one drawn m times counts m times. A user's own
    positives are masked out. So a few products serve tens of thousands of interactions.
    """

    def __init__(self, positives: Csr, items: int, config: FitConfig, device: torch.device) -> None:
        """Raise InvalidData if every user has every item."""
        self._config = config
        self._dtype = _product_dtype(config, device)
        indptr = torch.from_numpy(positives.indptr)
        counts = indptr.diff()
        # someone who had everything leaves no negative
        self._users = torch.nonzero((counts > 0) & (counts < items))[:, 0]
        if len(self._users) == 0:
            raise InvalidData("every user has every item; there is nothing to learn from")
        columns = torch.from_numpy(positives.columns)
        ones = torch.ones(len(columns))
        popularity = torch.bincount(columns.long(), minlength=items).double()
        shares = ((popularity**config.candidate_exponent) * (popularity > 0)).cumsum(0)
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
        had = take_rows(self._had, rows)  # (B, I)
        columns, counts = had.col_indices().long(), had.crow_indices().diff()
        drawn = self._draw(columns, generator)  # (negatives,)
        # the items of the step: everything after this line knows only them, by their places
        item_rows, places = torch.unique(torch.cat([columns, drawn]), return_inverse=True)
        places, drawn = places.split([len(columns), len(drawn)])
        candidates, times = torch.unique(drawn, return_counts=True)  # (C,), (C,)
        masked, free = _masked(places, counts, candidates, len(item_rows))
        user_final, item_final = model.of_batch(rows, item_rows)  # (B, D), (J, D)
        users = F.normalize(user_final) / config.temperature
        items = F.normalize(item_final)
        weights = counts * free
        entries = torch.repeat_interleave(free.to(items.dtype), counts.long())
        own = csr_tensor(had.crow_indices(), places.int(), entries, (len(rows), len(item_rows)))
        log_sums = weighted_log_sums(
            users, items[candidates], times.log(), masked, weights.to(items.dtype), self._dtype
        )
        positive_sums = (users * _sparse_product(own, items)).sum()
        exponent = config.negative_exponent if config.loss == "bsl" else 1.0
        loss = softmax(positive_sums, log_sums, weights, exponent)
        if config.weight_decay == 0:
            return loss
        return loss + config.weight_decay * l2(
            model.user_layer0[rows], model.item_layer0[item_rows[candidates]]
        )

    def _draw(self, columns: Tensor, generator: torch.Generator) -> Tensor:
        """Return item rows as they were drawn: (negatives,)."""
        count = self._config.negatives
        if self._config.candidate_exponent == 1:
            places = torch.randint(len(columns), (count,), generator=generator)
            return columns[places.to(columns.device)]
        places = torch.searchsorted(self._shares, torch.rand(count, generator=generator))
        return places.clamp(max=len(self._shares) - 1).to(columns.device)


def _masked(
    columns: Tensor, counts: Tensor, candidates: Tensor, items: int
) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Return where candidates are the user's own, and which users have others: (B,).

    columns (E,): what the users have, counts (B,) each; lines (M,), ascending, and places (M,) of
    logits. A user all of whose candidates are his own learns nothing in this step, and masks none.
    """
    place = torch.full((items,), -1, device=columns.device)
    place[candidates] = torch.arange(len(candidates), device=columns.device)
    lines = torch.repeat_interleave(counts.long())
    places = place[columns]
    own = places >= 0
    lines, places = lines[own], places[own]
    free = torch.bincount(lines, minlength=len(counts)) < len(candidates)
    return (lines[free[lines]], places[free[lines]]), free


class _SparseProduct(torch.autograd.Function):
    """matrix @ dense, with the transpose made for the backward pass."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, dense: Tensor) -> Tensor:
        ctx.transposed = transpose(matrix)
        return matrix @ dense

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        return None, ctx.transposed @ gradients[0]


def _sparse_product(matrix: Tensor, dense: Tensor) -> Tensor:
    result: Tensor = _SparseProduct.apply(matrix, dense)  # type: ignore[no-untyped-call]
    return result


def _product_dtype(config: FitConfig, device: torch.device) -> torch.dtype:
    if config.products == "float32":
        return torch.float32
    return torch.bfloat16 if bfloat16_is_fast(device) else torch.float32
