from dataclasses import replace

import numpy as np
import pytest
import torch

from gnnrec_registry import VariantExport
from gnnrec_training.config import Config
from gnnrec_training.export.arrays import one_segment, variant_export
from gnnrec_training.export.fused import build_fused, fusion_factors
from tests.item_lists import added, random_lists
from tests.training.boards import random_interactions

USERS, ITEMS = 25, 16
EDGES = random_interactions(USERS, ITEMS, 130, 0)
HAD = [EDGES.item_rows[EDGES.user_rows == user] for user in range(USERS)]


def dense(width: int, seed: int, scale: float) -> VariantExport:
    """Return a random variant with a fold-in."""
    generator = torch.Generator().manual_seed(seed)
    halves = (
        scale * torch.randn(USERS, width, generator=generator),
        torch.randn(ITEMS, width, generator=generator),
    )
    fold = torch.randn(ITEMS, width, generator=generator)
    segment = one_segment(fold, seed / 4, weighted=False)
    return variant_export(halves, fold=fold, fold_in=segment)


def listed(seed: int) -> VariantExport:
    """Return random lists as a variant; its embeddings must not count."""
    ones = torch.ones(ITEMS, 1)
    return variant_export(
        (torch.ones(USERS, 1), 1e-3 * torch.rand(ITEMS, 1)),
        fold=ones, fold_in=one_segment(ones, 1, weighted=False),
        lists=replace(random_lists(ITEMS, 0.3, seed), degree_exponent=0.0),
    )  # fmt: skip


VARIANTS = {
    "spectral": dense(3, 1, 1.0),
    "lightgcn": dense(5, 2, 40.0),
    "ease": listed(0),
    "cooccurrence": listed(1),
}


def config(weights: dict[str, float], width: int | None = None) -> Config:
    fusion = {"weights": weights, "embedding_dim": width}
    models: dict[str, dict[str, object]] = {name: {} for name in weights}
    raw = {"name": "x", "data": {"interactions": "-"}, **models, "fusion": fusion}
    return Config.model_validate(raw)


def scores(variant: VariantExport, *, embeddings: bool = True) -> np.ndarray:
    """Return the scores of all users by the definition: (U, I)."""
    found = np.zeros((USERS, ITEMS))
    if embeddings:
        found += variant.users.astype(np.float64) @ variant.items.T
    if variant.lists is not None:
        for user, history in enumerate(HAD):
            for item, more in added(variant.lists, history).items():
                found[user, item] += more
    return found


def deviation(variant: VariantExport) -> float:
    """Return that of the scores of all users for the items of the interactions."""
    whole = scores(variant, embeddings=variant.lists is None)
    return float(whole[:, EDGES.item_rows].std())


@pytest.mark.parametrize(
    "weights",
    [
        {"spectral": 1.0, "lightgcn": 0.6},
        {"lightgcn": 2.0, "spectral": 0.1},
        {"spectral": 1.0, "ease": 0.5},
        {"ease": 1.0, "spectral": 0.5},
        {"ease": 1.0, "cooccurrence": 0.7},
        {"cooccurrence": 0.3, "lightgcn": 1.0, "ease": 2.0, "spectral": 0.5},
    ],
    ids=lambda weights: "+".join(weights),
)
def test_scores_are_the_weighted_sum_of_those_of_the_parts_at_equal_spread(
    weights: dict[str, float],
) -> None:
    """The first part keeps its scale, times its weight; the others are scaled to its spread."""
    fused = build_fused(config(weights), EDGES, VARIANTS)
    first = deviation(VARIANTS[next(iter(weights))])
    expected = np.zeros((USERS, ITEMS))
    for name, weight in weights.items():
        part = VARIANTS[name]
        whole = scores(part, embeddings=part.lists is None)
        expected += weight * first / deviation(part) * whole
    np.testing.assert_allclose(scores(fused), expected, rtol=1e-3, atol=1e-3)
    factors = fusion_factors(config(weights).fusion, EDGES, VARIANTS)  # type: ignore[arg-type]
    wanted = [weight * first / deviation(VARIANTS[name]) for name, weight in weights.items()]
    assert factors == pytest.approx(wanted, rel=1e-4)


def test_new_users_are_folded_in_where_all_parts_with_embeddings_do() -> None:
    weights = {"spectral": 1.0, "lightgcn": 0.6, "ease": 0.5}
    fused = build_fused(config(weights), EDGES, VARIANTS)
    assert fused.fold_in is not None
    assert fused.fold is not None
    segments = [(part.width, part.degree_exponent) for part in fused.fold_in.segments]
    assert segments == [(3, 0.25), (5, 0.5)]
    spectral, lightgcn = VARIANTS["spectral"].fold, VARIANTS["lightgcn"].fold
    assert spectral is not None
    assert lightgcn is not None
    first, second, _ = fusion_factors(config(weights).fusion, EDGES, VARIANTS)  # type: ignore[arg-type]
    expected = [spectral * np.float32(first), lightgcn * np.float32(second)]
    np.testing.assert_allclose(fused.fold, np.concatenate(expected, 1), rtol=1e-5)


def test_new_users_are_not_folded_in_where_one_part_does_not_or_the_whole_is_compressed() -> None:
    weights = {"spectral": 1.0, "lightgcn": 0.6}
    without = {**VARIANTS, "lightgcn": replace(VARIANTS["lightgcn"], fold=None, fold_in=None)}
    for fused in (
        build_fused(config(weights), EDGES, without),
        build_fused(config(weights, 4), EDGES, VARIANTS),
    ):
        assert fused.fold is None
        assert fused.fold_in is None


def test_lists_alone_fold_new_users_in_by_their_lists() -> None:
    fused = build_fused(config({"ease": 1.0, "cooccurrence": 0.7}), EDGES, VARIANTS)
    assert fused.lists is not None
    assert not fused.items.any()
    assert fused.fold_in is not None


def test_a_compressed_one_keeps_its_lists_and_is_as_wide_as_asked() -> None:
    weights = {"spectral": 1.0, "lightgcn": 0.6, "ease": 0.5}
    fused = build_fused(config(weights, 4), EDGES, VARIANTS)
    assert fused.users.shape == (USERS, 4)
    whole = build_fused(config(weights), EDGES, VARIANTS)
    assert fused.lists is not None
    assert whole.lists is not None
    np.testing.assert_array_equal(fused.lists.weights, whole.lists.weights)
