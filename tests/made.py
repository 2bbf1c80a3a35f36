"""Small exports with known content, published by the real registry."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gnnrec_registry import (
    DataEntry,
    Export,
    ItemAttribute,
    ModelStore,
    VariantExport,
    Version,
)
from gnnrec_registry.files.arrays import Embeddings
from gnnrec_registry.files.json import Json


def export(
    users: Embeddings,
    items: Embeddings,
    seen: Sequence[Sequence[int]] | None = None,
    *,
    user_ids: Sequence[str] | None = None,
    item_ids: Sequence[str] | None = None,
    titles: Sequence[str] | None = None,
    golden: Json | None = None,
    attributes: Sequence[ItemAttribute] = (),
    recall: float = 0.5,
) -> Export:
    """Return a version to be: users (U, D), items (I, D), and the item rows each user has seen."""
    seen = seen if seen is not None else [[] for _ in users]
    return Export(
        user_ids=user_ids or [f"u{row}" for row in range(len(users))],
        item_ids=item_ids or [f"i{row}" for row in range(len(items))],
        item_titles=titles,
        seen_indptr=np.cumsum([0, *map(len, seen)]).astype(np.int64),
        seen_items=np.array([row for rows in seen for row in sorted(rows)], np.int32),
        variants={"lightgcn": VariantExport(users, items, {"test": {"recall@20": recall}})},
        default_variant="lightgcn",
        golden=golden or {"k": 10, "queries": []},
        report={},
        config={"name": "toy"},
        data=DataEntry(
            name="toy",
            fingerprint="0",
            users=len(users),
            items=len(items),
            interactions={"train": sum(map(len, seen)), "validation": 0, "test": 0},
        ),
        metric_definition="none",
        baselines={"random": {"test": {"recall@20": 0.1}}},
        libraries={},
        attributes=attributes,
    )


def embeddings(count: int, width: int, seed: int = 0) -> NDArray[np.float32]:
    """Return random embeddings (count, width)."""
    return np.random.default_rng(seed).standard_normal((count, width), np.float32)


def publish(
    root: Path | str,
    *,
    seed: int = 0,
    version: str | None = None,
    model: str = "toy",
    recall: float = 0.5,
    people: int = 5,
) -> Version:
    """Publish a random version of 5 users, 30 items and width 4; user u0 has seen i0, i1, i2."""
    made = export(
        embeddings(people, 4, seed),
        embeddings(30, 4, seed + 1),
        seen=[[0, 1, 2], [3], [], list(range(30)), [5, 6], *([] for _ in range(people - 5))],
        recall=recall,
        titles=[f"Title {row}" for row in range(30)],
    )
    return ModelStore(root, "toy").publish(made, version=version)
