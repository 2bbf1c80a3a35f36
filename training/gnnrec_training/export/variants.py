"""Every variant that a configuration asks for, trained or computed, ready to be published."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gnnrec_registry import VariantExport, Version
from gnnrec_registry.files.json import Json
from gnnrec_training.config import Config
from gnnrec_training.data.dataset import Dataset
from gnnrec_training.export.graph_models import (
    LightGCNBuilt,
    build_fused,
    build_lightgcn,
    build_spectral,
)
from gnnrec_training.export.warm_start import build_warm
from gnnrec_training.fitting.checkpoint import Checkpoint, Checkpoints, NoCheckpoint
from gnnrec_training.fitting.device import training_device
from gnnrec_training.fitting.loop import History
from gnnrec_training.graph.edges import edges
from gnnrec_training.graph.propagation import EmbeddingPair
from gnnrec_training.reporter import Reporter

if TYPE_CHECKING:
    from gnnrec_training.export.node_models import Fitted


@dataclass
class Built:
    """Variants by name, and how the fitted ones came about."""

    variants: dict[str, VariantExport] = field(default_factory=dict)
    losses: dict[str, list[float]] = field(default_factory=dict)
    """The mean loss of each epoch, by variant."""
    validations: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    """Epoch and score of each validation, by variant."""
    on_train: dict[str, EmbeddingPair] = field(default_factory=dict)
    """For variants that are embedded over more than the training part: their embeddings over the
    training part alone, which validation may measure."""
    warm_start: Json | None = None
    """What LightGCN was started from, where it was started from another version."""

    def add_history(self, name: str, history: History) -> None:
        """Take in how a variant's training went."""
        self.losses[name], self.validations[name] = history.losses, history.validations

    def add_fitted(self, name: str, fitted: "Fitted") -> None:
        """Take in a node model."""
        self.variants[name] = fitted.variant
        self.add_history(name, fitted.history)
        self.on_train[name] = fitted.on_train


def build_variants(
    config: Config,
    dataset: Dataset,
    beside: Path,
    reporter: Reporter,
    checkpoints: Checkpoints | None = None,
    version: Version | None = None,
) -> Built:
    """Train or compute every configured variant, going on from the checkpoints that are there.

    `beside`: the folder that the configuration's relative paths start from; `version`: one whose
    embeddings LightGCN starts from.
    """
    built = Built()

    def checkpoint(model: str) -> Checkpoint:
        return NoCheckpoint() if checkpoints is None else checkpoints.of(model)

    weighted = edges(dataset.train, config.graph)
    if config.spectral is not None:
        reporter.start("spectral", 1)
        built.variants["spectral"] = build_spectral(config, dataset, weighted, reporter.advance)
    if config.lightgcn is not None:

        def fit(name: str, settings: Config, begun: EmbeddingPair | None) -> LightGCNBuilt:
            kept = checkpoint(name)
            return build_lightgcn(settings, dataset, beside, weighted, kept, reporter, begun)

        if version is None:
            built.variants["lightgcn"], history = fit("lightgcn", config, None)
        else:
            built.variants["lightgcn"], history, built.warm_start = build_warm(
                version, config, dataset, weighted, reporter, fit
            )
        built.add_history("lightgcn", history)
    if config.fusion is not None:
        reporter.start("fusion", 1)
        built.variants["fused"] = build_fused(config, dataset, built.variants)
    if config.sage is not None or config.hybrid is not None:
        # PyTorch Geometric takes three seconds to import, which other trainings are spared
        from gnnrec_training.export.node_models import build_hybrid, build_sage
    if config.sage is not None:
        reporter.start("sage", config.sage.training.epochs)
        device = training_device(config)
        fitted = build_sage(config, dataset, device, reporter.advance, checkpoint("sage"))
        built.add_fitted("sage", fitted)
    if config.hybrid is not None:
        reporter.start("hybrid", config.hybrid.training.epochs)
        lightgcn, device = built.variants["lightgcn"], training_device(config)
        fitted = build_hybrid(
            config, dataset, lightgcn, device, reporter.advance, checkpoint("hybrid")
        )
        built.add_fitted("hybrid", fitted)
    return built
