import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gnnrec_registry import ModelStore
from gnnrec_server.errors import (
    InvalidQuery,
    MissingAttributes,
    MissingVariant,
    NotReady,
    UnknownItem,
    UnknownUser,
    UnknownVersion,
    UnservableVersion,
)
from gnnrec_server.query.filters import AnyOf, Filter, Range
from gnnrec_server.query.queries import (
    KnownItem,
    KnownUser,
    Limits,
    ScoreQuery,
    Subject,
    Target,
    TopKQuery,
    Vector,
    check_batch,
)
from gnnrec_server.query.recommender import Recommender
from gnnrec_server.telemetry.metrics import Metrics
from gnnrec_server.version import loader
from tests import made
from tests.server.serving import serving_only

SOMEONE = KnownUser("u0")
LIMITS = Limits(k=50, list_length=40)
KEPT = Filter("a", Range())


@pytest.fixture(scope="module")
def recommender(tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    recommender = Recommender("production", Metrics())
    version = made.publish(tmp_path_factory.mktemp("registry"), version="v1")
    recommender.swap(serving_only(loader.load(version)))
    return recommender


def ask(recommender: Recommender, subject: Subject = SOMEONE, k: int = 5, **rest: Any) -> list[str]:
    return recommender.top_k(TopKQuery(subject, k, LIMITS, **rest)).item_ids


def test_what_a_user_has_seen_is_left_out_unless_asked_for(recommender: Recommender) -> None:
    unseen, everything = ask(recommender, k=30), ask(recommender, k=30, include_seen=True)
    assert len(everything) == 30
    assert unseen == [item for item in everything if item not in ("i0", "i1", "i2")]


def test_a_user_with_every_item_seen_gets_an_empty_answer(recommender: Recommender) -> None:
    assert ask(recommender, KnownUser("u3")) == []
    assert len(ask(recommender, KnownUser("u3"), include_seen=True)) == 5


def test_similar_items_are_ranked_by_inner_product_without_the_item(
    recommender: Recommender,
) -> None:
    items = made.embeddings(30, 4, seed=1).astype(float)
    order = [f"i{row}" for row in np.argsort(-(items @ items[7])) if row != 7]
    assert ask(recommender, KnownItem("i7"), k=29) == order


def test_an_embedding_is_searched_as_it_is(recommender: Recommender) -> None:
    user = made.embeddings(5, 4)[2]
    assert ask(recommender, Vector(user)) == ask(recommender, KnownUser("u2"))


def test_exclude_and_allow_lists_leave_k_items_whenever_k_are_permitted(
    recommender: Recommender,
) -> None:
    best = ask(recommender, k=10)
    assert ask(recommender, k=8, exclude_item_ids=(best[0], best[3])) == [
        item for place, item in enumerate(best) if place not in (0, 3)
    ]
    allowed = (best[6], best[2], "i0", best[6])
    assert ask(recommender, k=8, allow_item_ids=allowed) == [best[2], best[6]], "i0 is seen"


def test_unknown_ids_in_lists_are_reported_not_fatal(recommender: Recommender) -> None:
    query = TopKQuery(
        KnownUser("u0"), 3, LIMITS, exclude_item_ids=("i5", "nope", "nope", "neither")
    )
    answer = recommender.top_k(query)
    assert answer.unknown_item_ids == ["nope", "neither"]
    assert len(answer.item_ids) == 3
    only_unknown = TopKQuery(KnownUser("u0"), 3, LIMITS, allow_item_ids=("nope",))
    assert recommender.top_k(only_unknown).item_ids == []


def test_probabilities_are_the_softmax_of_the_scores(recommender: Recommender) -> None:
    query = TopKQuery(KnownUser("u0"), 6, LIMITS, with_probabilities=True, with_titles=True)
    answer = recommender.top_k(query)
    powers = np.exp(answer.scores.astype(float))
    assert answer.probabilities is not None
    np.testing.assert_allclose(answer.probabilities, powers / powers.sum(), rtol=1e-6)
    assert answer.titles == [f"Title {item_id[1:]}" for item_id in answer.item_ids]
    huge = TopKQuery(Vector(np.full(4, 1e15, np.float32)), 6, LIMITS, with_probabilities=True)
    probabilities = recommender.top_k(huge).probabilities
    assert probabilities is not None
    assert probabilities.sum() == pytest.approx(1)


def test_score_keeps_the_order_of_the_request_and_marks_the_unknown(
    recommender: Recommender,
) -> None:
    answer = recommender.score(ScoreQuery(KnownUser("u1"), ("i9", "nope", "i2", "i9"), LIMITS))
    user, items = made.embeddings(5, 4)[1], made.embeddings(30, 4, seed=1)
    expected = [items[9] @ user, 0, items[2] @ user, items[9] @ user]
    np.testing.assert_allclose(answer.scores, expected, rtol=1e-6)
    assert answer.known == [True, False, True, True]


@pytest.mark.parametrize(
    ("query", "error", "message"),
    [
        ({"subject": KnownUser("nobody")}, UnknownUser, "has no user 'nobody'"),
        ({"subject": KnownItem("nothing")}, UnknownItem, "has no item 'nothing'"),
        (
            {"subject": Vector(np.ones(3, np.float32))},
            InvalidQuery,
            "has 3 numbers.*_dim 4",
        ),
        ({"target": Target(variant="hybrid")}, MissingVariant, "it has: lightgcn"),
        ({"target": Target(version="v9")}, UnknownVersion, r"loaded versions: 'v1' \(production"),
        ({"target": Target(alias="canary")}, UnknownVersion, "no alias 'canary'; loaded"),
        (
            {"filters": (Filter("level", Range(min=1)),)},
            MissingAttributes,
            "'v1' was published without attributes",
        ),
    ],
)
def test_what_the_version_lacks_is_named(
    recommender: Recommender, query: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        ask(recommender, **query)


def test_naming_the_version_that_serves_is_fine(recommender: Recommender) -> None:
    assert ask(recommender, target=Target(version="v1")) == ask(recommender)
    assert ask(recommender, target=Target(alias="production")) == ask(recommender)


def filtered(second: Filter) -> TopKQuery:
    return TopKQuery(SOMEONE, 1, LIMITS, filters=(KEPT, second))


@pytest.mark.parametrize(
    ("build", "field"),
    [
        (lambda: TopKQuery(KnownUser("u"), 0, LIMITS), "k"),
        (lambda: TopKQuery(KnownUser("u"), -3, LIMITS), "k"),
        (lambda: TopKQuery(KnownUser("u"), 51, LIMITS), "k"),
        (
            lambda: TopKQuery(
                KnownUser("u"), 1, LIMITS, exclude_item_ids=("a",), allow_item_ids=("b",)
            ),
            "allow_item_ids",
        ),
        (
            lambda: TopKQuery(KnownUser("u"), 1, LIMITS, exclude_item_ids=("a",) * 41),
            "exclude_item_ids",
        ),
        (lambda: ScoreQuery(KnownUser("u"), (), LIMITS), "item_ids"),
        (lambda: ScoreQuery(KnownUser("u"), ("a",) * 41, LIMITS), "item_ids"),
        (lambda: TopKQuery(KnownUser("u"), 1, LIMITS, filters=(KEPT,) * 33), "filters"),
        (lambda: filtered(Filter("", AnyOf(("a",)))), "filters[1].field"),
        (lambda: filtered(Filter("a", AnyOf(()))), "filters[1].any_of"),
        (lambda: filtered(Filter("a", AnyOf(("a",) * 41))), "filters[1].any_of"),
        (lambda: filtered(Filter("a", Range(min=math.nan))), "filters[1].range.min"),
        (lambda: filtered(Filter("a", Range(max=math.inf))), "filters[1].range.max"),
        (lambda: filtered(Filter("a", Range(min=2, max=1))), "filters[1].range"),
        (lambda: check_batch(0, LIMITS), "requests"),
        (lambda: check_batch(257, LIMITS), "requests"),
        (lambda: Vector(np.empty(0, np.float32)), "embedding.values"),
        (lambda: Vector(np.array([1, np.nan], np.float32)), "embedding.values"),
        (lambda: Vector(np.array([1, -np.inf], np.float32)), "embedding.values"),
    ],
)
def test_a_query_that_breaks_a_rule_cannot_exist(build: Callable[[], object], field: str) -> None:
    with pytest.raises(InvalidQuery) as caught:
        build()
    assert caught.value.field == field


def test_before_the_first_version_nothing_is_ready() -> None:
    with pytest.raises(NotReady):
        ask(Recommender("production", Metrics()))


def test_a_version_that_does_not_reproduce_its_golden_answers_is_refused(tmp_path: Path) -> None:
    users, items = made.embeddings(3, 4), made.embeddings(9, 4, seed=1)
    best = int(np.argmax(items @ users[1]))
    right = {
        "variant": "lightgcn",
        "user_id": "u1",
        "item_ids": [f"i{best}"],
        "scores": [float(items[best] @ users[1])],
    }
    store = ModelStore(tmp_path, "toy")
    good = store.publish(made.export(users, items, golden={"k": 1, "queries": [right]}))
    assert loader.load(good).version == good.name
    wrong = right | {"scores": [float(items[best] @ users[1]) + 0.01]}
    bad = store.publish(made.export(users, items, golden={"k": 1, "queries": [wrong]}))
    with pytest.raises(UnservableVersion, match=r"does not reproduce golden\.json.*'u1'"):
        loader.load(bad)
