from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gnnrec_registry.features.encoders import Value
from gnnrec_registry.files.arrays import Embeddings
from gnnrec_server.errors import CannotEmbed, InvalidQuery
from gnnrec_server.query.queries import (
    Interaction,
    KnownUser,
    Limits,
    NewItem,
    NewUser,
    ScoreQuery,
    Target,
    TopKQuery,
)
from gnnrec_server.query.recommender import Recommender
from gnnrec_server.telemetry.metrics import Metrics
from gnnrec_server.version import loader
from gnnrec_server.version.newcomers import embed_item, embed_user
from gnnrec_server.version.snapshot import Snapshot
from tests import unseen
from tests.server.serving import serving_only

LIMITS = Limits(k=50, list_length=40)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return loader.load(unseen.publish(tmp_path_factory.mktemp("registry"), "v1"))


@pytest.fixture(scope="module")
def recommender(loaded: Snapshot) -> Recommender:
    recommender = Recommender("production", Metrics())
    recommender.swap(serving_only(loaded))
    return recommender


def new_user(
    items: dict[str, float] | list[int] | None = None, features: dict[str, Any] | None = None
) -> NewUser:
    weights = items if isinstance(items, dict) else {f"i{row}": 1.0 for row in items or []}
    interactions = tuple(Interaction(item_id, weight) for item_id, weight in weights.items())
    return NewUser(interactions, features or {})


def embed(loaded: Snapshot, variant: str, user: NewUser) -> Embeddings:
    return embed_user(loaded, loaded.variant(variant), user.weights, user.features).vector


def test_a_fold_in_is_the_sum_over_the_root_of_the_degree(loaded: Snapshot) -> None:
    got = embed(loaded, "lightgcn", new_user({"i1": 5.0, "i4": 0.1, "i7": 2.0}))
    expected = unseen.FOLD[[1, 4, 7]].sum(axis=0) / np.sqrt(3)
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    assert got.dtype == np.float32


def test_a_fold_in_scales_each_segment_by_its_own_power_of_the_weight(loaded: Snapshot) -> None:
    got = embed(loaded, "fused", new_user({"i1": 5.0, "i4": 0.5}))
    summed = 5 * unseen.FOLD[1] + 0.5 * unseen.FOLD[4]
    expected = summed / [1, np.sqrt(5.5), np.sqrt(5.5), 5.5]
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_an_item_named_twice_counts_once_with_its_weights_added_up(loaded: Snapshot) -> None:
    twice = NewUser((Interaction("i1", 2.0), Interaction("i4"), Interaction("i1", 3.0)))
    spaced = NewUser((Interaction("i1 ", 2.0), Interaction("i4"), Interaction("i1", 3.0)))
    once = new_user({"i1": 5.0, "i4": 1.0})
    for variant in ("lightgcn", "fused", "sage", "hybrid"):
        for other in (twice, spaced):
            assert np.array_equal(embed(loaded, variant, other), embed(loaded, variant, once))


@pytest.mark.parametrize("variant", ["lightgcn", "sage", "hybrid"])
def test_a_user_of_the_training_asked_as_new_gets_the_exported_embedding(
    loaded: Snapshot, variant: str
) -> None:
    for row, items in enumerate(unseen.SEEN):
        got = embed(loaded, variant, new_user(items, unseen.described(row)))
        expected = loaded.variants[variant].users[row]
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_a_capped_graph_answers_nearly_as_the_whole_one(tmp_path: Path, loaded: Snapshot) -> None:
    """Only users whose items have more users than the cap differ."""
    capped = loader.load(unseen.publish(tmp_path), max_neighbours=3)
    popular, rare = new_user([0], {"age": 30.0}), new_user([5], {"age": 30.0})
    assert not np.allclose(embed(capped, "sage", popular), embed(loaded, "sage", popular))
    assert np.array_equal(embed(capped, "sage", rare), embed(loaded, "sage", rare))


def test_features_alone_are_enough_for_a_model(loaded: Snapshot) -> None:
    own = unseen.FEATURES.users.encode_one({"goal": "fun"}, Counter())
    x = torch.from_numpy(unseen.FEATURES.user_inputs(own))
    user = new_user(features={"goal": "fun"})
    alone = unseen.sage_model()(x, torch.empty((2, 0), dtype=torch.int64))
    np.testing.assert_allclose(embed(loaded, "sage", user), alone[0].detach(), atol=1e-6)
    without_graph = unseen.hybrid_model()(torch.zeros(1, unseen.WIDTH), x)
    np.testing.assert_allclose(embed(loaded, "hybrid", user), without_graph[0].detach(), atol=1e-6)


def test_a_new_item_is_embedded_from_its_features(loaded: Snapshot) -> None:
    features: dict[str, Value] = {"level": "first", "tags": ["Art ", "maths"], "text": [3.0, 4.0]}
    own = unseen.FEATURES.items.encode_one(features, Counter())
    x = torch.from_numpy(unseen.FEATURES.item_inputs(own))
    expected = {
        "sage": unseen.sage_model()(x, torch.empty((2, 0), dtype=torch.int64)),
        "hybrid": unseen.hybrid_model()(torch.zeros(1, unseen.WIDTH), x),
    }
    for variant, output in expected.items():
        got = embed_item(loaded, loaded.variant(variant), features).vector
        np.testing.assert_allclose(got, output[0].detach(), atol=1e-6)


@pytest.mark.parametrize("variant", ["lightgcn", "fused", "sage", "hybrid"])
def test_unknown_items_are_reported_and_change_nothing(loaded: Snapshot, variant: str) -> None:
    chosen = loaded.variant(variant)
    some = embed_user(loaded, chosen, {"x": 1.0, "i2": 2.0, "y": 1.0}, {})
    assert some.unknown_item_ids == ["x", "y"]
    assert np.array_equal(some.vector, embed(loaded, variant, new_user({"i2": 2.0})))


def test_unknown_texts_are_counted_and_change_nothing(loaded: Snapshot) -> None:
    odd = new_user([3], {"goal": "fame", "interests": ["Law", "Chess", "Go"]})
    newcomer = embed_user(loaded, loaded.variant("hybrid"), odd.weights, odd.features)
    assert newcomer.unknown_features == {"goal": 1, "interests": 2}
    plain = embed(loaded, "hybrid", new_user([3], {"interests": ["Law"]}))
    assert np.array_equal(newcomer.vector, plain)


@pytest.mark.parametrize(
    ("variant", "user", "error", "message"),
    [
        (
            "lightgcn", new_user(features={"goal": "fun"}), InvalidQuery,
            "has no interactions, and variant 'lightgcn' embeds new users from interactions; "
            "variants that take features: 'hybrid', 'sage'",
        ),
        ("fused", new_user({"x": 1.0}), InvalidQuery, "no interaction with an item of version"),
        ("sage", new_user({"x": 1.0}), InvalidQuery, "of version 'v1', and it has no features"),
        (
            "plain", new_user([1]), CannotEmbed,
            "'plain' of version 'v1' cannot embed new users; variants that can: "
            "'fused', 'hybrid', 'lightgcn', 'sage'",
        ),
        ("sage", new_user([1], {"agee": 3.0}), InvalidQuery, "not a feature of this version"),
        ("sage", new_user([1], {"age": float("inf")}), InvalidQuery, "must be finite"),
        ("hybrid", new_user([1], {"age": "old"}), InvalidQuery, "takes a number, not 'old'"),
    ],
)  # fmt: skip
def test_a_user_who_cannot_be_embedded_is_told_why(
    loaded: Snapshot, variant: str, user: NewUser, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        embed(loaded, variant, user)


def test_an_embedding_that_is_not_finite_answers_nothing(tmp_path: Path) -> None:
    """Weights that are allowed can be too large for the items that they are multiplied with."""
    fold = unseen.FOLD * np.float32(1e30)
    fused = replace(unseen.lightgcn(), fold=fold, fold_in=unseen.MIXED)
    huge = loader.load(unseen.publish(tmp_path, "v1", fused=fused))
    with pytest.raises(InvalidQuery, match="beyond a float's range"):
        embed(huge, "fused", new_user({"i1": 1e15}))
    assert np.isfinite(embed(huge, "fused", new_user({"i1": 1.0}))).all()


@pytest.mark.parametrize("variant", ["lightgcn", "fused", "plain"])
def test_a_variant_without_a_model_takes_no_new_items(loaded: Snapshot, variant: str) -> None:
    with pytest.raises(CannotEmbed, match="new items; variants that can: 'hybrid', 'sage'"):
        embed_item(loaded, loaded.variant(variant), {"level": "first"})


def top_k(recommender: Recommender, subject: Any, variant: str, **rest: Any) -> list[str]:
    query = TopKQuery(subject, 9, LIMITS, Target(variant=variant), **rest)
    return recommender.top_k(query).item_ids


@pytest.mark.parametrize("variant", ["lightgcn", "sage", "hybrid"])
def test_a_new_user_is_answered_as_the_known_one(recommender: Recommender, variant: str) -> None:
    """What the new user interacted with is left out, unless asked for."""
    user = new_user(unseen.SEEN[3], unseen.described(3))
    assert top_k(recommender, user, variant) == top_k(recommender, KnownUser("u3"), variant)
    everything = top_k(recommender, user, variant, include_seen=True)
    assert everything == top_k(recommender, KnownUser("u3"), variant, include_seen=True)
    assert len(everything) == 9


def test_unknown_ids_of_interactions_and_lists_are_reported_together(
    recommender: Recommender,
) -> None:
    user = new_user({"x": 1.0, "i3": 1.0, "y": 1.0})
    answer = recommender.top_k(TopKQuery(user, 3, LIMITS, exclude_item_ids=("y", "z")))
    assert answer.unknown_item_ids == ["x", "y", "z"]
    scores = recommender.score(ScoreQuery(user, ("i1", "z"), LIMITS))
    assert scores.unknown_item_ids == ["x", "y"]
    assert scores.known == [True, False]


def test_a_new_item_is_ranked_against_the_whole_catalogue(recommender: Recommender) -> None:
    assert len(top_k(recommender, NewItem({"level": "first"}), "sage")) == 9


@pytest.mark.parametrize(
    ("build", "field"),
    [
        (lambda: NewUser(), "new_user"),
        (lambda: NewItem({}), "new_item"),
        (lambda: NewUser((Interaction("a", 0.0),)), "new_user.interactions[0].weight"),
        (
            lambda: NewUser((Interaction("a"), Interaction("b", float("nan")))),
            "new_user.interactions[1].weight",
        ),
        (lambda: new_user({"a": float("inf")}), "new_user.interactions[0].weight"),
        (lambda: TopKQuery(new_user(list(range(41))), 1, LIMITS), "new_user.interactions"),
        (lambda: ScoreQuery(new_user(list(range(41))), ("a",), LIMITS), "new_user.interactions"),
        (
            lambda: TopKQuery(new_user([], {"interests": ["a"] * 41}), 1, LIMITS),
            "new_user.features[interests]",
        ),
        (
            lambda: TopKQuery(NewItem({"text": [1.0] * 41, "tags": ["a"] * 41}), 1, LIMITS),
            "new_item.features[tags]",
        ),
    ],
)
def test_a_newcomer_that_breaks_a_rule_cannot_exist(build: Any, field: str) -> None:
    with pytest.raises(InvalidQuery) as caught:
        build()
    assert caught.value.field == field
