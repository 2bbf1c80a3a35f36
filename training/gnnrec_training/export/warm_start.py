"""LightGCN started from the embeddings of a published version, and judged before it is kept.

The embeddings are taken over by id. Training then takes a fraction of the configured epochs, for it
has only to learn what is new.

A version may have been trained on interactions that the split of today withholds: a random split is
drawn anew when the data grow. So a warm start is judged only by validation interactions that the
version did not know. It is kept unless it finds these worse than its own beginning does, the
version's embeddings as they were, by more than a standard error. If it does, LightGCN is trained
from nothing as well, and the better of the two is kept.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gnnrec_registry import VariantExport, Version
from gnnrec_registry.files.json import Json
from gnnrec_training.config import Config, LightGCNConfig
from gnnrec_training.data.dataset import Dataset, Interactions, concatenate
from gnnrec_training.evaluation.ranking import evaluate, heldout
from gnnrec_training.export.arrays import place_unseen, tensors
from gnnrec_training.export.graph_models import LightGCNBuilt, published
from gnnrec_training.fitting.loop import History
from gnnrec_training.graph.propagation import EmbeddingPair
from gnnrec_training.graph.sparse import by_user
from gnnrec_training.models.warm_start import from_neighbours
from gnnrec_training.reporter import Reporter

EPOCHS = 1 / 8
"""The epochs of a warm start, as a share of the configured ones, rounded up."""
_RATE = 0.25
"""Its learning rate at the start, as a share of the configured one; it falls to zero linearly."""
_FEWEST_JUDGES = 30
"""Fewer users than this say nothing."""


@dataclass(frozen=True)
class Start:
    """What a version knows of a data set."""

    version: str
    embeddings: EmbeddingPair
    """Users (U, D) and items (I, D) by the data set's rows, before any training."""
    known: dict[str, NDArray[np.bool_]]
    """By part, validation and test: which interactions the version may have been trained on."""

    def record(self, epochs: int) -> Json:
        """Return what the version's report says of it."""
        known = {part: int(np.count_nonzero(mask)) for part, mask in self.known.items()}
        return {"version": self.version, "epochs": epochs, "known": known}


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
    user_rows = _rows(version.user_ids, dataset.user_ids)
    item_rows = _rows(version.item_ids, dataset.item_ids)
    if user_rows.max() < 0 or item_rows.max() < 0:
        side = "users" if user_rows.max() < 0 else "items"
        reporter.tell(f"{version.name} has none of the {side} of these data; {cold}")
        return None
    users, items = (torch.from_numpy(np.array(half)) for half in version.embeddings("lightgcn"))
    shape = version.manifest.config.get("lightgcn") or {}
    exponent = float(shape.get("norm_exponent", 1.0))
    items = _with_lengths(items, exponent, float(users.norm(dim=1).mean()))
    generator = torch.Generator().manual_seed(config.seed)
    begun = from_neighbours(_taken(users, user_rows), _taken(items, item_rows), edges, generator)
    parts = {"validation": dataset.validation, "test": dataset.test}
    known = {name: _known(version, part, user_rows, item_rows) for name, part in parts.items()}
    start = Start(version.name, begun, known)
    _tell(start, user_rows, item_rows, config.lightgcn, reporter)
    return start


def warm(config: Config) -> Config:
    """Return the configuration with the schedule of a warm start."""
    assert config.lightgcn is not None
    training = config.lightgcn.training
    shorter = training.model_copy(
        update={
            "epochs": math.ceil(training.epochs * EPOCHS),
            "learning_rate": training.learning_rate * _RATE,
            "schedule": "linear",
            "warmup": 0.0,
        }
    )
    lightgcn = config.lightgcn.model_copy(update={"training": shorter})
    return config.model_copy(update={"lightgcn": lightgcn})


class Judge:
    """Compares embeddings by the validation interactions that a version did not know."""

    def __init__(self, start: Start, config: Config, dataset: Dataset) -> None:
        users, items = len(dataset.user_ids), len(dataset.item_ids)
        known, self._train = start.known["validation"], dataset.train
        left_out = concatenate(dataset.train, dataset.validation.take(known))
        self._seen = by_user(left_out, users)
        self._held_out = heldout(dataset.validation.take(~known), users, items)
        self.metric, self._k = f"ndcg@{config.evaluation.k[0]}", config.evaluation.k[0]

    @property
    def users(self) -> int:
        """How many users can be asked."""
        return int(np.count_nonzero(self._held_out.sizes))

    def scores(self, embeddings: EmbeddingPair) -> NDArray[np.float64]:
        """Return the metric by user of embeddings as they are published: (V,)."""
        users, items = (
            np.ascontiguousarray(half.numpy()) for half in place_unseen(embeddings, self._train)
        )
        found = evaluate(users, items, self._seen, self._held_out, (self._k,))
        return found.per_user[self.metric]


def build_warm(
    version: Version,
    config: Config,
    dataset: Dataset,
    edges: Interactions,
    reporter: Reporter,
    fit: Callable[[str, Config, EmbeddingPair | None], LightGCNBuilt],
) -> tuple[VariantExport, History, Json | None]:
    """Fit LightGCN from a version's embeddings; from nothing too, if those were the better ones.

    fit(name of the checkpoint, config, final embeddings to begin at) fits it. Returns the better
    one, how its training went, and what the report says of a warm start, None for the other.
    """
    start = start_from(version, config, dataset, edges, reporter)
    if start is None:
        return (*fit("lightgcn", config, None), None)
    assert config.lightgcn is not None
    variant, history = fit("lightgcn", warm(config), start.embeddings)
    kept = variant, history, start.record(history.epochs)
    judge = Judge(start, config, dataset)
    if judge.users < _FEWEST_JUDGES:
        reporter.tell(
            f"only {judge.users} users have validation interactions that {start.version} did not "
            "know: too few to tell whether the warm start is as good as a training from nothing"
        )
        return kept
    begun = judge.scores(published(start.embeddings, config.lightgcn))
    scores = judge.scores(tensors(variant))
    lost = begun - scores
    if lost.mean() <= lost.std() / math.sqrt(len(lost)):
        return kept
    reporter.tell(
        f"the warm start has {judge.metric} {scores.mean():.4f} where {start.version} has "
        f"{begun.mean():.4f}, on validation interactions that it did not know; training starts "
        "from nothing as well"
    )
    cold, cold_history = fit("lightgcn-cold", config, None)
    cold_score = judge.scores(tensors(cold)).mean()
    better = "warm" if scores.mean() > cold_score else "cold"
    reporter.tell(f"from nothing it is {cold_score:.4f}; the {better} one is kept")
    return kept if better == "warm" else (cold, cold_history, None)


def _tell(
    start: Start,
    user_rows: NDArray[np.int64],
    item_rows: NDArray[np.int64],
    shape: LightGCNConfig,
    reporter: Reporter,
) -> None:
    reporter.tell(
        f"lightgcn starts from {start.version}, which has {np.count_nonzero(user_rows >= 0):,} of "
        f"{len(user_rows):,} users and {np.count_nonzero(item_rows >= 0):,} of "
        f"{len(item_rows):,} items, and trains {math.ceil(shape.training.epochs * EPOCHS)} of "
        f"{shape.training.epochs} epochs"
    )
    counts = [
        f"{np.count_nonzero(mask):,} of {len(mask):,} {part}"
        for part, mask in start.known.items()
        if mask.any()
    ]
    if counts:
        reporter.tell(
            f"warning: {start.version} knew {' and '.join(counts)} interactions, so metrics on "
            "them flatter what starts from it; leave_last_out and given keep the test part apart"
        )


def _rows(ids: list[str], asked: list[str]) -> NDArray[np.int64]:
    """Return the row in `ids` of each id asked for, -1 for one that is not there: (N,)."""
    place = {name: row for row, name in enumerate(ids)}
    return np.array([place.get(name, -1) for name in asked], np.int64)


def _taken(half: Tensor, rows: NDArray[np.int64]) -> Tensor:
    """Return rows of a half (M, D), zeros for row -1: rows (N,) -> (N, D)."""
    return half[torch.from_numpy(rows)] * torch.from_numpy(rows >= 0)[:, None]


def _with_lengths(items: Tensor, exponent: float, mean: float) -> Tensor:
    """Return published items with the lengths they were learned with, `mean` if these are lost."""
    lengths = items.norm(dim=1, keepdim=True).clamp(min=1e-12)
    factors: Tensor = mean / lengths if exponent == 0 else lengths ** (1 / exponent - 1)
    return items * factors


def _known(
    version: Version,
    part: Interactions,
    user_rows: NDArray[np.int64],
    item_rows: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Return which interactions of a part (E,) are among those that a version has as seen.

    user_rows, item_rows: the version's row of each row of the data set, -1 for none
    """
    indptr, columns = version.seen
    width = len(version.item_ids)
    keys = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr)) * width + columns
    # rows beyond the ids are of nodes that training does not know
    users = np.append(user_rows, -1)[np.minimum(part.user_rows, len(user_rows))]
    items = np.append(item_rows, -1)[np.minimum(part.item_rows, len(item_rows))]
    there: NDArray[np.bool_] = (users >= 0) & (items >= 0) & np.isin(users * width + items, keys)
    return there
