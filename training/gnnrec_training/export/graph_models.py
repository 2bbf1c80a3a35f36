"""LightGCN as a variant: fitted, with what folds new users in."""

from pathlib import Path

import torch

from gnnrec_registry import VariantExport
from gnnrec_training.config import Config, LightGCNConfig, data_folder
from gnnrec_training.data.dataset import Dataset, Interactions
from gnnrec_training.data.numeric_tables import read_numeric_table
from gnnrec_training.evaluation.validation import Validate, validation
from gnnrec_training.export.arrays import one_segment, variant_export
from gnnrec_training.fitting.checkpoint import Checkpoint
from gnnrec_training.fitting.device import training_device
from gnnrec_training.fitting.lightgcn import LightGCNRun, fit_lightgcn
from gnnrec_training.fitting.lightgcn_batches import Batches, PairBatches, UserBatches
from gnnrec_training.fitting.loop import History
from gnnrec_training.graph.adjacency import adjacency
from gnnrec_training.graph.edges import evidence
from gnnrec_training.graph.propagation import EmbeddingPair
from gnnrec_training.graph.sparse import by_user
from gnnrec_training.models.fold_in import fold_in
from gnnrec_training.models.initial_embeddings import Features, initial_embeddings
from gnnrec_training.models.lightgcn import LightGCN, coefficients
from gnnrec_training.models.unseen import place_unseen
from gnnrec_training.models.warm_start import layer0_of
from gnnrec_training.reporter import Reporter

LightGCNBuilt = tuple[VariantExport, History]
"""LightGCN as a variant, and how its training went."""


def build_lightgcn(
    config: Config,
    dataset: Dataset,
    beside: Path,
    edges: Interactions,
    checkpoint: Checkpoint,
    reporter: Reporter,
    stop_after: int | None = None,
    start: EmbeddingPair | None = None,
) -> LightGCNBuilt:
    """Fit the LightGCN of [lightgcn]; return it, and how its training went.

    stop_after: end after so many epochs of the schedule, if not earlier; start: final embeddings to
    begin at, users (U, D) and items (I, D); as configured if not given
    """
    assert config.lightgcn is not None
    shape = config.lightgcn
    model, batches, generator = _begun(config, dataset, beside, edges, start)
    validate = _validate(config, dataset, decides=shape.training.patience > 0)
    reporter.start("lightgcn", stop_after or shape.training.epochs)
    embeddings, history = fit_lightgcn(
        model, batches, shape.training, generator, validate, checkpoint, reporter.advance,
        stop_after,
    )  # fmt: skip
    return _variant(config, edges, model, embeddings), history


class LightGCNTrial:
    """A LightGCN of a search: advanced as far as its validation score deserves."""

    def __init__(self, config: Config, dataset: Dataset, edges: Interactions) -> None:
        """Begin the LightGCN of [lightgcn]."""
        self._config, self._edges = config, edges
        self._model, batches, generator = _begun(config, dataset, Path(), edges)
        validate = _validate(config, dataset, decides=True)
        assert config.lightgcn is not None
        self.run = LightGCNRun(self._model, batches, config.lightgcn.training, generator, validate)

    def variant(self) -> VariantExport:
        """Return what would be published now; end of the trial."""
        self.run.finish()
        return _variant(self._config, self._edges, self._model, self._model.embeddings())


def published(embeddings: EmbeddingPair, shape: LightGCNConfig) -> EmbeddingPair:
    """Return LightGCN's embeddings as they are served: items with their length to a power."""
    users, items = embeddings
    if shape.norm_exponent == 1:
        return users, items
    lengths = items.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return users, items * lengths ** (shape.norm_exponent - 1)


def _begun(
    config: Config,
    dataset: Dataset,
    beside: Path,
    edges: Interactions,
    start: EmbeddingPair | None = None,
) -> tuple[LightGCN, Batches, torch.Generator]:
    """Return the model before training, its batches, and its random numbers.

    start: final embeddings that it has before training
    """
    assert config.lightgcn is not None
    shape = config.lightgcn
    device = training_device(config)
    generator = torch.Generator().manual_seed(config.seed)
    users, items = len(dataset.user_ids), len(dataset.item_ids)
    graph = adjacency(edges, users, items, shape.aggregation)
    if start is None:
        features = _features(config, shape, dataset, beside)
        layer0 = initial_embeddings(shape, edges, users, items, generator, features)
    else:
        layer0 = layer0_of(start, graph, coefficients(shape))
    model = LightGCN(graph.to(device), shape, layer0).to(device)
    return model, _batches(config, shape, dataset, device), generator


def _batches(
    config: Config, shape: LightGCNConfig, dataset: Dataset, device: torch.device
) -> Batches:
    positives = by_user(evidence(dataset, config.graph), len(dataset.user_ids))
    items = len(dataset.item_ids)
    if shape.training.loss in ("softmax", "bsl"):
        return UserBatches(positives, items, shape.training, device)
    return PairBatches(dataset.train, positives, items, shape.training, device)


def _validate(config: Config, dataset: Dataset, *, decides: bool) -> Validate | None:
    assert config.lightgcn is not None
    shape, watch = config.lightgcn, validation(config, dataset, decides=decides)
    return None if watch is None else lambda learned: watch(published(learned, shape))


def _variant(
    config: Config, edges: Interactions, model: LightGCN, embeddings: EmbeddingPair
) -> VariantExport:
    """Return the model as it is published, with its fold-in where it has one."""
    assert config.lightgcn is not None
    shape = config.lightgcn
    placed = place_unseen(published(embeddings, shape), edges)
    if shape.num_layers == 0:
        return variant_export(placed)  # nothing comes from neighbours: no fold-in
    fold, exponent = fold_in(model, shape, edges)
    segment = one_segment(fold, exponent, weighted=config.graph.weighted is True)
    return variant_export(placed, fold=fold, fold_in=segment)


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
