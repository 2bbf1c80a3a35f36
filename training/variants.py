"""Data to embeddings: every model that a configuration asks for."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from training.checkpoint import FileCheckpoint
from training.config import Config, LightGCNConfig, data_folder
from training.data.dataset import Dataset, Interactions
from training.data.features import read_features
from training.errors import InvalidConfig
from training.evaluate import evaluate, heldout
from training.fit import Validate, fit
from training.fusion import compress, join
from training.graph import Halves, adjacency, csr, edges
from training.initial import Features, initial
from training.models.lightgcn import LightGCN
from training.models.spectral import spectral
from training.reporter import Reporter
from training.steps import PairSteps, Steps, UserSteps


@dataclass
class Built:
    """Embeddings by variant, on the CPU, and how the fitted one came about."""

    embeddings: dict[str, Halves] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)
    validations: list[tuple[int, float]] = field(default_factory=list)


def build(
    config: Config,
    dataset: Dataset,
    beside: Path,
    reporter: Reporter,
    checkpoint: Path,
    *,
    resume: bool,
) -> Built:
    """Train or compute every configured variant."""
    built = Built()
    graph_edges = edges(dataset.train, config.graph)
    users, items = len(dataset.user_ids), len(dataset.item_ids)
    if config.spectral is not None:
        reporter.start("spectral", 1)
        generator = torch.Generator().manual_seed(config.seed)
        built.embeddings["spectral"] = spectral(
            graph_edges, users, items, config.spectral, generator
        )
    if config.lightgcn is not None:
        features = _features(config, config.lightgcn, dataset, beside)
        saved = FileCheckpoint(
            checkpoint, {"config": _identity(config), "data": dataset.fingerprint()}, resume=resume
        )
        built.embeddings["lightgcn"] = _fit_lightgcn(
            config, config.lightgcn, dataset, graph_edges, features, saved, built, reporter
        )
    if config.fusion is not None:
        reporter.start("fusion", 1)
        joint = join(
            built.embeddings["lightgcn"],
            built.embeddings["spectral"],
            config.fusion.spectral_weight,
            torch.from_numpy(dataset.train.item_rows).long(),
        )
        if config.fusion.embedding_dim is not None:
            joint = compress(joint, config.fusion.embedding_dim)
        built.embeddings["fused"] = joint
    return built


def device(config: Config) -> torch.device:
    """Return where to train, or raise InvalidConfig when there is no such device."""
    there = torch.cuda.is_available()
    if config.device == "cuda" and not there:
        raise InvalidConfig('device is "cuda" and this machine has no CUDA device; use "auto"')
    return torch.device("cuda" if there and config.device != "cpu" else "cpu")


def _fit_lightgcn(
    config: Config,
    shape: LightGCNConfig,
    dataset: Dataset,
    graph_edges: Interactions,
    features: Features | None,
    saved: FileCheckpoint,
    built: Built,
    reporter: Reporter,
) -> Halves:
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
    validate = _validation(config, shape, dataset) if shape.training.patience is not None else None
    reporter.start("training", shape.training.epochs)
    report: Callable[[int, str], None] = reporter.advance
    embeddings, state = fit(model, steps, shape.training, generator, validate, saved, report)
    built.losses, built.validations = state.losses, state.validations
    return published(embeddings, shape)


def published(embeddings: Halves, shape: LightGCNConfig) -> Halves:
    """Return the embeddings as they are served: items with their length to a power."""
    users, items = embeddings
    if shape.norm_exponent == 1:
        return users, items
    lengths = items.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return users, items * lengths ** (shape.norm_exponent - 1)


def _validation(config: Config, shape: LightGCNConfig, dataset: Dataset) -> Validate:
    """Return the NDCG on the validation part, at the first of the configured list lengths."""
    users, items = len(dataset.user_ids), len(dataset.item_ids)
    seen, held_out = csr(dataset.train, users), heldout(dataset.validation, users, items)
    k = config.evaluation.k[0]

    def validate(embeddings: Halves) -> float:
        ours, theirs = (half.numpy() for half in published(embeddings, shape))
        return evaluate(ours, theirs, seen, held_out, (k,)).metrics[f"ndcg@{k}"]

    return validate


def _features(
    config: Config, shape: LightGCNConfig, dataset: Dataset, beside: Path
) -> Features | None:
    if shape.features is None:
        return None
    folder = data_folder(config.data, beside)
    return (
        read_features(folder / shape.features.users, config.data.user_column, dataset.user_ids),
        read_features(folder / shape.features.items, config.data.item_column, dataset.item_ids),
    )


def _identity(config: Config) -> dict[str, Any]:
    """Return what a resumed training must share: all that bears on its arithmetic.

    The list lengths do: the first is what early stopping looks at.
    """
    return config.model_dump(mode="json", exclude={"fusion"})
