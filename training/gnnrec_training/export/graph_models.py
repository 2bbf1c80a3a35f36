"""LightGCN, the spectral model and their fusion as variants, with what folds new users in."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gnnrec_registry import FoldIn, Segment, VariantExport
from gnnrec_training.config import Config, LightGCNConfig, data_folder
from gnnrec_training.data.dataset import Dataset, Interactions
from gnnrec_training.data.numeric_tables import read_numeric_table
from gnnrec_training.evaluation.validation import validation
from gnnrec_training.export.arrays import place_unseen, tensors, variant_export
from gnnrec_training.fitting.checkpoint import Checkpoint
from gnnrec_training.fitting.device import training_device
from gnnrec_training.fitting.lightgcn import fit_lightgcn
from gnnrec_training.fitting.lightgcn_batches import Batches, PairBatches, UserBatches
from gnnrec_training.fitting.loop import History
from gnnrec_training.graph.adjacency import adjacency
from gnnrec_training.graph.propagation import EmbeddingPair
from gnnrec_training.graph.sparse import by_user
from gnnrec_training.models.fold_in import fold_in
from gnnrec_training.models.fusion import compress, fuse
from gnnrec_training.models.initial_embeddings import Features, initial_embeddings
from gnnrec_training.models.lightgcn import LightGCN, coefficients
from gnnrec_training.models.spectral import spectral
from gnnrec_training.models.warm_start import layer0_of
from gnnrec_training.reporter import Reporter, ShareDone

LightGCNBuilt = tuple[VariantExport, History]
"""LightGCN as a variant, and how its training went."""


def build_spectral(
    config: Config, dataset: Dataset, edges: Interactions, share_done: ShareDone
) -> VariantExport:
    """Compute the spectral model of [spectral]."""
    assert config.spectral is not None
    users, items = len(dataset.user_ids), len(dataset.item_ids)
    generator = torch.Generator().manual_seed(config.seed)
    embeddings, fold = spectral(edges, users, items, config.spectral, generator, share_done)
    return variant_export(
        place_unseen(embeddings, dataset.train), fold=fold, fold_in=_one_segment(config, fold, 0)
    )


def build_lightgcn(
    config: Config,
    dataset: Dataset,
    beside: Path,
    edges: Interactions,
    checkpoint: Checkpoint,
    reporter: Reporter,
    start: EmbeddingPair | None = None,
) -> LightGCNBuilt:
    """Fit the LightGCN of [lightgcn]; return it, and how its training went.

    start: final embeddings to begin at, users (U, D) and items (I, D); as configured if not given
    """
    assert config.lightgcn is not None
    shape = config.lightgcn
    device = training_device(config)
    generator = torch.Generator().manual_seed(config.seed)
    users, items = len(dataset.user_ids), len(dataset.item_ids)
    adjacent = adjacency(edges, users, items, shape.aggregation)
    if start is None:
        features = _features(config, shape, dataset, beside)
        layer0 = initial_embeddings(shape, edges, users, items, generator, features)
    else:
        layer0 = layer0_of(start, adjacent, coefficients(shape))
    graph = adjacent.to(device)
    model = LightGCN(graph, shape, layer0).to(device)
    batches = _batches(shape, dataset, device)
    watch = validation(config, dataset, all_users=shape.training.patience is not None)
    validate = None if watch is None else lambda learned: watch(published(learned, shape))
    reporter.start("lightgcn", shape.training.epochs)
    embeddings, history = fit_lightgcn(
        model, batches, shape.training, generator, validate, checkpoint, reporter.advance
    )
    placed = place_unseen(published(embeddings, shape), dataset.train)
    if shape.num_layers == 0:
        return variant_export(placed), history  # nothing comes from neighbours: no fold-in
    fold, exponent = fold_in(model, shape, edges)
    segment = _one_segment(config, fold, exponent)
    return variant_export(placed, fold=fold, fold_in=segment), history


def build_fused(
    config: Config, dataset: Dataset, variants: dict[str, VariantExport]
) -> VariantExport:
    """Join the variants lightgcn and spectral into the one of [fusion].

    It folds new users in where both of its parts do and it is not compressed.
    """
    assert config.fusion is not None
    lightgcn, closed = variants["lightgcn"], variants["spectral"]
    joint, scale = fuse(
        tensors(lightgcn),
        tensors(closed),
        config.fusion.spectral_weight,
        torch.from_numpy(dataset.train.item_rows).long(),
    )
    if config.fusion.embedding_dim is not None:
        compressed = compress(joint, config.fusion.embedding_dim)
        return variant_export(place_unseen(compressed, dataset.train))
    placed = place_unseen(joint, dataset.train)
    if lightgcn.fold_in is None or closed.fold_in is None:
        return variant_export(placed)
    assert lightgcn.fold is not None
    assert closed.fold is not None
    fold = torch.from_numpy(np.concatenate([lightgcn.fold, closed.fold * np.float32(scale)], 1))
    segments = (*lightgcn.fold_in.segments, *closed.fold_in.segments)
    return variant_export(
        placed, fold=fold, fold_in=FoldIn(segments=segments, weighted=config.graph.weighted)
    )


def published(embeddings: EmbeddingPair, shape: LightGCNConfig) -> EmbeddingPair:
    """Return LightGCN's embeddings as they are served: items with their length to a power."""
    users, items = embeddings
    if shape.norm_exponent == 1:
        return users, items
    lengths = items.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return users, items * lengths ** (shape.norm_exponent - 1)


def _batches(shape: LightGCNConfig, dataset: Dataset, device: torch.device) -> Batches:
    items, positives = len(dataset.item_ids), by_user(dataset.train, len(dataset.user_ids))
    if shape.training.loss in ("softmax", "bsl"):
        return UserBatches(positives, items, shape.training, device)
    return PairBatches(dataset.train, positives, items, shape.training, device)


def _one_segment(config: Config, fold: Tensor, degree_exponent: float) -> FoldIn:
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
