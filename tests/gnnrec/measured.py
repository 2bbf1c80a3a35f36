"""Published versions with metrics by user, for comparisons."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gnnrec_registry import ItemLists, ModelStore, Version
from gnnrec_registry.files.arrays import Embeddings
from gnnrec_registry.scoring.metrics import Hits, narrow
from tests import made


def publish(
    root: Path | str,
    version: str,
    halves: tuple[Embeddings, Embeddings],
    ndcg: NDArray[np.float64],
    *,
    user_ids: Sequence[str] | None = None,
    item_ids: Sequence[str] | None = None,
    titles: Sequence[str] | None = None,
    config: dict[str, object] | None = None,
    fingerprint: str = "0",
    hits: Hits | None = None,
    seen: Sequence[Sequence[int]] | None = None,
    seen_liked: NDArray[np.bool_] | None = None,
    lists: ItemLists | None = None,
) -> Version:
    """Publish a version with an NDCG for each user, and without seen items unless given.

    Metrics are stored for each user, as in older versions; or, with `hits`, as the ranks of hits of
    every second user.
    """
    export = made.export(*halves, seen, user_ids=user_ids, item_ids=item_ids, titles=titles)
    name = "report/lightgcn.test.npy"
    metrics = {"test": {"ndcg@10": float(ndcg.mean()), "coverage@10": 0.5}}
    entry: dict[str, object] = {"per_user": name, "per_user_columns": ["user_row", "ndcg@10"]}
    arrays = {name: np.stack([np.arange(len(ndcg)), ndcg], 1).astype(np.float32)}
    if hits is not None:
        sizes = np.zeros(len(halves[0]), np.int64)
        sizes[::2] = hits.held_out
        entry = {"hits": {"ranks": name, "held_out": "report/test.held_out.npy", "k": [10]}}
        arrays = {name: hits.packed(), "report/test.held_out.npy": narrow(sizes)}  # type: ignore[dict-item]
    export = replace(
        export,
        variants={"lightgcn": replace(export.variants["lightgcn"], metrics=metrics, lists=lists)},
        config=config or {"name": "toy", "lightgcn": {"embedding_dim": halves[0].shape[1]}},
        data=export.data.model_copy(update={"fingerprint": fingerprint}),
        seen_liked=seen_liked,
        baselines={"popularity": {"test": {"ndcg@10": 0.1}}},
        report={"slices": {"lightgcn": {"test": entry}}},
        report_arrays=arrays,
        report_files={"report/index.html": b"<!doctype html><title>report</title>"},
    )
    return ModelStore(root, "toy").publish(export, version=version)
