"""The contents of reports, made of small data and real measurements."""

from collections.abc import Sequence

import numpy as np

from gnnrec_registry import VariantExport
from gnnrec_registry.files.arrays import Embeddings
from gnnrec_training.config import Config
from gnnrec_training.data.dataset import Dataset, Interactions
from gnnrec_training.evaluation.measurement import measure, served_variant
from gnnrec_training.report import Contents
from gnnrec_training.reporter import Silent
from tests.made import embeddings


def interactions(pairs: Sequence[tuple[int, int]]) -> Interactions:
    """Return pairs of user and item rows as interactions."""
    rows = np.array(pairs, np.int32).reshape(-1, 2)
    return Interactions(rows[:, 0], rows[:, 1], np.ones(len(rows), np.float32))


def contents(
    users: int,
    items: int,
    train: Sequence[tuple[int, int]],
    test: Sequence[tuple[int, int]] = (),
    *,
    titles: list[str] | None = None,
    user_ids: list[str] | None = None,
    halves: tuple[Embeddings, Embeddings] | None = None,
    k: int = 3,
) -> Contents:
    """Return the contents of a report on random embeddings, or on the `halves` given."""
    config = Config.model_validate(
        {
            "name": "small",
            "data": {"interactions": "none.csv"},
            "lightgcn": {"embedding_dim": 4},
            "evaluation": {"k": [k]},
        }
    )
    dataset = Dataset(
        name="small",
        user_ids=user_ids or [f"U{row}" for row in range(users)],
        item_ids=[f"I{row}" for row in range(items)],
        train=interactions(train),
        test=interactions(test),
        item_titles=titles,
    )
    made = halves or (embeddings(users, 4, 1), embeddings(items, 4, 2))
    variants = {"lightgcn": VariantExport(*made)}
    measured = measure(config, dataset, variants, Silent())
    return Contents(
        config=config,
        dataset=dataset,
        as_split=dataset,
        variants=variants,
        default_variant=served_variant(config, measured.metrics, ["lightgcn"]),
        losses={"lightgcn": [0.7, 0.5, 0.4]},
        validations={"lightgcn": [(1, 0.1), (2, 0.3), (3, 0.2)]},
        measured=measured,
    )


def world(users: int = 90, items: int = 120, seed: int = 0) -> Contents:
    """Return the contents of a report on a random graph too large to be drawn whole."""
    generator = np.random.default_rng(seed)
    pairs = {(user, int(item)) for user in range(users) for item in generator.zipf(1.4, 12) % items}
    drawn = sorted(pairs)
    test = [pair for place, pair in enumerate(drawn) if place % 5 == 0]
    train = [pair for place, pair in enumerate(drawn) if place % 5]
    return contents(users, items, train, test, k=10)
