from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gnnrec_registry import FoldIn, VariantExport
from gnnrec_training.config import Config, LightGCNConfig
from gnnrec_training.data.dataset import Dataset
from gnnrec_training.export.graph_models import published
from gnnrec_training.export.variants import build_variants
from gnnrec_training.reporter import Silent
from tests.training.boards import random_interactions

USERS, ITEMS = 20, 14


def built(tmp_path: Path, sections: dict[str, object]) -> tuple[Dataset, dict[str, VariantExport]]:
    """Train on a small random graph; user 20 and item 14 have no interactions."""
    part = random_interactions(USERS, ITEMS, 120, 0)
    names = [f"n{row}" for row in range(USERS + 1)]
    dataset = Dataset("toy", names, names[: ITEMS + 1], part)
    config = Config.model_validate(
        {
            "name": "toy",
            "data": {"interactions": "-", "weight_column": "w"},
            "graph": {"weighted": True},
            **sections,
        }
    )
    return dataset, build_variants(config, dataset, tmp_path, Silent()).variants


def folded(dataset: Dataset, variant: VariantExport) -> np.ndarray:
    """Fold every user in as a server does: (U, D)."""
    fold_in = variant.fold_in
    assert isinstance(fold_in, FoldIn)
    assert variant.fold is not None
    part, blocks, start = dataset.train, [], 0
    had = np.zeros((USERS, ITEMS + 1))
    had[part.user_rows, part.item_rows] = part.weights if fold_in.weighted else 1
    for segment in fold_in.segments:
        columns = variant.fold[:, start : start + segment.width]
        blocks.append((had @ columns) / had.sum(1, keepdims=True) ** segment.degree_exponent)
        start += segment.width
    return np.concatenate(blocks, 1)


@pytest.mark.parametrize("aggregation", ["symmetric", "mean"])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_a_user_of_the_last_layer_alone_is_folded_in_exactly(
    tmp_path: Path, aggregation: str, layers: int
) -> None:
    """Nothing of such a user is their own, so a training user asked as new is the same."""
    shape = {
        "embedding_dim": 6, "num_layers": layers, "aggregation": aggregation,
        "layer_combination": "last", "training": {"epochs": 3, "learning_rate": 0.05},
    }  # fmt: skip
    dataset, variants = built(tmp_path, {"lightgcn": shape})
    lightgcn = variants["lightgcn"]
    np.testing.assert_allclose(folded(dataset, lightgcn), lightgcn.users[:USERS], atol=1e-5)


def test_with_a_layer_of_their_own_users_are_folded_in_closely(tmp_path: Path) -> None:
    shape = {"embedding_dim": 6, "num_layers": 2, "training": {"epochs": 200, "batch_size": 32}}
    dataset, variants = built(tmp_path, {"lightgcn": shape})
    lightgcn = variants["lightgcn"]
    ours, theirs = folded(dataset, lightgcn), lightgcn.users[:USERS]
    cosines = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    assert cosines.min() > 0.8


def test_spectral_and_fused_users_are_folded_in_exactly(tmp_path: Path) -> None:
    sections = {
        "lightgcn": {"embedding_dim": 6, "layer_combination": "last", "training": {"epochs": 2}},
        "spectral": {"embedding_dim": 5},
        "fusion": {"weights": {"lightgcn": 1, "spectral": 0.6}},
    }
    dataset, variants = built(tmp_path, sections)
    for name in ("spectral", "fused"):
        variant = variants[name]
        np.testing.assert_allclose(folded(dataset, variant), variant.users[:USERS], atol=1e-4)
    fused = variants["fused"].fold_in
    assert fused is not None
    assert [(s.width, s.degree_exponent) for s in fused.segments] == [(6, 0.5), (5, 0)]


def test_what_cannot_be_folded_in_says_so(tmp_path: Path) -> None:
    sections = {
        "lightgcn": {"embedding_dim": 6, "num_layers": 0, "training": {"epochs": 1}},
        "spectral": {"embedding_dim": 5},
        "fusion": {"weights": {"lightgcn": 1, "spectral": 0.6}, "embedding_dim": 4},
    }
    _, variants = built(tmp_path, sections)
    assert variants["lightgcn"].fold_in is None
    assert variants["fused"].fold_in is None


def test_nodes_without_interactions_are_placed_neutrally(tmp_path: Path) -> None:
    _, variants = built(tmp_path, {"lightgcn": {"embedding_dim": 6, "training": {"epochs": 1}}})
    lightgcn = variants["lightgcn"]
    assert not lightgcn.items[ITEMS].any()
    np.testing.assert_allclose(lightgcn.users[USERS], lightgcn.users[:USERS].mean(0), atol=1e-6)


def test_published_items_keep_their_length_to_a_power() -> None:
    halves = torch.randn(4, 3), torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, 0.5]])
    for exponent, lengths in ((1.0, [5, 0.5]), (0.5, [5**0.5, 0.5**0.5]), (0.0, [1, 1])):
        users, items = published(halves, LightGCNConfig(norm_exponent=exponent))
        assert users is halves[0]
        torch.testing.assert_close(items.norm(dim=1), torch.tensor(lengths, dtype=torch.float))
        torch.testing.assert_close(F.normalize(items), F.normalize(halves[1]))
