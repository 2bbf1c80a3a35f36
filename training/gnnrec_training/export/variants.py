"""Every variant that a configuration asks for, trained or computed, ready to be published."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gnnrec_registry import ItemLists, StartEntry, VariantExport, Version
from gnnrec_training.config import Config
from gnnrec_training.data.dataset import Dataset, Interactions
from gnnrec_training.export.closed_forms import ClosedForms
from gnnrec_training.export.fused import build_fused
from gnnrec_training.export.graph_models import LightGCNBuilt, build_lightgcn
from gnnrec_training.export.warm_start import build_warm, build_warm_again
from gnnrec_training.fitting.checkpoint import Checkpoint, Checkpoints, NoCheckpoint
from gnnrec_training.fitting.loop import History
from gnnrec_training.graph.edges import edges
from gnnrec_training.graph.propagation import EmbeddingPair
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
    warm: bool = False
    """Whether LightGCN is started from another version's embeddings."""


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
    start: StartEntry | None = None
    """The version that training started from."""

    @property
    def lessons(self) -> Lessons:
        """What a second fit may repeat of this one."""
        warm = self.start is not None and self.start.epochs is not None
        return Lessons(self.epochs, self.factors, warm)

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

    def take_course(self, first: "Built") -> None:
        """Take over the course of a first fit, the one that validation watched."""
        self.losses, self.validations = first.losses, first.validations

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
    which: str = "",
    start: Version | None = None,
) -> Built:
    """Train or compute every configured variant, going on from the checkpoints that are there.

    `beside`: the folder that the configuration's relative paths start from; lessons: what a first
    fit found on validation, where this is a later one; which: its name, for those of checkpoints;
    start: a version whose embeddings LightGCN starts from, unless the first fit found these no
    good.
    """
    built, graph = Built(), edges(dataset, config.graph)
    _compute(config, dataset, graph, reporter, built)
    _fit(config, dataset, beside, graph, reporter, checkpoints, lessons, start, built, which)
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
    start: Version | None,
    built: Built,
    which: str,
) -> None:
    """Fit the models that are trained in epochs."""

    def checkpoint(model: str) -> Checkpoint:
        return NoCheckpoint() if checkpoints is None else checkpoints.of(model + which)

    def epochs(model: str) -> int | None:
        return None if lessons is None else lessons.epochs[model]

    def fit(name: str, settings: Config, begin_at: EmbeddingPair | None) -> LightGCNBuilt:
        kept, stop_after = checkpoint(name), epochs("lightgcn")
        return build_lightgcn(
            settings, dataset, beside, graph, kept, reporter, stop_after, begin_at
        )

    warm = False
    if config.lightgcn is not None:
        if start is None or (lessons is not None and not lessons.warm):
            lightgcn = fit("lightgcn", config, None)
        elif lessons is None:
            lightgcn, warm = build_warm(start, config, dataset, graph, reporter, fit)
        else:
            lightgcn, warm = build_warm_again(start, config, dataset, graph, reporter, fit), True
        built.variants["lightgcn"], history = lightgcn
        built.add_history("lightgcn", history)
    if start is not None:
        built.start = StartEntry(
            version=start.name, epochs=built.epochs["lightgcn"] if warm else None
        )
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
