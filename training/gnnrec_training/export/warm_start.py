"""LightGCN started from the embeddings of a published version, and judged before it is kept.

The embeddings are taken over by id. Training then takes a fraction of the configured epochs, for it
has only to learn what is new. Validation holds out only what the version did not know
(data/news.py). A warm start is kept unless it finds that worse than its own beginning does, the
version's embeddings as they were, by more than chance explains. If it does, LightGCN is trained
from nothing as well, and the better of the two is kept.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gnnrec_registry import Version
from gnnrec_training.config import Config
from gnnrec_training.config.following import following
from gnnrec_training.data.dataset import Dataset, Interactions
from gnnrec_training.data.news import rows_of
from gnnrec_training.errors import InvalidConfig
from gnnrec_training.evaluation.judge import Judge
from gnnrec_training.evaluation.seen import history
from gnnrec_training.export.arrays import variant_export
from gnnrec_training.export.graph_models import LightGCNBuilt, published
from gnnrec_training.graph.propagation import EmbeddingPair
from gnnrec_training.models.unseen import place_unseen
from gnnrec_training.models.warm_start import from_neighbours
from gnnrec_training.reporter import Reporter

EPOCHS = 1 / 8
"""The epochs of a warm start, as a share of the configured ones, rounded up."""
_RATE = 0.25
"""Its learning rate at the start, as a share of the configured one; it falls to zero linearly."""
_FEWEST_JUDGES = 30
"""Fewer users than this say nothing."""
_ERRORS = 1.96
"""So many standard errors are worse than chance explains, as in the verdict of a training."""

Fit = Callable[[str, Config, EmbeddingPair | None], LightGCNBuilt]
"""fit(name of the checkpoint, config, final embeddings to begin at) fits LightGCN."""


@dataclass(frozen=True)
class Start:
    """What a version gives to a data set."""

    version: str
    embeddings: EmbeddingPair
    """Users (U, D) and items (I, D) by the data set's rows, before any training."""


def begun(config: Config, version: Version, reporter: Reporter) -> Config:
    """Return the configuration of a training that starts from a version.

    One that names no models takes over those of the version. What is served is what the version
    serves, unless `serve` is set: what is new is too little to choose by. Raises InvalidConfig.
    """
    manifest, named = version.manifest, bool(config.variants)
    config = following(config, version.name, manifest.config, manifest.default_variant)
    models = ", ".join(config.variants)
    if named and config.lightgcn is None:
        raise InvalidConfig(
            f"only LightGCN can start from a version such as {version.name}, and this "
            "configuration names models without [lightgcn]; add it, or train without the version"
        )
    if not named:
        anew = "" if config.lightgcn else "; it has no lightgcn, so these are computed anew"
        reporter.tell(f"models of {version.name}, with its settings: {models}{anew}")
    if config.serve is not None or len(config.variants) < 2:
        return config
    if manifest.default_variant not in config.variants:
        raise InvalidConfig(
            f"{version.name} serves {manifest.default_variant}, which is not among {models}; name "
            f'one of these to be served, such as serve = "{config.variants[-1]}"'
        )
    return config.model_copy(update={"serve": manifest.default_variant})


def start_from(
    version: Version, config: Config, dataset: Dataset, edges: Interactions, reporter: Reporter
) -> Start | None:
    """Return LightGCN's beginning by a version; None, and a line, where it cannot be one."""
    assert config.lightgcn is not None
    entry = version.manifest.variants.get("lightgcn")
    width = config.lightgcn.embedding_dim
    cold = "training starts from nothing"
    if entry is None:
        there = ", ".join(version.manifest.variants)
        reporter.tell(f"{version.name} has no variant lightgcn (it has {there}); {cold}")
        return None
    if entry.embedding_dim != width:
        reporter.tell(
            f"lightgcn of {version.name} has {entry.embedding_dim} dimensions and "
            f"lightgcn.embedding_dim is {width}; {cold}"
        )
        return None
    user_rows = rows_of(version.user_ids, dataset.user_ids)
    item_rows = rows_of(version.item_ids, dataset.item_ids)
    if user_rows.max() < 0 or item_rows.max() < 0:
        side = "users" if user_rows.max() < 0 else "items"
        reporter.tell(f"{version.name} has none of the {side} of these data; {cold}")
        return None
    users, items = (torch.from_numpy(np.array(half)) for half in version.embeddings("lightgcn"))
    shape = version.manifest.config.get("lightgcn") or {}
    exponent = float(shape.get("norm_exponent", 1.0))
    items = _with_lengths(items, exponent, float(users.norm(dim=1).mean()))
    generator = torch.Generator().manual_seed(config.seed)
    start = from_neighbours(_taken(users, user_rows), _taken(items, item_rows), edges, generator)
    training = config.lightgcn.training
    reporter.tell(
        f"lightgcn starts from {version.name}, which has {np.count_nonzero(user_rows >= 0):,} of "
        f"{len(user_rows):,} users and {np.count_nonzero(item_rows >= 0):,} of "
        f"{len(item_rows):,} items, and trains {math.ceil(training.epochs * EPOCHS)} of "
        f"{training.epochs} epochs"
    )
    return Start(version.name, start)


def warm(config: Config) -> Config:
    """Return the configuration with the schedule of a warm start: all of it, without patience.

    What is new is too little to tell one epoch from the next.
    """
    assert config.lightgcn is not None
    training = config.lightgcn.training
    epochs = math.ceil(training.epochs * EPOCHS)
    shorter = training.model_copy(
        update={
            "epochs": epochs,
            "learning_rate": training.learning_rate * _RATE,
            "schedule": "linear",
            "warmup": 0.0,
            "patience": 0,
            "validate_every": math.ceil(epochs / 4),
        }
    )
    lightgcn = config.lightgcn.model_copy(update={"training": shorter})
    return config.model_copy(update={"lightgcn": lightgcn})


def build_warm(
    version: Version,
    config: Config,
    dataset: Dataset,
    edges: Interactions,
    reporter: Reporter,
    fit: Fit,
) -> tuple[LightGCNBuilt, bool]:
    """Fit LightGCN from a version's embeddings; from nothing too, if those were the better ones.

    Returns the better one, and whether that is the one from the version.
    """
    start = start_from(version, config, dataset, edges, reporter)
    if start is None:
        return fit("lightgcn", config, None), False
    assert config.lightgcn is not None
    kept = fit("lightgcn", warm(config), start.embeddings)
    judge, graph = Judge(config, dataset), history(config, dataset)
    if len(judge.users) < _FEWEST_JUDGES:
        reporter.tell(
            f"only {len(judge.users)} users have validation interactions that {start.version} did "
            "not know: too few to tell whether the warm start is as good as a training from nothing"
        )
        return kept, True
    as_published = place_unseen(published(start.embeddings, config.lightgcn), edges)
    before = judge.per_user(variant_export(as_published), graph)
    scores = judge.per_user(kept[0], graph)
    lost = before - scores
    if lost.mean() <= _ERRORS * lost.std() / math.sqrt(len(lost)):
        return kept, True
    reporter.tell(
        f"the warm start has ndcg@{judge.k} {scores.mean():.4f} where {start.version} has "
        f"{before.mean():.4f}, on what is new since then; training starts from nothing as well"
    )
    cold = fit("lightgcn-cold", config, None)
    cold_score = judge.per_user(cold[0], graph).mean()
    better = "warm" if scores.mean() > cold_score else "cold"
    reporter.tell(f"from nothing it is {cold_score:.4f}; the {better} one is kept")
    return (kept, True) if better == "warm" else (cold, False)


def build_warm_again(
    version: Version,
    config: Config,
    dataset: Dataset,
    edges: Interactions,
    reporter: Reporter,
    fit: Fit,
) -> LightGCNBuilt:
    """Fit LightGCN from a version's embeddings, as a first fit that was kept did on fewer data."""
    start = start_from(version, config, dataset, edges, reporter)
    assert start is not None  # more data have no fewer ids of the version
    return fit("lightgcn", warm(config), start.embeddings)


def _taken(half: Tensor, rows: NDArray[np.int64]) -> Tensor:
    """Return rows of a half (M, D), zeros for row -1: rows (N,) -> (N, D)."""
    return half[torch.from_numpy(rows)] * torch.from_numpy(rows >= 0)[:, None]


def _with_lengths(items: Tensor, exponent: float, mean: float) -> Tensor:
    """Return published items with the lengths they were learned with, `mean` if these are lost."""
    lengths = items.norm(dim=1, keepdim=True).clamp(min=1e-12)
    factors: Tensor = mean / lengths if exponent == 0 else lengths ** (1 / exponent - 1)
    return items * factors
