import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gnnrec.comparison import compare
from gnnrec.comparison.answers import overlap
from gnnrec.comparison.facts import differences
from gnnrec.comparison.metrics import bootstrap
from gnnrec.pages.comparison import render_page
from gnnrec_registry import ItemLists, RegistryError
from gnnrec_registry.scoring.metrics import Hits
from tests.gnnrec.measured import publish
from tests.made import embeddings

USERS, ITEMS = 40, 30
HALVES = embeddings(USERS, 4, 1), embeddings(ITEMS, 4, 2)
NDCG = np.linspace(0, 1, USERS)


def test_an_interval_is_that_of_the_mean() -> None:
    """With many users the percentile interval is close to the interval of a normal distribution."""
    generator = np.random.default_rng(0)
    values = generator.normal([0.3, 0.0], [1.0, 2.0], (2000, 2))
    mean, low, high = bootstrap(values)
    np.testing.assert_allclose(mean, values.mean(0))
    error = 1.96 * values.std(0) / np.sqrt(2000)
    np.testing.assert_allclose(low, values.mean(0) - error, atol=0.01)
    np.testing.assert_allclose(high, values.mean(0) + error, atol=0.01)


def test_a_version_beside_itself_differs_in_nothing(tmp_path: Path) -> None:
    a = publish(tmp_path, "a", HALVES, NDCG)
    b = publish(tmp_path, "b", HALVES, NDCG)
    found = compare(a, b)
    assert found.same_data
    assert found.differences == {}
    assert [(each.metric, each.verdict) for each in found.metrics] == [
        ("ndcg@10", "unclear"),
        ("coverage@10", ""),
    ]
    assert found.answers is not None
    assert found.answers.overlap.mean == 1.0
    assert found.answers.overlap.histogram == (0,) * 9 + (USERS,)
    assert found.answers.winners == found.answers.losers == ()


def test_users_and_items_are_matched_by_id(tmp_path: Path) -> None:
    """B has the users and items of A in other rows, without some of them, and one new item."""
    a = publish(tmp_path, "a", HALVES, NDCG)
    users, items = np.arange(USERS)[::-1][:30], np.arange(ITEMS)[::-1]
    star = np.full((1, 4), 0.0, np.float32)
    b = publish(
        tmp_path,
        "b",
        (HALVES[0][users], np.concatenate([HALVES[1][items], star])),
        NDCG[users] + 0.25,
        user_ids=[f"u{row}" for row in users],
        item_ids=[*(f"i{row}" for row in items), "new"],
        fingerprint="1",
    )
    found = compare(a, b, k=5)
    ndcg = found.metrics[0]
    assert ndcg.users == 30
    assert ndcg.difference == pytest.approx(0.25, abs=1e-6)
    assert ndcg.low == pytest.approx(0.25, abs=1e-6)
    assert ndcg.verdict == "better"
    assert not found.same_data
    assert found.answers is not None
    assert found.answers.overlap.users == 30
    assert found.answers.overlap.mean > 0.9  # only the new item may displace another


def test_metrics_follow_from_hits_as_they_stood_in_older_versions(tmp_path: Path) -> None:
    """One version has metrics of every user, the other has ranks of hits of every second user."""
    generator = np.random.default_rng(0)
    found = generator.random((USERS // 2, 10)) < 0.2
    places, columns = np.nonzero(found)
    hits = Hits(places, columns + 1, found.sum(1) + 1)
    ndcg = np.zeros(USERS)
    ndcg[::2] = hits.metrics(10)["ndcg@10"]
    old = publish(tmp_path, "old", HALVES, ndcg)
    new = publish(tmp_path, "new", HALVES, ndcg, hits=hits)
    first = publish(tmp_path, "first", HALVES, NDCG)
    same = compare(old, new).metrics[0]
    assert same.users == USERS // 2
    assert (same.difference, same.low, same.high) == pytest.approx((0, 0, 0), abs=1e-6)
    there, back = compare(first, new).metrics[0], compare(new, first).metrics[0]
    assert there.difference == pytest.approx((ndcg - NDCG)[::2].mean(), abs=1e-6)
    assert back.difference == pytest.approx((NDCG - ndcg)[::2].mean(), abs=1e-6)


def test_winners_and_losers_are_the_items_that_change_places(tmp_path: Path) -> None:
    """In B item i0 is the best of every user; in A it is in nobody's list."""
    users: NDArray[np.float32] = np.abs(embeddings(USERS, 4, 1)) + np.float32(0.1)
    items: NDArray[np.float32] = np.abs(embeddings(ITEMS, 4, 2))
    items[0] = 0
    raised = items.copy()
    raised[0] = 100
    titles = [f"Title {row}" for row in range(ITEMS)]
    a = publish(tmp_path, "a", (users, items), NDCG, titles=titles)
    b = publish(tmp_path, "b", (users, raised), NDCG[::-1] * 0.5, titles=titles)
    found = compare(a, b, k=3)
    assert found.answers is not None
    assert [(one.item_id, one.title, one.a, one.b) for one in found.answers.winners] == [
        ("i0", "Title 0", 0, USERS)
    ]
    assert sum(-one.change for one in found.answers.losers) == USERS
    assert found.answers.overlap.mean == pytest.approx(2 / 3)
    assert found.metrics[0].verdict == "worse"


def test_item_lists_count_in_the_answers_for_those_who_liked_an_item(tmp_path: Path) -> None:
    """In B, whoever liked i1 gets i0; a third of the users liked it, and a third did not."""
    halves = HALVES[0], np.concatenate([np.zeros((1, 4), np.float32), HALVES[1][1:]])
    seen = [[1] if user % 3 < 2 else [] for user in range(USERS)]
    liked = np.array([user % 3 == 0 for user in range(USERS) if user % 3 < 2])
    lists = ItemLists(
        indptr=np.array([0, 0, *[1] * (ITEMS - 1)]),
        items=np.zeros(1, np.int32),
        weights=np.array([100], np.float32),
        degree_exponent=0.5,
    )
    a = publish(tmp_path, "a", halves, NDCG, seen=seen, seen_liked=liked)
    b = publish(tmp_path, "b", halves, NDCG, seen=seen, seen_liked=liked, lists=lists)
    found = compare(a, b, k=1)
    assert found.answers is not None
    (winner,) = found.answers.winners
    assert (winner.item_id, winner.a, winner.b) == ("i0", 0, liked.sum())


def test_lists_cut_short_overlap_by_what_there_is() -> None:
    ours, theirs = np.array([[1, 2, -1], [-1, -1, -1]]), np.array([[2, 3, -1], [-1, -1, -1]])
    found = overlap(ours, theirs, 3)
    assert found.mean == pytest.approx((0.5 + 1) / 2)


def test_versions_that_share_nobody_say_so(tmp_path: Path) -> None:
    a = publish(tmp_path, "a", HALVES, NDCG)
    others = [f"v{row}" for row in range(USERS)]
    b = publish(tmp_path, "b", HALVES, NDCG, user_ids=others)
    found = compare(a, b)
    assert found.answers is None
    assert found.metrics[0].difference is None
    page = render_page(found)
    assert "share no user" in page
    assert "no user was measured in both" in page
    with pytest.raises(RegistryError, match="no variant 'sage'; it has lightgcn"):
        compare(a, b, variant="sage")


def test_the_page_escapes_what_comes_from_outside(tmp_path: Path) -> None:
    nasty = "<script>alert(1)</script>"
    titles = [f"{nasty}{row}" for row in range(ITEMS)]
    a = publish(tmp_path, "a", HALVES, NDCG, titles=titles)
    b = publish(
        tmp_path,
        "b",
        (HALVES[0], HALVES[1][::-1].copy()),
        NDCG,
        titles=titles,
        config={"name": nasty},
    )
    found = compare(a, b)
    page = render_page(found)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert json.loads(json.dumps(found.as_json()))["differences"]["config.name"] == ["toy", nasty]


def test_facts_differ_by_dotted_name() -> None:
    a = {"config": {"seed": 0, "lightgcn": {"num_layers": 2}}, "data": {"users": 3}}
    b = {"config": {"seed": 0, "spectral": None}, "data": {"users": 4}}
    assert differences(a, b) == {
        "config.lightgcn.num_layers": (2, None),
        "data.users": (3, 4),
    }
