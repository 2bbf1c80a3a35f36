"""Published versions of random embeddings, of any size, for measurements of serving."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gnnrec_registry import DataEntry, Export, ItemLists, ModelStore, VariantExport
from gnnrec_registry.files.arrays import Embeddings
from gnnrec_registry.files.json import Json

MODEL = "random"
VARIANT = "lightgcn"
VERSION = "v1"
_CLUSTER = 1000


def publish(
    root: Path,
    *,
    items: int,
    users: int = 20_000,
    width: int = 64,
    seen: float = 30.0,
    lists: int = 0,
) -> None:
    """Publish and promote a version with random embeddings of `width` numbers.

    A user has interacted with `seen` items on average, some with ten times as many. The embeddings
    form `items / 1000` clusters, as trained embeddings do. With `lists`, each item has a list of so
    many others, half of them among a tenth of the items, as lists name popular items more often.
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
    if lists:
        variant = replace(made.variants[VARIANT], lists=_lists(generator, items, lists))
        made = replace(made, variants={VARIANT: variant})
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
    """Return an export of embeddings (U, D) and (I, D), and of the users' seen items as CSR."""
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


def _lists(generator: np.random.Generator, items: int, entries: int) -> ItemLists:
    drawn = generator.integers(0, items, (items, 2 * entries), np.int32)
    drawn[:, ::2] //= 10
    rows = [np.sort(generator.permutation(np.unique(line))[:entries]) for line in drawn]
    return ItemLists(
        np.cumsum([0, *map(len, rows)]).astype(np.int64),
        np.concatenate(rows),
        1 - generator.random(sum(map(len, rows)), np.float32),
        degree_exponent=0.5,
    )


def _around(generator: np.random.Generator, centres: Embeddings, count: int) -> Embeddings:
    """Return random vectors (count, D): each a random centre plus noise of the same variance."""
    chosen = generator.integers(0, len(centres), count)
    noise = generator.standard_normal((count, centres.shape[1]), np.float32)
    made: Embeddings = centres[chosen] + noise
    return made
