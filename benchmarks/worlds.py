"""Versions of random embeddings, as large as a measurement asks for, published by the registry."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gnnrec_registry import DataEntry, Export, ModelStore, VariantExport
from gnnrec_registry.files.arrays import Embeddings
from gnnrec_registry.files.json import Json

MODEL = "random"
VARIANT = "lightgcn"
VERSION = "v1"
_CLUSTER = 1000


def publish(
    root: Path, *, items: int, users: int = 20_000, width: int = 64, seen: float = 30.0
) -> None:
    """Publish and promote a version of so many items and users (width each).

    A user has seen `seen` items on average, and some have seen ten times as many. Items lie around
    `items / 1000` centres, as trained embeddings lie around tastes.
    """
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((max(1, items // _CLUSTER), width), np.float32)
    lengths = np.minimum(generator.lognormal(np.log(seen) - 0.5, 1.0, users), 10 * seen)
    rows = [
        np.unique(generator.integers(0, items, int(length)).astype(np.int32)) for length in lengths
    ]
    made = export(
        _around(generator, centres, users),
        _around(generator, centres, items),
        np.cumsum([0, *map(len, rows)]).astype(np.int64),
        np.concatenate(rows),
    )
    store = ModelStore(root, MODEL)
    store.publish(made, version=VERSION)
    store.aliases.promote(VERSION, alias="production")


def export(
    users: Embeddings,
    items: Embeddings,
    seen_indptr: NDArray[np.int64],
    seen_items: NDArray[np.int32],
    golden: Json | None = None,
) -> Export:
    """Return a version to be, of embeddings (U, D) and (I, D) and who has seen what (CSR)."""
    return Export(
        user_ids=[f"user-{row}" for row in range(len(users))],
        item_ids=[f"item-{row}" for row in range(len(items))],
        seen_indptr=seen_indptr,
        seen_items=seen_items,
        variants={VARIANT: VariantExport(users, items)},
        default_variant=VARIANT,
        golden=golden or {"k": 10, "queries": []},
        report={},
        config={"name": MODEL},
        data=DataEntry(
            name=MODEL,
            fingerprint="0",
            users=len(users),
            items=len(items),
            interactions={"train": len(seen_items)},
        ),
        metric_definition="none",
        baselines={},
        libraries={},
    )


def _around(generator: np.random.Generator, centres: Embeddings, count: int) -> Embeddings:
    """Return (count, D): each a centre and noise of the same size."""
    chosen = generator.integers(0, len(centres), count)
    noise = generator.standard_normal((count, centres.shape[1]), np.float32)
    made: Embeddings = centres[chosen] + noise
    return made
