"""The training loop."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from training.config import TrainingConfig
from training.data.dataset import Interactions
from training.errors import InvalidData, TrainingDiverged
from training.losses import bpr, l2
from training.models.lightgcn import LightGCN
from training.negatives import NegativeSampler

Progress = Callable[[int, float], None]
"""progress(epoch, loss), called after each epoch; epochs count from 1."""


def fit(
    model: LightGCN,
    train: Interactions,
    negatives: NegativeSampler,
    config: TrainingConfig,
    generator: torch.Generator,
    progress: Progress,
) -> list[float]:
    """Fit the model in place and return the mean loss of each epoch.

    Raises TrainingDiverged as soon as a loss is not finite.
    """
    users = torch.from_numpy(train.user_rows).long()
    items = torch.from_numpy(train.item_rows).long()
    trainable = negatives.has_negative[users]
    users, items = users[trainable], items[trainable]
    if len(users) == 0:
        raise InvalidData("every user has every item; there is nothing to learn from")
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)
    losses = []
    with _repeatable():
        for epoch in range(1, config.epochs + 1):
            total = torch.zeros(())
            shuffled = torch.randperm(len(users), generator=generator)
            for step, batch in enumerate(torch.split(shuffled, config.batch_size), start=1):
                loss = train_step(
                    model, optimizer, users[batch], items[batch], negatives, config, generator
                )
                if not math.isfinite(loss):
                    raise TrainingDiverged(
                        f"the loss is {loss} at epoch {epoch}, step {step}, learning_rate "
                        f"{config.learning_rate:g}; a smaller learning_rate may help"
                    )
                total += loss * len(batch)
            losses.append(float(total) / len(users))
            progress(epoch, losses[-1])
    return losses


@contextmanager
def _repeatable() -> Iterator[None]:
    """Have gradients of gathered rows added up in a fixed order; it is the faster way as well."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def train_step(
    model: LightGCN,
    optimizer: torch.optim.Optimizer,
    user_rows: Tensor,
    item_rows: Tensor,
    negatives: NegativeSampler,
    config: TrainingConfig,
    generator: torch.Generator,
) -> float:
    """Take one step on a batch of interactions (B,), (B,) and return its loss."""
    negative_rows = negatives.sample(user_rows, generator)
    final = model()  # (N, D)
    nodes = [user_rows, model.users + item_rows, model.users + negative_rows]
    user, positive, negative = (final[rows] for rows in nodes)  # (B, D) each
    loss = bpr((user * positive).sum(1), (user * negative).sum(1))
    loss = loss + config.weight_decay * l2(*(model.layer0[rows] for rows in nodes))
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.item()
