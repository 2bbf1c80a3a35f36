"""Versions with item lists: published, checked, served, and asked in every way."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from gnnrec import NewUser, Query
from gnnrec_registry import FoldIn, ItemLists, ModelStore, Segment, VariantExport, Version
from gnnrec_registry.errors import VersionCorrupt
from gnnrec_server.errors import UnservableVersion
from gnnrec_server.index.approximate import IndexPlan
from gnnrec_server.query.queries import KnownUser, Limits, TopKQuery
from gnnrec_server.query.recommender import Recommender
from gnnrec_server.telemetry.metrics import Metrics
from gnnrec_server.version import loader
from gnnrec_training.data.dataset import Interactions
from gnnrec_training.evaluation.ranking import evaluate, heldout
from gnnrec_training.export.golden import golden
from gnnrec_training.graph.sparse import Csr, by_user
from tests import item_lists, made
from tests.registry.versions.full import Damage
from tests.server.rollout.test_aliases import wait_for
from tests.server.running import Running, running
from tests.server.serving import serving_only
from tests.server.trying import trial, try_out
from tests.training.boards import random_interactions

PEOPLE, ITEMS, K = 40, 60, 10
LISTS = item_lists.random_lists(ITEMS, 0.1)
FOLD = made.embeddings(ITEMS, 4, 1).round()
RULE = FoldIn(segments=(Segment(width=4, degree_exponent=0.5),))
SEEN = random_interactions(PEOPLE, ITEMS, 300, 0)
# every third pair is one that the user had and did not like
LIKED = by_user(replace(SEEN, weights=(np.arange(len(SEEN)) % 3 > 0).astype(np.float32)), PEOPLE)
HISTORY = LIKED.positive()
USERS = np.stack(
    [
        (FOLD[rows].astype(np.float64).sum(0) / max(1, len(rows)) ** 0.5).astype(np.float32)
        for rows in HISTORY.rows(np.arange(PEOPLE))
    ]
)


def seen_of(pairs: Csr) -> list[list[int]]:
    """Return the item rows that each user has."""
    return [rows.tolist() for rows in pairs.rows(np.arange(len(pairs.indptr) - 1))]


def publish(root: Path, lists: ItemLists | None = LISTS) -> Version:
    """Publish users who are folded in from what they liked, with answers that training computed."""
    export = made.export(USERS, FOLD, seen_of(LIKED))
    answers = golden(
        {"lightgcn": VariantExport(USERS, FOLD, lists=lists)},
        list(export.user_ids),
        list(export.item_ids),
        LIKED,
    )
    variant = VariantExport(USERS, FOLD, fold_in=RULE, fold=FOLD, lists=lists)
    export = replace(
        export,
        variants={"lightgcn": variant},
        golden=answers,
        seen_liked=LIKED.values > 0,
    )
    store = ModelStore(root, "toy")
    version = store.publish(export)
    store.aliases.promote(version.name, alias="production")
    return version


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, front: str) -> Iterator[Running]:
    root = tmp_path_factory.mktemp("registry")
    publish(root)
    with running(root) as here:
        yield here


def expected(user: int) -> np.ndarray:
    """Return the score of every item for a user (I,)."""
    return item_lists.scores(USERS[user], FOLD, LISTS, HISTORY.rows(np.array([user]))[0])


def test_served_lists_have_the_metrics_that_training_measures(server: Running) -> None:
    pairs = {(user, item) for user in range(PEOPLE) for item in (user % ITEMS, 3 * user % ITEMS)}
    known = set(zip(SEEN.user_rows.tolist(), SEEN.item_rows.tolist(), strict=True))
    rows = np.array(sorted(pairs - known), np.int32)
    test = Interactions(rows[:, 0], rows[:, 1], np.ones(len(rows), np.float32))
    held_out = heldout(test, PEOPLE, ITEMS)
    told = evaluate(USERS, FOLD, LIKED, held_out, (K,), lists=LISTS, history=HISTORY)
    recalls = []
    for user in np.unique(test.user_rows):
        wanted = {f"i{item}" for item in test.item_rows[test.user_rows == user]}
        answer = server.client.top_k(f"u{user}", k=K)
        recalls.append(len(wanted & {each.item_id for each in answer.items}) / len(wanted))
    assert np.mean(recalls) == pytest.approx(told.metrics[f"recall@{K}"], abs=1e-12)
    without = evaluate(USERS, FOLD, LIKED, held_out, (K,))
    assert without.metrics != told.metrics


def test_scores_of_named_items_are_those_of_the_answer(server: Running) -> None:
    for user in range(PEOPLE):
        answer = server.client.top_k(f"u{user}", k=ITEMS, include_seen=True)
        ids = [each.item_id for each in answer.items]
        scores = [each.score for each in answer.items]
        assert scores == sorted(expected(user).tolist(), reverse=True)
        assert [each.score for each in server.client.score(ids, user_id=f"u{user}").items] == scores


def test_a_known_user_asked_as_new_gets_the_same_answer(server: Running) -> None:
    """Each interaction counts once in lists, whatever its weight, and however often it is named."""
    for user in range(PEOPLE):
        had = [f"i{row}" for row in HISTORY.rows(np.array([user]))[0]]
        if not had:
            continue
        disliked = [f"i{row}" for row in LIKED.rows(np.array([user]))[0] if f"i{row}" not in had]
        known = server.client.top_k(f"u{user}", k=K)
        for newcomer in (NewUser([*had, had[0], *had]), NewUser(dict.fromkeys(had, 7.0))):
            asked = server.client.top_k(new_user=newcomer, k=K, exclude_item_ids=disliked)
            assert asked.items == known.items


def test_a_batch_gives_what_its_entries_get_alone(server: Running) -> None:
    queries = [
        *(Query(f"u{user}", k=1 + user) for user in range(PEOPLE)),
        *(Query(item_id=f"i{row}", k=5) for row in range(10)),
        Query("u1", k=4, exclude_item_ids=["i1", "i2"]),
        Query("u1", k=4, allow_item_ids=["i1", "i2", "i9", "i30"]),
    ]
    for query, entry in zip(queries, server.client.batch_top_k(queries), strict=True):
        (alone,) = server.client.batch_top_k([query])
        assert entry == alone


def test_similar_items_are_those_of_its_own_list(server: Running) -> None:
    scores = item_lists.scores(FOLD[7], FOLD, LISTS, [7])
    best = sorted(set(range(ITEMS)) - {7}, key=lambda row: (-scores[row], row))[:K]
    answer = server.client.top_k(item_id="i7", k=K)
    assert [(each.item_id, each.score) for each in answer.items] == [
        (f"i{row}", scores[row]) for row in best
    ]


def test_a_shadow_with_the_same_lists_does_not_drift(tmp_path: Path) -> None:
    same, served = publish(tmp_path), publish(tmp_path)
    assert same.name != served.name
    with running(tmp_path) as server:
        try_out(ModelStore(tmp_path, "toy"), server, same.name, shadow=True)
        for user in range(10):
            server.client.top_k(f"u{user}", k=5)
            server.client.score(["i1", "i2", "nothing"], user_id=f"u{user}")
        wait_for(lambda: trial(server).shadowed.compared == 20, "the shadow has computed")
        shadowed = trial(server).shadowed
        assert (shadowed.failed, shadowed.overlap, shadowed.score_drift) == (0, 1, 0)


def sealed(damage: Damage, root: Path) -> Version:
    """Give a damaged version right checksums, and open it."""
    damage.seal()
    (version,) = ModelStore(root, "toy").versions()
    assert isinstance(version, Version)
    return version


@pytest.mark.parametrize("wrong", ["weights", "manifest"])
def test_lists_that_are_not_those_of_training_are_refused(tmp_path: Path, wrong: str) -> None:
    """The latter is what a server sees that does not know of lists."""
    damage = Damage(publish(tmp_path).folder)
    if wrong == "weights":
        damage.put("lightgcn/lists.weights.npy", 2 * LISTS.weights)
    else:
        damage.manifest["variants"]["lightgcn"]["lists"] = None
    version = sealed(damage, tmp_path)
    with pytest.raises(UnservableVersion, match=r"does not reproduce golden\.json: .*'lightgcn'"):
        loader.load(version)


def test_lists_with_a_weight_that_is_no_number_are_refused(tmp_path: Path) -> None:
    damage = Damage(publish(tmp_path).folder)
    damage.put("lightgcn/lists.weights.npy", np.full(len(LISTS.weights), np.nan, np.float32))
    version = sealed(damage, tmp_path)
    with pytest.raises(VersionCorrupt, match=r"its item lists have a weight that is not finite"):
        loader.load(version)


def test_the_liked_are_not_kept_in_memory_without_lists(tmp_path: Path) -> None:
    assert loader.load(publish(tmp_path / "a", None)).seen_liked is None
    assert loader.load(publish(tmp_path / "b")).seen_liked is not None


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
def test_any_index_answers_with_lists(tmp_path: Path, kind: Literal["flat", "ivf", "hnsw"]) -> None:
    """Answers of approximate indexes are found among what they find and what lists add to."""
    users, items = made.embeddings(50, 8), made.embeddings(9000, 8, 1)
    seen = random_interactions(50, 9000, 500, 2)
    seen = seen.take(seen.item_rows < 500)
    liked = by_user(seen, 50)
    generator = np.random.default_rng(0)
    lists = ItemLists(
        np.arange(9001) * 5,
        np.sort(generator.integers(0, 1800, (9000, 5)) * 5 + np.arange(5), axis=1).ravel(),
        generator.random(45_000, np.float32) + 1,
        0.5,
    )
    export = made.export(users, items, seen_of(liked))
    export = replace(export, variants={"lightgcn": VariantExport(users, items, lists=lists)})
    version = ModelStore(tmp_path, "toy").publish(export)
    recommender = Recommender("production", Metrics())
    snapshot = loader.load(version, index=IndexPlan(kind, 0.95))
    assert snapshot.default_variant.index.kind == kind
    recommender.swap(serving_only(snapshot))
    queries = [TopKQuery(KnownUser(f"u{user}"), 20, Limits()) for user in range(50)]
    found = 0
    for user, answer in enumerate(recommender.top_k_batch(queries)):
        assert not isinstance(answer, Exception)
        scores = item_lists.scores(users[user], items, lists, liked.rows(np.array([user]))[0])
        scores[liked.rows(np.array([user]))[0]] = -np.inf
        best = np.argsort(-scores, kind="stable")[:20]
        found += len(np.intersect1d(best, answer.rows))
        assert answer.scores.tolist() == scores[answer.rows].tolist()
        if kind == "flat":
            assert answer.rows.tolist() == best.tolist()
    assert found > 0.95 * 50 * 20
