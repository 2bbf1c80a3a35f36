"""The metrics of variants and baselines on the validation and test parts, whole and by slice."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gnnrec_registry.files.arrays import Embeddings
from gnnrec_registry.files.json import Json
from gnnrec_registry.scoring.metrics import narrow
from gnnrec_registry.versions.manifest import Metrics
from gnnrec_training import seeds
from gnnrec_training.config import Config, SpectralConfig
from gnnrec_training.data.dataset import Dataset, Interactions
from gnnrec_training.evaluation import baselines
from gnnrec_training.evaluation.intervals import PerUser
from gnnrec_training.evaluation.ranking import Evaluation, evaluate, heldout
from gnnrec_training.evaluation.seen import Split, seen_before
from gnnrec_training.evaluation.slices import by_activity, by_popularity, slices, wanted_by_slice
from gnnrec_training.graph.edges import edges
from gnnrec_training.graph.sparse import by_user
from gnnrec_training.models.spectral import spectral
from gnnrec_training.reporter import Reporter

Matrices = tuple[Embeddings, Embeddings]
"""Users (U, D) and items (I, D)."""

_SPECTRAL_DIM = 64


@dataclass
class Measured:
    """Metrics by model and split, and what else is published of them.

    slices: metrics of parts of the users and items, by variant and split. arrays: files by name
    that metrics by user can be computed from (registry.measures): the hits of each variant, and for
    each split how many held-out items each user has (U,). shown: in how many lists of the first k
    each item stands (I,), by model and split. per_user: the recall and NDCG at the first k of each
    user (V,), by model, split and metric; unknown_users: how many users with held-out items are
    unknown to training, by split.
    """

    metrics: dict[str, dict[str, Metrics]] = field(default_factory=dict)
    slices: dict[str, dict[str, Json]] = field(default_factory=dict)
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    shown: dict[str, dict[str, NDArray[np.int64]]] = field(default_factory=dict)
    per_user: dict[str, dict[str, dict[str, PerUser]]] = field(default_factory=dict)
    unknown_users: dict[str, int] = field(default_factory=dict)


def measure(
    config: Config,
    dataset: Dataset,
    variants: dict[str, Matrices],
    on_train: dict[str, Matrices],
    reporter: Reporter,
) -> Measured:
    """Evaluate variants and baselines on the validation and test parts, where these hold something.

    on_train: on the validation part these stand in for variants that are embedded over it.
    """
    models = variants | _baselines(config, dataset, variants, reporter)
    measured = Measured(
        metrics={name: {} for name in models}, per_user={name: {} for name in models}
    )
    if len(dataset.validation) > 0:
        part = _Part("validation", dataset.validation, dataset.train, config, dataset)
        _measure_part(config, part, models | on_train, set(variants), measured, reporter)
    if len(dataset.test) > 0:
        part = _Part("test", dataset.test, dataset.known, config, dataset)
        _measure_part(config, part, models, set(variants), measured, reporter)
    return measured


class _Part:
    """A part of the data, arranged to be measured on."""

    def __init__(
        self,
        name: Split,
        wanted: Interactions,
        known: Interactions,
        config: Config,
        dataset: Dataset,
    ) -> None:
        users, items = len(dataset.user_ids), len(dataset.item_ids)
        self.name, self.seen = name, seen_before(config, dataset, name)
        self.held_out = heldout(wanted, users, items)
        self.slices = slices(by_user(known, users), items)
        self.wanted = wanted_by_slice(wanted, self.slices)
        """(P,): held-out interactions by slice of the items."""


def _measure_part(
    config: Config,
    part: _Part,
    models: dict[str, Matrices],
    variants: set[str],
    measured: Measured,
    reporter: Reporter,
) -> None:
    """Evaluate each model on a part, and the variants among them by slice and by user as well."""
    asked = int(np.count_nonzero(part.held_out.sizes))
    measured.unknown_users[part.name] = part.held_out.unknown_users
    for name, (users, items) in models.items():
        reporter.start(f"{part.name}: {name}", asked)
        share_done = partial(_advance, reporter, asked)
        result = evaluate(users, items, part.seen, part.held_out, config.evaluation.k, share_done)
        measured.metrics[name][part.name] = result.metrics
        measured.shown.setdefault(name, {})[part.name] = result.shown
        measured.per_user[name][part.name] = {
            metric: result.per_user[metric] for metric in judged_by(config)
        }
        if name in variants:
            _add_details(name, part, result, config.evaluation.k, measured)


def _add_details(
    name: str, part: _Part, result: Evaluation, ks: tuple[int, ...], measured: Measured
) -> None:
    """Add a variant's slices, and the arrays that its metrics by user follow from."""
    ranks_file, held_out_file = f"report/{name}.{part.name}.npy", f"report/{part.name}.held_out.npy"
    found = np.bincount(part.slices.item_slice, result.item_hits, len(part.wanted))
    measured.slices.setdefault(name, {})[part.name] = {
        "by_activity": by_activity(result.users, result.per_user, part.slices),
        "by_popularity": by_popularity(found.astype(np.int64), part.wanted, part.slices, max(ks)),
        "hits": {"ranks": ranks_file, "held_out": held_out_file, "k": list(ks)},
    }
    measured.arrays[ranks_file] = result.hits.packed()
    measured.arrays[held_out_file] = narrow(part.held_out.sizes)


def judged_by(config: Config) -> tuple[str, str]:
    """Return the two metrics that models are judged by, such as ("ndcg@10", "recall@10")."""
    k = config.evaluation.k[0]
    return f"ndcg@{k}", f"recall@{k}"


def served_variant(
    config: Config, metrics: dict[str, dict[str, Metrics]], variants: list[str]
) -> str:
    """Return the variant to serve: `serve`, the only one, or that with the best NDCG on validation.

    The NDCG is that at the first of the configured list lengths.
    """
    if config.serve is not None:
        return config.serve
    if len(variants) == 1:
        return variants[0]
    ndcg, _ = judged_by(config)
    return max(variants, key=lambda name: metrics[name]["validation"][ndcg])


def _baselines(
    config: Config, dataset: Dataset, variants: dict[str, Matrices], reporter: Reporter
) -> dict[str, Matrices]:
    """Return random, popularity, and the spectral model where it is no variant itself."""
    users, items = len(dataset.user_ids), len(dataset.item_ids)
    models = {
        "random": baselines.random(
            users, items, np.random.default_rng([config.seed, seeds.RANDOM_BASELINE])
        ),
        "popularity": baselines.popularity(dataset.train, users, items),
    }
    if "spectral" not in variants:
        reporter.start("spectral baseline", 1)
        width = config.lightgcn.embedding_dim if config.lightgcn else _SPECTRAL_DIM
        (user_half, item_half), _ = spectral(
            edges(dataset.train, config.graph),
            users,
            items,
            SpectralConfig(embedding_dim=width),
            torch.Generator().manual_seed(config.seed),
            reporter.advance,
        )
        models["spectral"] = (user_half.numpy(), item_half.numpy())
    return models


def _advance(reporter: Reporter, users: int, share: float) -> None:
    reporter.advance(share * users)
