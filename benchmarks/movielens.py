"""LightGCN and other models on MovieLens, split by time: python -m benchmarks.movielens.

All models are trained on the same part. Their settings are chosen by NDCG@20 on validation, and
only the chosen models are measured on the test part.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking
from implicit.nearest_neighbours import CosineRecommender, TFIDFRecommender
from threadpoolctl import threadpool_limits

from benchmarks.measure import report
from gnnrec_registry import ModelStore
from gnnrec_training.config import Config, load
from gnnrec_training.data.dataset import Dataset
from gnnrec_training.data.load import load_dataset
from gnnrec_training.evaluation.ranking import evaluate, heldout
from gnnrec_training.evaluation.seen import seen_before
from gnnrec_training.graph.sparse import by_user

RECIPE = Path(__file__).parent / "recipes" / "movielens.toml"
K = 20

Matrices = tuple[np.ndarray, np.ndarray]


def neighbours(kind: Callable[..., Any], k: int, matrix: scipy.sparse.csr_matrix) -> Matrices:
    """Return a model's scores as embeddings: a row of scores per user, a unit vector per item."""
    model = kind(K=k)
    model.fit(matrix, show_progress=False)
    scores = (matrix @ model.similarity).toarray().astype(np.float32)
    return scores, np.eye(matrix.shape[1], dtype=np.float32)


def factors(model: Any, matrix: scipy.sparse.csr_matrix) -> Matrices:
    model.fit(matrix, show_progress=False)
    return np.asarray(model.user_factors), np.asarray(model.item_factors)


def candidates(matrix: scipy.sparse.csr_matrix) -> Iterator[tuple[str, str, Matrices]]:
    """Yield each of the other models with each setting: its name, the setting, its embeddings."""
    for name, kind in (
        ("item-kNN cosine", CosineRecommender),
        ("item-kNN tf-idf", TFIDFRecommender),
    ):
        for k in (20, 50, 100, 200):
            yield name, f"K={k}", neighbours(kind, k, matrix)
    for dim in (32, 64, 128):
        for regularization in (0.01, 1.0, 10.0):
            for alpha in (1, 10):
                als = AlternatingLeastSquares(
                    factors=dim, regularization=regularization, alpha=alpha, random_state=0
                )
                yield (
                    "implicit ALS",
                    f"d={dim} reg={regularization} alpha={alpha}",
                    factors(als, matrix),
                )
        for rate in (0.01, 0.05):
            for regularization in (0.01, 0.1):
                bpr = BayesianPersonalizedRanking(
                    factors=dim, learning_rate=rate, regularization=regularization,
                    iterations=300, random_state=0,
                )  # fmt: skip
                yield (
                    "implicit BPR",
                    f"d={dim} lr={rate} reg={regularization}",
                    factors(bpr, matrix),
                )


def others(config: Config, dataset: Dataset) -> list[list[object]]:
    users, items = len(dataset.user_ids), len(dataset.item_ids)
    train = by_user(dataset.train, users)
    ones = np.ones(len(train.columns), np.float32)
    matrix = scipy.sparse.csr_matrix((ones, train.columns, train.indptr), shape=(users, items))
    validation, test = (heldout(part, users, items) for part in (dataset.validation, dataset.test))
    before_validation = seen_before(dataset, "validation")
    before_test = seen_before(dataset, "test")
    best: dict[str, tuple[float, str, Matrices]] = {}
    for name, setting, model in candidates(matrix):
        score = evaluate(*model, before_validation, validation, (K,)).metrics[f"ndcg@{K}"]
        if name not in best or score > best[name][0]:
            best[name] = (score, setting, model)
    rows: list[list[object]] = []
    for name, (_, setting, model) in best.items():
        metrics = evaluate(*model, before_test, test, (K,)).metrics
        rows.append([name, setting, metrics[f"recall@{K}"], metrics[f"ndcg@{K}"]])
    return rows


def ours(folder: Path) -> list[list[object]]:
    command = [
        str(Path(sys.executable).parent / "gnnrec"), "train", str(RECIPE), "--json",
        "--registry", str(folder),
    ]  # fmt: skip
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    answer = json.loads(done.stdout.splitlines()[-1])
    manifest = ModelStore(folder, answer["model"]).open(answer["version"]).manifest
    models = {name: variant.metrics for name, variant in manifest.variants.items()}
    models |= manifest.baselines
    return [
        [name, "", metrics["test"][f"recall@{K}"], metrics["test"][f"ndcg@{K}"]]
        for name, metrics in models.items()
    ]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = ours(Path(folder))
    with threadpool_limits(1, "blas"):  # implicit warns otherwise
        config = load(RECIPE)
        rows += others(config, load_dataset(config, RECIPE.parent))
    rows.sort(key=lambda row: -float(str(row[3])))
    report(
        "MovieLens (latest, small), rating >= 3.5, each person's last five",
        ["model", "setting chosen on validation", f"recall@{K}", f"ndcg@{K}"],
        rows,
    )


if __name__ == "__main__":
    main()
