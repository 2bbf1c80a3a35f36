"""Simple models that what is trained has to beat: measured beside it, by the same rules.

They know the interactions of the training part alone, all counting alike, at settings that never
change, and place people without interactions as models do. U users, I items.
"""

import numpy as np
import torch

from gnnrec_registry import ItemLists, VariantExport
from gnnrec_registry.files.arrays import Embeddings
from gnnrec_training import seeds
from gnnrec_training.config import (
    AlsConfig,
    Config,
    CooccurrenceConfig,
    EaseConfig,
    GraphConfig,
    SpectralConfig,
)
from gnnrec_training.data.dataset import Dataset, Interactions
from gnnrec_training.graph.edges import evidence
from gnnrec_training.graph.propagation import EmbeddingPair
from gnnrec_training.models.als import als
from gnnrec_training.models.cooccurrence import cooccurrence
from gnnrec_training.models.ease import ease, ease_exponents, ease_width
from gnnrec_training.models.spectral import spectral, spectrum
from gnnrec_training.models.unseen import place_unseen
from gnnrec_training.reporter import Reporter

_DIM = 64
_EASE_DIM = 512


def baselines(config: Config, dataset: Dataset, reporter: Reporter) -> dict[str, VariantExport]:
    """Return the baselines by name: random first, which nobody would serve."""
    size = users, items = len(dataset.user_ids), len(dataset.item_ids)
    liked = evidence(dataset, GraphConfig(disliked_weight=0))
    drawn = np.random.default_rng([config.seed, seeds.RANDOM_BASELINE])
    made = {
        "random": VariantExport(*random(users, items, drawn)),
        "popularity": VariantExport(*popularity(liked, users, items)),
    }

    def generator() -> torch.Generator:
        return torch.Generator().manual_seed(config.seed)

    reporter.start("baselines", 4)
    knn, _, lists = cooccurrence(liked, *size, CooccurrenceConfig(user_exponent=0))
    made["item-knn"] = _model(knn, lists)
    reporter.advance(1)
    factored, _ = als(liked, *size, AlsConfig(embedding_dim=_DIM), generator())
    made["als-64"] = _model(place_unseen(factored, liked))
    reporter.advance(2)
    regression = EaseConfig(embedding_dim=min(_EASE_DIM, items))
    width = ease_width(regression, *size)
    found = spectrum(liked, *size, ease_exponents(regression), width, generator())
    made["ease-default"] = _model(place_unseen(ease(found, regression)[0], liked))
    reporter.advance(3)
    closed, _ = spectral(liked, *size, SpectralConfig(embedding_dim=_DIM), generator())
    made["spectral-64"] = _model(place_unseen(closed, liked))
    return made


def _model(embeddings: EmbeddingPair, lists: ItemLists | None = None) -> VariantExport:
    users, items = (np.ascontiguousarray(half.numpy()) for half in embeddings)
    return VariantExport(users, items, lists=lists)


def random(users: int, items: int, generator: np.random.Generator) -> tuple[Embeddings, Embeddings]:
    """Return embeddings that rank the items at random: (U, 32), (I, 32)."""
    return (
        generator.standard_normal((users, 32), np.float32),
        generator.standard_normal((items, 32), np.float32),
    )


def popularity(train: Interactions, users: int, items: int) -> tuple[Embeddings, Embeddings]:
    """Return embeddings whose score is the item's number of users: (U, 1), (I, 1)."""
    counts = np.bincount(train.item_rows, minlength=items)
    return np.ones((users, 1), np.float32), counts.astype(np.float32)[:, None]
