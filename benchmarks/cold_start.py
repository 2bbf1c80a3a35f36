"""Cold start on MovieLens, with unseen films and people: python -m benchmarks.cold_start [DRAWS].

A tenth of the films and a tenth of the people are held out with all their interactions, once at
random and once those that appeared last. The held-out (cold) films are ranked for the remaining
people, among the cold films only and among all films. The settings of the baselines are chosen on
another tenth of the films, by NDCG@20 among these. Tags are written by people who watched a film,
so they reveal interactions; the films are ranked again without the tags.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.cold_baselines import (
    content_knn,
    dropout_net,
    embedding_ridge,
    popularity,
    random,
    user_ridge,
)  # fmt: skip
from benchmarks.measure import report
from gnnrec.terminal.progress import Progress
from gnnrec_registry import VariantExport
from gnnrec_training.config import Config, NodeFeatureConfig, load
from gnnrec_training.data.dataset import Dataset, Interactions, concatenate
from gnnrec_training.data.load import load_dataset
from gnnrec_training.evaluation.ranking import evaluate, heldout
from gnnrec_training.export.variants import build_variants
from gnnrec_training.graph.sparse import Csr, by_user

RECIPE = Path(__file__).parent / "recipes" / "cold-start.toml"
K = 20
RIDGE = "ridge to spectral"
SHARE = 0.1

Matrices = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Task:
    """A task: train on `dataset`, then rank the `wanted` items, which have no interaction in it."""

    dataset: Dataset
    wanted: Interactions
    cold_items: np.ndarray
    hidden_items: np.ndarray
    """Items left out of the ranking: those kept for the test, and those without interactions."""
    revealed: Interactions
    """All interactions of the cold users."""


Change = Callable[[NodeFeatureConfig], NodeFeatureConfig | None]
"""Returns a changed feature of the films, or None to leave it out."""


def plain(feature: NodeFeatureConfig) -> NodeFeatureConfig:
    """Encode a number as one column, without its nearness to centres."""
    return feature.model_copy(update={"centres": 0})


def untagged(feature: NodeFeatureConfig) -> NodeFeatureConfig | None:
    return None if feature.kind == "tags" else feature


def described(config: Config, change: Change) -> Config:
    assert config.data.items is not None
    changed = [change(feature) for feature in config.data.items.features]
    items = config.data.items.model_copy(update={"features": tuple(f for f in changed if f)})
    return config.model_copy(update={"data": config.data.model_copy(update={"items": items})})


def everything(change: Change = lambda feature: feature) -> tuple[Config, Dataset]:
    """Return the configuration, and the data set with all of its parts as training data."""
    config = described(load(RECIPE), change)
    dataset = load_dataset(config, RECIPE.parent)
    parts = (dataset.train, dataset.validation, dataset.test)
    whole = Interactions(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("user_rows", "item_rows", "weights", "times")
        )
    )
    empty = whole.take(np.zeros(len(whole), bool))
    return config, replace(dataset, train=whole, validation=empty, test=empty)


def first_seen(rows: np.ndarray, times: np.ndarray, count: int) -> np.ndarray:
    moments = np.full(count, np.inf)
    np.minimum.at(moments, rows, times)
    return moments


def held_out(kind: str, rows: np.ndarray, times: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return a tenth of the nodes for the test and a tenth for validation: rows (2, N)."""
    there = np.unique(rows)
    tenth = round(SHARE * len(there))
    if kind == "random":
        order = np.random.default_rng(seed).permutation(there)
    else:
        order = there[np.argsort(-first_seen(rows, times, count)[there], kind="stable")]
    return np.stack([order[:tenth], order[tenth : 2 * tenth]])


def task(dataset: Dataset, kind: str, seed: int, *, validation: bool) -> Task:
    whole = dataset.train
    assert whole.times is not None
    items = held_out(kind, whole.item_rows, whole.times, len(dataset.item_ids), seed)
    users = held_out(kind, whole.user_rows, whole.times, len(dataset.user_ids), seed)
    cold, hidden = (items[1], items[0]) if validation else (items[0], items[0][:0])
    out = np.concatenate([cold, hidden])
    hidden = np.union1d(hidden, np.setdiff1d(np.arange(len(dataset.item_ids)), whole.item_rows))
    is_cold_user = np.isin(whole.user_rows, users[0])
    train = whole.take(~np.isin(whole.item_rows, out) & ~is_cold_user)
    wanted = whole.take(np.isin(whole.item_rows, cold) & ~is_cold_user)
    return Task(replace(dataset, train=train), wanted, cold, hidden, whole.take(is_cold_user))


def measured(task: Task, halves: Matrices) -> list[float]:
    """Return Recall@20 and NDCG@20 among the cold items, then among all."""
    users, items = (np.ascontiguousarray(half, np.float32) for half in halves)
    count = len(task.dataset.user_ids)
    place = np.full(len(items), -1, np.int32)
    place[task.cold_items] = np.arange(len(task.cold_items))
    among = replace(task.wanted, item_rows=place[task.wanted.item_rows])
    nothing = Csr(np.zeros(count + 1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
    found = evaluate(
        users, items[task.cold_items], nothing, heldout(among, count, len(task.cold_items)), (K,)
    ).metrics
    kept = np.setdiff1d(np.arange(len(items)), task.hidden_items)
    place[kept] = np.arange(len(kept))
    renumbered = [
        replace(part, item_rows=place[part.item_rows]) for part in (task.wanted, task.dataset.train)
    ]
    everywhere = evaluate(
        users,
        items[kept],
        by_user(renumbered[1], count),
        heldout(renumbered[0], count, len(kept)),
        (K,),
    ).metrics
    names = (f"recall@{K}", f"ndcg@{K}")
    return [*(found[name] for name in names), *(everywhere[name] for name in names)]


def ours(config: Config, task: Task) -> dict[str, Matrices]:
    variants = trained(config, task.dataset)
    return {name: (variant.users, variant.items) for name, variant in variants.items()}


def trained(config: Config, dataset: Dataset) -> dict[str, VariantExport]:
    return build_variants(config, dataset, RECIPE.parent, Progress()).variants


BASELINES: dict[str, Callable[[Dataset, int], Iterator[tuple[str, Matrices]]]] = {
    "random": random,
    "popularity": popularity,
    "content kNN": content_knn,
    RIDGE: embedding_ridge,
    "per-user ridge": user_ridge,
    "DropoutNet": dropout_net,
}


def rows_of(
    kind: str, config: Config, dataset: Dataset, seed: int, simple: Dataset | None = None
) -> list[list[object]]:
    """Return a row for each method. `simple` is the data with one column for each number."""
    tuning = task(dataset, kind, seed, validation=True)
    final = task(dataset, kind, seed, validation=False)
    rows: list[list[object]] = []
    baselines = [(name, tuning, final, candidates) for name, candidates in BASELINES.items()]
    if simple is not None:
        parts = [task(simple, kind, seed, validation=validation) for validation in (True, False)]
        baselines.append((f"{RIDGE}, year as one number", parts[0], parts[1], embedding_ridge))
    for name, first, then, candidates in baselines:
        tried = [
            (measured(first, halves)[1], setting)
            for setting, halves in candidates(first.dataset, seed)
        ]
        chosen = max(tried)[1]
        halves = dict(candidates(then.dataset, seed))[chosen]
        rows.append([kind, seed, name, chosen, *measured(then, halves)])
    for name, halves in ours(config, final).items():
        rows.append([kind, seed, name, "", *measured(final, halves)])
    return rows


def films(title: str, draws: int, change: Change, simple: Change | None = None) -> None:
    """Report the ranking of cold films: each random draw, their mean, and the newest films."""
    config, dataset = everything(change)
    other = everything(simple)[1] if simple else None
    rows = [row for draw in range(draws) for row in rows_of("random", config, dataset, draw, other)]
    for name in dict.fromkeys(row[2] for row in rows):
        figures = np.array([row[4:] for row in rows if row[2] == name], float)
        rows.append(["random", "mean", name, "", *figures.mean(0).tolist()])
    rows += rows_of("newest", config, dataset, 0, other)
    report(
        title,
        ["held out", "draw", "method", "setting", "recall among cold", "ndcg among cold",
         "recall among all", "ndcg among all"],
        rows,
    )  # fmt: skip


def fold_in(lightgcn: VariantExport, had: Interactions, users: int) -> np.ndarray:
    """Return embeddings of users, folded in from their interactions: (U, D)."""
    assert lightgcn.fold is not None
    assert lightgcn.fold_in is not None
    sums = np.zeros((users, lightgcn.fold.shape[1]))
    np.add.at(sums, had.user_rows, lightgcn.fold[had.item_rows])
    counts = np.maximum(np.bincount(had.user_rows, minlength=users), 1)
    (segment,) = lightgcn.fold_in.segments
    return (sums / counts[:, None] ** segment.degree_exponent).astype(np.float32)


def cold_users(kind: str, config: Config, dataset: Dataset) -> list[list[object]]:
    """Reveal 1, 3 and 5 interactions of each cold user, and rank the items of the others."""
    whole, users, items = dataset.train, len(dataset.user_ids), len(dataset.item_ids)
    assert whole.times is not None
    cold = held_out(kind, whole.user_rows, whole.times, users, 0)[0]
    of_cold = np.isin(whole.user_rows, cold)
    without = replace(dataset, train=whole.take(~of_cold))
    history = whole.take(of_cold)
    rank = np.random.default_rng(0).permutation(len(history))
    order = np.lexsort((rank, history.user_rows))
    grouped = history.user_rows[order]
    place = np.arange(len(history)) - np.searchsorted(grouped, grouped)
    alone = config.model_copy(update={"sage": None, "hybrid": None})
    before = trained(alone, without)["lightgcn"]
    rows: list[list[object]] = []
    for count in (1, 3, 5):
        had, wanted = history.take(order[place < count]), history.take(order[place >= count])
        again = trained(alone, replace(dataset, train=concatenate(without.train, had)))["lightgcn"]
        sought, seen = heldout(wanted, users, items), by_user(had, users)
        popularity_only = np.bincount(without.train.item_rows, minlength=items)[:, None]
        found = [
            evaluate(ours, theirs, seen, sought, (K,)).metrics[f"recall@{K}"]
            for ours, theirs in (
                (np.ones((users, 1), np.float32), popularity_only.astype(np.float32)),
                (fold_in(before, had, users), before.items),
                (again.users, again.items),
            )
        ]
        rows.append([kind, count, *found, found[1] / found[2]])
    return rows


def main(draws: int) -> None:
    torch.manual_seed(0)
    films("cold films on MovieLens", draws, lambda feature: feature, plain)
    films("cold films on MovieLens, without tags", draws, untagged)
    config, dataset = everything()
    report(
        f"cold users on MovieLens: recall@{K} from their first interactions",
        ["held out", "interactions", "popularity", "fold-in", "retrained", "fold-in / retrained"],
        [row for kind in ("random", "newest") for row in cold_users(kind, config, dataset)],
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
