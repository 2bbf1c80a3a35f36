"""What every model promises that knows nodes by their interactions alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gnnrec_registry import ModelStore, VariantExport, Version
from gnnrec_training.config import Config
from gnnrec_training.data.dataset import Dataset
from gnnrec_training.data.load import load_dataset
from gnnrec_training.evaluation.ranking import evaluate, heldout
from gnnrec_training.export.variants import build_variants
from gnnrec_training.graph.sparse import Csr, by_user
from gnnrec_training.reporter import Silent
from gnnrec_training.train import train
from tests.training.boards import checkerboard

SIZE = 30
LIGHTGCN: dict[str, Any] = {
    "embedding_dim": 16,
    "training": {"epochs": 60, "batch_size": 10, "learning_rate": 0.02, "negatives": 20},
}
MODELS: dict[str, dict[str, Any]] = {
    "spectral": {"spectral": {"embedding_dim": 2}},
    "ease": {"ease": {"embedding_dim": SIZE}},
    "narrow ease": {"ease": {"embedding_dim": 2}},
    "listed ease": {"ease": {"neighbours": 20}},
    "als": {"als": {"embedding_dim": 8, "penalty": 1.0}},
    "cooccurrence": {"cooccurrence": {}},
    "lightgcn": {"lightgcn": LIGHTGCN},
    "fused of embeddings": {
        "spectral": {"embedding_dim": 2}, "als": {"embedding_dim": 8, "penalty": 1.0},
        "fusion": {"weights": {"spectral": 1, "als": 0.5}},
    },
    "fused with lists": {
        "lightgcn": LIGHTGCN, "cooccurrence": {},
        "fusion": {"weights": {"lightgcn": 1, "cooccurrence": 0.5}},
    },
    "fused of lists": {
        "ease": {"neighbours": 20}, "cooccurrence": {},
        "fusion": {"weights": {"ease": 1, "cooccurrence": 0.5}},
    },
}  # fmt: skip


def configured(model: str, **more: Any) -> Config:
    data = {"interactions": "board.csv"}
    return Config.model_validate({"name": "board", "data": data, **MODELS[model], **more})


def built(model: str, board: Dataset) -> VariantExport:
    """Return the last variant, which is the fused one where there is one."""
    *_, last = build_variants(configured(model), board, Path(), Silent()).variants.values()
    return last


def folded(variant: VariantExport, board: Dataset) -> np.ndarray:
    """Fold every user in from their items, as a server does for a new one: (U, D)."""
    assert variant.fold is not None
    assert variant.fold_in is not None
    had = np.zeros((SIZE, SIZE))
    had[board.train.user_rows, board.train.item_rows] = 1
    blocks, start = [], 0
    for segment in variant.fold_in.segments:
        columns = variant.fold[:, start : start + segment.width]
        blocks.append((had @ columns) / had.sum(1, keepdims=True) ** segment.degree_exponent)
        start += segment.width
    return np.concatenate(blocks, 1).astype(np.float32)


def first_for_all(users: np.ndarray, variant: VariantExport, board: Dataset, seen: Csr) -> bool:
    """Tell whether the withheld item ranks first for every user."""
    result = evaluate(
        users, variant.items, seen, heldout(board.test, SIZE, SIZE), (1,),
        lists=variant.lists, history=seen,
    )  # fmt: skip
    return result.metrics["recall@1"] == 1


@pytest.mark.parametrize("model", MODELS)
def test_the_withheld_item_of_a_checkerboard_ranks_first_for_every_user(model: str) -> None:
    """In training or folded in from the same items."""
    board = checkerboard(SIZE)
    seen, variant = by_user(board.train, SIZE), built(model, board)
    assert first_for_all(variant.users, variant, board, seen)
    assert first_for_all(folded(variant, board), variant, board, seen)


@pytest.mark.parametrize("model", MODELS)
def test_embeddings_have_a_row_for_each_node_and_are_finite(model: str) -> None:
    variant = built(model, checkerboard(SIZE))
    assert len(variant.users) == len(variant.items) == SIZE
    assert variant.users.shape[1] == variant.items.shape[1]
    for half in (variant.users, variant.items):
        assert half.dtype == np.float32
        assert half.flags.c_contiguous
        assert np.isfinite(half).all()


@pytest.mark.parametrize("model", MODELS)
def test_the_same_configuration_makes_the_same_model(model: str) -> None:
    first, again = (built(model, checkerboard(SIZE)) for _ in range(2))
    np.testing.assert_array_equal(first.users, again.users)
    np.testing.assert_array_equal(first.items, again.items)
    if first.lists is not None:
        assert again.lists is not None
        np.testing.assert_array_equal(first.lists.weights, again.lists.weights)


@pytest.mark.parametrize("model", MODELS)
def test_what_is_published_is_what_was_made(model: str, tmp_path: Path) -> None:
    """Embeddings, lists and fold-in, read back from a registry, to the last bit."""
    board = checkerboard(SIZE)
    pairs = zip(board.train.user_rows, board.train.item_rows, strict=True)
    rows = "".join(f"user {user},item {item}\n" for user, item in pairs)
    (tmp_path / "board.csv").write_text("user_id,item_id\n" + rows)
    config = configured(
        model, split={"test": 0, "validation": 0}, evaluation={"k": [5]},
        serve="fused" if "fusion" in MODELS[model] else None,
    )  # fmt: skip
    store = ModelStore(tmp_path / "registry", "board")
    version = train(config, tmp_path, store, Silent()).version
    assert isinstance(version, Version)
    version.verify()
    made = built(model, load_dataset(config, tmp_path))
    name = version.manifest.default_variant
    users, items = version.embeddings(name)
    np.testing.assert_array_equal(users, made.users)
    np.testing.assert_array_equal(items, made.items)
    lists = version.lists(name)
    assert (lists is None) == (made.lists is None)
    if lists is not None and made.lists is not None:
        np.testing.assert_array_equal(lists.items, made.lists.items)
        np.testing.assert_array_equal(lists.weights, made.lists.weights)
