"""Data to embeddings: every variant that a configuration asks for, ready to be published."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gnnrec_registry import FoldIn, Segment, VariantExport
from gnnrec_training.checkpoint import Checkpoint, Checkpoints, NoCheckpoint
from gnnrec_training.config import Config, LightGCNConfig, data_folder
from gnnrec_training.data.dataset import Dataset, Interactions
from gnnrec_training.data.numeric_tables import read_numeric_table
from gnnrec_training.errors import InvalidConfig
from gnnrec_training.fit import fit
from gnnrec_training.fold_in import fold_in
from gnnrec_training.fusion import compress, join
from gnnrec_training.graph import Halves, adjacency, csr, edges, tensors
from gnnrec_training.initial import Features, initial
from gnnrec_training.models.lightgcn import LightGCN
from gnnrec_training.models.spectral import spectral
from gnnrec_training.reporter import Reporter
from gnnrec_training.steps import PairSteps, Steps, UserSteps
from gnnrec_training.validation import validation

if TYPE_CHECKING:
    from gnnrec_training.nodes.variants import Fitted


@dataclass
class Built:
    """Variants by name, and how the fitted ones came about."""

    variants: dict[str, VariantExport] = field(default_factory=dict)
    losses: dict[str, list[float]] = field(default_factory=dict)
    """The mean loss of each epoch, by variant."""
    validations: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    """Epoch and score of each validation, by variant."""
    on_train: dict[str, Halves] = field(default_factory=dict)
    """Of the variants embedded over more than the training part: how they look over that alone."""


def build(
    config: Config,
    dataset: Dataset,
    beside: Path,
    reporter: Reporter,
    checkpoints: Checkpoints | None = None,
) -> Built:
    """Train or compute every configured variant, from where the checkpoints stand if there are."""
    built = Built()

    def kept(model: str) -> Checkpoint:
        return NoCheckpoint() if checkpoints is None else checkpoints.of(model)

    graph_edges = edges(dataset.train, config.graph)
    if config.spectral is not None:
        reporter.start("spectral", 1)
        built.variants["spectral"] = _spectral(config, dataset, graph_edges, reporter)
    if config.lightgcn is not None:
        features = _features(config, config.lightgcn, dataset, beside)
        built.variants["lightgcn"] = _fit_lightgcn(
            config,
            config.lightgcn,
            dataset,
            graph_edges,
            features,
            kept("lightgcn"),
            built,
            reporter,
        )
    if config.fusion is not None:
        reporter.start("fusion", 1)
        built.variants["fused"] = _fuse(config, dataset, built.variants)
    if config.sage is not None or config.hybrid is not None:
        # three seconds of imports that others are spared
        from gnnrec_training.nodes.variants import build_hybrid, build_sage
    if config.sage is not None:
        reporter.start("sage", config.sage.training.epochs)
        fitted = build_sage(
            config, config.sage, dataset, device(config), reporter.advance, kept("sage")
        )
        _take(built, "sage", fitted)
    if config.hybrid is not None:
        reporter.start("hybrid", config.hybrid.training.epochs)
        graph, on, told = built.variants["lightgcn"], device(config), reporter.advance
        fitted = build_hybrid(config, config.hybrid, dataset, graph, on, told, kept("hybrid"))
        _take(built, "hybrid", fitted)
    return built


def _take(built: Built, name: str, fitted: "Fitted") -> None:
    built.variants[name] = fitted.variant
    built.losses[name] = fitted.course.losses
    built.validations[name] = fitted.course.validations
    built.on_train[name] = fitted.on_train


def device(config: Config) -> torch.device:
    """Return where to train, or raise InvalidConfig when there is no such device."""
    there = torch.cuda.is_available()
    if config.device == "cuda" and not there:
        raise InvalidConfig('device is "cuda" and this machine has no CUDA device; use "auto"')
    return torch.device("cuda" if there and config.device != "cpu" else "cpu")


def _spectral(
    config: Config, dataset: Dataset, graph_edges: Interactions, reporter: Reporter
) -> VariantExport:
    assert config.spectral is not None
    users, items = len(dataset.user_ids), len(dataset.item_ids)
    generator = torch.Generator().manual_seed(config.seed)
    halves, fold = spectral(graph_edges, users, items, config.spectral, generator, reporter.advance)
    return _exported(halves, dataset, fold, _folded(config, fold, 0))


def _fuse(config: Config, dataset: Dataset, variants: dict[str, VariantExport]) -> VariantExport:
    assert config.fusion is not None
    lightgcn, closed = variants["lightgcn"], variants["spectral"]
    joint, scale = join(
        tensors(lightgcn),
        tensors(closed),
        config.fusion.spectral_weight,
        torch.from_numpy(dataset.train.item_rows).long(),
    )
    if config.fusion.embedding_dim is not None:
        return _exported(compress(joint, config.fusion.embedding_dim), dataset)
    if lightgcn.fold_in is None or closed.fold_in is None:
        return _exported(joint, dataset)
    assert lightgcn.fold is not None
    assert closed.fold is not None
    fold = torch.from_numpy(np.concatenate([lightgcn.fold, closed.fold * np.float32(scale)], 1))
    segments = (*lightgcn.fold_in.segments, *closed.fold_in.segments)
    return _exported(
        joint, dataset, fold, FoldIn(segments=segments, weighted=config.graph.weighted)
    )


def _fit_lightgcn(
    config: Config,
    shape: LightGCNConfig,
    dataset: Dataset,
    graph_edges: Interactions,
    features: Features | None,
    kept: Checkpoint,
    built: Built,
    reporter: Reporter,
) -> VariantExport:
    users, items = len(dataset.user_ids), len(dataset.item_ids)
    place = device(config)
    generator = torch.Generator().manual_seed(config.seed)
    layer0 = initial(shape, graph_edges, users, items, generator, features)
    graph = adjacency(graph_edges, users, items, shape.aggregation).to(place)
    model = LightGCN(graph, shape, layer0).to(place)
    positives = csr(dataset.train, users)
    steps: Steps
    if shape.training.loss in ("softmax", "bsl"):
        steps = UserSteps(positives, items, shape.training, place)
    else:
        steps = PairSteps(dataset.train, positives, items, shape.training, place)
    watch = validation(config, dataset, all_users=shape.training.patience is not None)
    validate = None if watch is None else lambda halves: watch(published(halves, shape))
    reporter.start("lightgcn", shape.training.epochs)
    report: Callable[[float, str], None] = reporter.advance
    embeddings, state = fit(model, steps, shape.training, generator, validate, kept, report)
    built.losses["lightgcn"], built.validations["lightgcn"] = state.losses, state.validations
    halves = published(embeddings, shape)
    if shape.num_layers == 0:
        return _exported(halves, dataset)  # without layers nothing comes from neighbours
    fold, exponent = fold_in(model, shape, graph_edges)
    return _exported(halves, dataset, fold, _folded(config, fold, exponent))


def published(embeddings: Halves, shape: LightGCNConfig) -> Halves:
    """Return the embeddings as they are served: items with their length to a power."""
    users, items = embeddings
    if shape.norm_exponent == 1:
        return users, items
    lengths = items.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return users, items * lengths ** (shape.norm_exponent - 1)


def _exported(
    halves: Halves, dataset: Dataset, fold: Tensor | None = None, fold_in: FoldIn | None = None
) -> VariantExport:
    """Return graph embeddings for publishing.

    What the graph has not seen it cannot place: an item without interactions scores 0 for all, a
    user without any is the mean of the others.
    """
    users, items = (half.numpy(force=True).copy() for half in halves)
    train = dataset.train
    has_items = np.bincount(train.user_rows, minlength=len(users)) > 0
    users[~has_items] = users[has_items].mean(axis=0)
    items[np.bincount(train.item_rows, minlength=len(items)) == 0] = 0
    return VariantExport(
        users, items, fold=None if fold is None else fold.numpy(force=True), fold_in=fold_in
    )


def _folded(config: Config, fold: Tensor, degree_exponent: float) -> FoldIn:
    segment = Segment(width=fold.shape[1], degree_exponent=degree_exponent)
    return FoldIn(segments=(segment,), weighted=config.graph.weighted)


def _features(
    config: Config, shape: LightGCNConfig, dataset: Dataset, beside: Path
) -> Features | None:
    if shape.features is None:
        return None
    folder = data_folder(config.data, beside)
    return (
        read_numeric_table(shape.features.users, config.data.user_column, dataset.user_ids, folder),
        read_numeric_table(shape.features.items, config.data.item_column, dataset.item_ids, folder),
    )
