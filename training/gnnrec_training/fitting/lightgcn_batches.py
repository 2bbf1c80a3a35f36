"""The batches of LightGCN's training and the loss of each.

BPR and BCE take a batch of interactions (u, i) and draw `negatives` items j for each that user u
did not have. With final embeddings e (of all nodes, by propagation) and scores s_ui = <e_u, e_i>:

    BPR   mean of -log sigmoid(s_ui - s_uj)
    BCE   mean of -log sigmoid(s_ui)  +  mean of -log sigmoid(-s_uj)

Softmax and BSL take a batch of users with all their interactions, and candidates that all of them
share. With t the temperature and g the `negative_exponent` (1 for softmax), and with
s_ui = cos(e_u, e_i) / t:

    r_ui  what the interaction counts: 1, or less for an item that was disliked
    n_u   the sum of r_ui over the items that user u had
    m_c   how many times candidate c was drawn; the draws are the batch's own interactions, so that
          an item comes as often as it is popular, or all items by popularity^candidate_exponent
    Z_u   sum over candidates c that u did not have of m_c exp(s_uc)

    loss  sum over u of (g n_u log Z_u - sum over items i of u of r_ui s_ui)  /  sum over u of n_u

which is the mean over interactions of -log(exp(s_ui) / Z_u^g). The positive is not part of Z_u. A
user who had every candidate, so that Z_u = 0, takes no part in the step. The weighted sum of
log Z_u is computed block by block (losses/log_sum_exp), the sum of s_ui as one sparse product. So
a step of thousands of users learns from tens of thousands of interactions.

To each loss comes the penalty weight_decay / 2 * the squared lengths of layer-0 embeddings, by
example: of the batch's users, positives and negatives for each interaction, or of the batch's users
and the candidates for each user.

    users, rows     (B,)      batch of users, or of the interactions' users
    had             (B, I)    sparse: the users' interactions, E entries
    item_rows       (J,)      distinct items of the step: everything the users had, and all drawn
    places          (E,)      place in item_rows of each entry's item
    candidates      (C,)      places in item_rows of the distinct items drawn; times (C,): m_c
    users, items    (B, D), (J, D)   unit length, users divided by the temperature

BPR: Rendle et al. 2009, "BPR: Bayesian Personalized Ranking from Implicit Feedback". Softmax: Wu et
al. 2022, "On the Effectiveness of Sampled Softmax Loss for Item Recommendation". BSL: Wu et al.
2024, "BSL: Understanding and Improving Softmax Loss for Recommendation".
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
    """Batches of interactions, each with items drawn for it: BPR and BCE."""

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
        """Return the batches as positions of interactions: (B,) each."""
        shuffled = torch.randperm(len(self._users), generator=generator)
        return torch.split(shuffled, self._config.batch_size)

    def loss(self, model: LightGCN, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Return BPR or BCE with the penalty on layer 0."""
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
    """Batches of users with all their interactions, against shared candidates: softmax and BSL."""

    def __init__(self, positives: Csr, items: int, config: FitConfig, device: torch.device) -> None:
        """Take what each interaction counts; raise InvalidData if every user has every item."""
        self._config = config
        self._dtype = _product_dtype(config, device)
        indptr = torch.from_numpy(positives.indptr)
        counts = indptr.diff()
        # a user who had every item has no negative
        self._users = torch.nonzero((counts > 0) & (counts < items))[:, 0]
        if len(self._users) == 0:
            raise InvalidData("every user has every item; there is nothing to learn from")
        columns, weights = torch.from_numpy(positives.columns), torch.from_numpy(positives.values)
        popularity = torch.bincount(columns.long(), weights.double(), items)
        shares = ((popularity**config.candidate_exponent) * (popularity > 0)).cumsum(0)
        self._shares = (shares / shares[-1]).float()
        """(I,): the cumulative probabilities of items to be drawn."""
        shape = (len(counts), items)
        self._had = csr_tensor(indptr.int(), columns, weights, shape).to(device)

    def epoch(self, generator: torch.Generator) -> Sequence[Tensor]:
        """Return the batches as user rows, ascending in each: (B,) each."""
        shuffled = self._users[torch.randperm(len(self._users), generator=generator)]
        return [part.sort().values for part in torch.split(shuffled, self._config.batch_size)]

    def loss(self, model: LightGCN, batch: Tensor, generator: torch.Generator) -> Tensor:
        """Return the softmax loss or BSL with the penalty on layer 0."""
        config = self._config
        rows = batch.to(self._had.device)
        had = take_rows(self._had, rows)  # (B, I)
        columns, counts = had.col_indices().long(), had.crow_indices().diff()
        drawn = self._draw(columns, generator)  # (negatives,)
        # from here on an item is its place in item_rows: the step needs no others
        item_rows, places = torch.unique(torch.cat([columns, drawn]), return_inverse=True)
        places, drawn = places.split([len(columns), len(drawn)])
        candidates, times = torch.unique(drawn, return_counts=True)  # (C,), (C,)
        masked, free = _masked(places, counts, candidates, len(item_rows))
        user_final, item_final = model.of_batch(rows, item_rows)  # (B, D), (J, D)
        users = F.normalize(user_final) / config.temperature
        items = F.normalize(item_final)
        entries = had.values() * torch.repeat_interleave(free.to(items.dtype), counts.long())
        own = csr_tensor(had.crow_indices(), places.int(), entries, (len(rows), len(item_rows)))
        weights = _row_sums(entries, counts)
        log_sums = weighted_log_sums(
            users, items[candidates], times.log(), masked, weights, self._dtype
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


def _row_sums(values: Tensor, counts: Tensor) -> Tensor:
    """Return the sum of each run of values (E,), counts (B,) of them in each: (B,)."""
    lines = torch.repeat_interleave(counts.long())
    return values.new_zeros(len(counts)).index_add_(0, lines, values)


def _masked(
    columns: Tensor, counts: Tensor, candidates: Tensor, items: int
) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Return which logits are of items that the user had, and which users have other candidates.

    columns (E,): the users' items, counts (B,): how many each -> lines (M,), ascending, and places
    (M,) of the logits to mask; free (B,). Of a user without other candidates nothing is masked: the
    loss leaves the user out, and a row of -inf would have no gradient.
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
