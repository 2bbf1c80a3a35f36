"""Every variant that a configuration asks for, trained or computed, ready to be published."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gnnrec_registry import ItemLists, VariantExport
from gnnrec_training.config import Config
from gnnrec_training.data.dataset import Dataset, Interactions
from gnnrec_training.export.closed_forms import ClosedForms
from gnnrec_training.export.fused import build_fused
from gnnrec_training.export.graph_models import build_lightgcn
from gnnrec_training.fitting.checkpoint import Checkpoint, Checkpoints, NoCheckpoint
from gnnrec_training.fitting.loop import History
from gnnrec_training.graph.edges import edges
from gnnrec_training.reporter import Reporter

if TYPE_CHECKING:
    from gnnrec_training.export.node_models import Factors, Fitted


@dataclass(frozen=True)
class Lessons:
    """What validation chose in a first fit, for a second one that has no validation part."""

    epochs: Mapping[str, int]
    """How many epochs of its schedule each fitted model is trained."""
    factors: "Factors | None" = None
    """The hybrid's."""


@dataclass
class Built:
    """Variants by name, and how the fitted ones came about."""

    variants: dict[str, VariantExport] = field(default_factory=dict)
    losses: dict[str, list[float]] = field(default_factory=dict)
    """The mean loss of each epoch, by variant."""
    validations: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    """Epoch and score of each validation, by variant."""
    epochs: dict[str, int] = field(default_factory=dict)
    """How many epochs what is published was trained, by variant."""
    factors: "Factors | None" = None
    """The hybrid's two factors."""

    @property
    def lessons(self) -> Lessons:
        """What a second fit may repeat of this one."""
        return Lessons(self.epochs, self.factors)

    @property
    def lists(self) -> dict[str, ItemLists]:
        """The item lists of the variants that have some."""
        return {
            name: variant.lists
            for name, variant in self.variants.items()
            if variant.lists is not None
        }

    def add_history(self, name: str, history: History) -> None:
        """Take in how a variant's training went."""
        self.losses[name], self.validations[name] = history.losses, history.validations
        self.epochs[name] = history.epochs if history.best is None else history.best.epoch

    def add_fitted(self, name: str, fitted: "Fitted") -> None:
        """Take in a node model."""
        self.variants[name] = fitted.variant
        self.add_history(name, fitted.history)
        self.factors = fitted.factors or self.factors


def build_variants(
    config: Config,
    dataset: Dataset,
    beside: Path,
    reporter: Reporter,
    checkpoints: Checkpoints | None = None,
    lessons: Lessons | None = None,
) -> Built:
    """Train or compute every configured variant, going on from the checkpoints that are there.

    `beside`: the folder that the configuration's relative paths start from; lessons: what a first
    fit found on validation, where this is the second.
    """
    built, graph = Built(), edges(dataset, config.graph)
    _compute(config, dataset, graph, reporter, built)
    _fit(config, dataset, beside, graph, reporter, checkpoints, lessons, built)
    if config.fusion is not None:
        reporter.start("fusion", 1)
        built.variants["fused"] = build_fused(config, graph, built.variants)
    return built


def _compute(
    config: Config, dataset: Dataset, graph: Interactions, reporter: Reporter, built: Built
) -> None:
    """Compute the models in closed form."""
    users, items = len(dataset.user_ids), len(dataset.item_ids)
    forms = ClosedForms(
        graph, users, items, config.seed,
        weighted=config.graph.weighted is True, share_done=reporter.advance,
    )  # fmt: skip
    for name in ("spectral", "ease", "als", "cooccurrence"):
        section = getattr(config, name)
        if section is not None:
            reporter.start(name, 1)
            built.variants[name] = getattr(forms, name)(section)


def _fit(
    config: Config,
    dataset: Dataset,
    beside: Path,
    graph: Interactions,
    reporter: Reporter,
    checkpoints: Checkpoints | None,
    lessons: Lessons | None,
    built: Built,
) -> None:
    """Fit the models that are trained in epochs."""
    again = "" if lessons is None else "-again"

    def checkpoint(model: str) -> Checkpoint:
        return NoCheckpoint() if checkpoints is None else checkpoints.of(model + again)

    def epochs(model: str) -> int | None:
        return None if lessons is None else lessons.epochs[model]

    if config.lightgcn is not None:
        built.variants["lightgcn"], history = build_lightgcn(
            config, dataset, beside, graph, checkpoint("lightgcn"), reporter, epochs("lightgcn")
        )
        built.add_history("lightgcn", history)
    if config.sage is None and config.hybrid is None:
        return
    # PyTorch Geometric takes three seconds to import, which other trainings are spared
    from gnnrec_training.export.node_models import build_hybrid, build_sage

    if config.sage is not None:
        reporter.start("sage", epochs("sage") or config.sage.training.epochs)
        fitted = build_sage(
            config, dataset, graph, reporter.advance, checkpoint("sage"), epochs("sage")
        )
        built.add_fitted("sage", fitted)
    if config.hybrid is not None:
        reporter.start("hybrid", epochs("hybrid") or config.hybrid.training.epochs)
        fitted = build_hybrid(
            config, dataset, graph, built.variants["lightgcn"], reporter.advance,
            checkpoint("hybrid"), epochs("hybrid"), None if lessons is None else lessons.factors,
        )  # fmt: skip
        built.add_fitted("hybrid", fitted)
