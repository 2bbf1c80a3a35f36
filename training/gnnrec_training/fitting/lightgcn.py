"""The training of LightGCN: its optimizer, its step, and what a checkpoint keeps of it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from gnnrec_training.config import FitConfig
from gnnrec_training.evaluation.validation import Validate
from gnnrec_training.fitting.checkpoint import Checkpoint, Saved
from gnnrec_training.fitting.lightgcn_batches import Batches
from gnnrec_training.fitting.loop import History, Run, train_epochs
from gnnrec_training.graph.propagation import EmbeddingPair
from gnnrec_training.models.lightgcn import LightGCN
from gnnrec_training.reporter import Progress


def fit_lightgcn(
    model: LightGCN,
    batches: Batches,
    config: FitConfig,
    generator: torch.Generator,
    validate: Validate | None = None,
    checkpoint: Checkpoint | None = None,
    progress: Progress = lambda epochs, note: None,
    stop_after: int | None = None,
) -> tuple[EmbeddingPair, History]:
    """Fit the model and return its embeddings: with patience those of the best validation.

    stop_after: end after so many epochs of the schedule, if not earlier. Raises TrainingDiverged as
    soon as a loss is not finite.
    """
    training = _Training(model, batches, config, generator)
    history = train_epochs(training, config, validate, checkpoint, progress, stop_after)
    return model.embeddings(), history


class LightGCNRun(Run):
    """LightGCN in training, to be advanced as far as its score deserves."""

    def __init__(
        self,
        model: LightGCN,
        batches: Batches,
        config: FitConfig,
        generator: torch.Generator,
        validate: Validate | None = None,
    ) -> None:
        self._lightgcn = _Training(model, batches, config, generator)
        super().__init__(self._lightgcn, config, validate)

    def embeddings(self) -> EmbeddingPair:
        """Return what would be published now; the training may be advanced after that."""
        now, best = self._lightgcn.parameters(), self.history.best
        if best is None:
            return self._lightgcn.embeddings()
        self._lightgcn.take(best.parameters)
        embeddings = self._lightgcn.embeddings()
        self._lightgcn.take(now)
        return embeddings


class _Training:
    """LightGCN in training."""

    divergence = (
        "the loss is {loss} at epoch {epoch}, step {step}, learning rate {rate}; a smaller "
        "learning_rate may help"
    )

    def __init__(
        self, model: LightGCN, batches: Batches, config: FitConfig, generator: torch.Generator
    ) -> None:
        self._model, self._batches, self._generator = model, batches, generator
        self._optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)

    def epoch(self) -> Sequence[Tensor]:
        return self._batches.epoch(self._generator)

    def weight(self, batch: Tensor) -> int:
        return len(batch)

    def step(self, batch: Tensor, rate: float) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        with _repeatable():
            return train_step(self._model, self._batches, self._optimizer, batch, self._generator)

    def embeddings(self) -> EmbeddingPair:
        return self._model.embeddings()

    def parameters(self) -> tuple[Tensor, ...]:
        return self._model.layer0()

    def take(self, parameters: tuple[Tensor, ...]) -> None:
        users, items = parameters
        self._model.take_layer0((users, items))

    def state(self) -> Saved:
        return {
            "parameters": {
                name: parameter.detach() for name, parameter in self._model.named_parameters()
            },
            "optimizer": self._optimizer.state_dict(),
            "generator": self._generator.get_state(),
        }

    def restore(self, saved: Saved) -> None:
        with torch.no_grad():
            for name, parameter in self._model.named_parameters():
                parameter.copy_(saved["parameters"][name])
        self._optimizer.load_state_dict(saved["optimizer"])
        self._generator.set_state(saved["generator"])


def train_step(
    model: LightGCN,
    batches: Batches,
    optimizer: torch.optim.Optimizer,
    batch: Tensor,
    generator: torch.Generator,
) -> float:
    """Take one step on a batch and return its loss."""
    loss = batches.loss(model, batch, generator)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.item()


@contextmanager
def _repeatable() -> Iterator[None]:
    """Have the CPU add up the gradients of gathered rows in a fixed order, which is faster too."""
    before = torch.are_deterministic_algorithms_enabled()
    settings: Any = torch.utils.deterministic
    fills = settings.fill_uninitialized_memory
    torch.use_deterministic_algorithms(not torch.cuda.is_available())
    settings.fill_uninitialized_memory = False  # nothing here reads memory before it is written
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        settings.fill_uninitialized_memory = fills
