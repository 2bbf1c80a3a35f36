"""How good embeddings are, on every part of the data, beside baselines and slice by slice."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gnnrec_registry.arrays import Embeddings
from gnnrec_registry.manifest import Json, Metrics
from gnnrec_registry.measures import narrow
from gnnrec_training import seeds
from gnnrec_training.config import Config, SpectralConfig
from gnnrec_training.data.dataset import Dataset
from gnnrec_training.evaluation import baselines
from gnnrec_training.evaluation.ranking import evaluate, heldout
from gnnrec_training.evaluation.slices import by_activity, by_popularity, slices, wanted_by_part
from gnnrec_training.graph.edges import edges
from gnnrec_training.graph.sparse import by_user
from gnnrec_training.models.spectral import spectral
from gnnrec_training.reporter import Reporter

Matrices = tuple[Embeddings, Embeddings]
"""Users (U, D) and items (I, D)."""

_SPECTRAL_DIM = 64


@dataclass
class Measured:
    """Metrics by model and split; slices of them; and what metrics by user follow from.

    arrays: by file name, the hits of each variant's lists and, for each split, how many held-out
    items each user has (U,); see registry.measures.
    shown: in how many lists of the first k each item stands (I,), by model and split.
    """

    metrics: dict[str, dict[str, Metrics]] = field(default_factory=dict)
    slices: dict[str, dict[str, Json]] = field(default_factory=dict)
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    shown: dict[str, dict[str, NDArray[np.int64]]] = field(default_factory=dict)


def measure(
    config: Config,
    dataset: Dataset,
    variants: dict[str, Matrices],
    on_train: dict[str, Matrices],
    reporter: Reporter,
) -> Measured:
    """Evaluate variants and baselines on each part that holds something.

    on_train: stands in on validation for the variants that have looked at it.
    """
    users, items = len(dataset.user_ids), len(dataset.item_ids)
    models = variants | _baselines(config, dataset, variants, reporter)
    parts = {
        # what a user is known to have had is left out of the ranking
        "validation": (dataset.validation, by_user(dataset.train, users)),
        "test": (dataset.test, by_user(dataset.known, users)),
    }
    measured = Measured(metrics={name: {} for name in models})
    for split, (part, seen) in parts.items():
        if len(part) == 0:
            continue
        held_out = heldout(part, users, items)
        sliced = slices(seen, items)
        wanted = wanted_by_part(part, sliced)
        unseeing = models | on_train if split == "validation" else models
        for name, model in unseeing.items():
            asked = int(np.count_nonzero(held_out.sizes))
            reporter.start(f"{split}: {name}", asked)
            ks = config.evaluation.k
            advance = partial(_advance, reporter, asked)
            result = evaluate(*model, seen, held_out, ks, advance)
            measured.metrics[name][split] = result.metrics
            measured.shown.setdefault(name, {})[split] = result.shown
            if name in variants:
                found = np.bincount(sliced.item_part, result.item_hits, len(wanted))
                measured.slices.setdefault(name, {})[split] = {
                    "by_activity": by_activity(result.users, result.per_user, sliced),
                    "by_popularity": by_popularity(found.astype(np.int64), wanted, sliced, max(ks)),
                    "hits": {
                        "ranks": f"report/{name}.{split}.npy",
                        "held_out": f"report/{split}.held_out.npy",
                        "k": list(ks),
                    },
                }
                measured.arrays[f"report/{name}.{split}.npy"] = result.hits.packed()
                measured.arrays[f"report/{split}.held_out.npy"] = narrow(held_out.sizes)
    return measured


def best_variant(metrics: dict[str, dict[str, Metrics]], variants: list[str], k: int) -> str:
    """Return the variant with the best NDCG on validation; without one, the last built."""
    measured = [name for name in variants if "validation" in metrics[name]]
    if not measured:
        return variants[-1]
    return max(measured, key=lambda name: metrics[name]["validation"][f"ndcg@{k}"])


def _baselines(
    config: Config, dataset: Dataset, variants: dict[str, Matrices], reporter: Reporter
) -> dict[str, Matrices]:
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
        halves, _ = spectral(
            edges(dataset.train, config.graph),
            users,
            items,
            SpectralConfig(embedding_dim=width),
            torch.Generator().manual_seed(config.seed),
            reporter.advance,
        )
        models["spectral"] = (halves[0].numpy(), halves[1].numpy())
    return models


def _advance(reporter: Reporter, users: int, share: float) -> None:
    reporter.advance(share * users)
