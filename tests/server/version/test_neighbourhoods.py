import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gnnrec_server.version.neighbourhoods import ItemUsers

ITEMS = 6

histories = st.lists(st.sets(st.integers(0, ITEMS - 1)), min_size=1, max_size=20)
some_items = st.lists(st.integers(0, ITEMS - 1), unique=True)


def item_users(seen: list[set[int]]) -> ItemUsers:
    indptr = np.cumsum([0, *map(len, seen)]).astype(np.int64)
    rows = np.array([row for rows in seen for row in sorted(rows)], np.int32)
    return ItemUsers(indptr, rows, ITEMS)


@given(seen=histories, items=some_items, cap=st.integers(1, 4))
def test_the_graph_has_each_items_users_up_to_the_cap(
    seen: list[set[int]], items: list[int], cap: int
) -> None:
    around = item_users(seen).around(np.array(items, np.int64), cap)
    assert around.edges.dtype == np.int64
    assert list(around.users) == sorted(set(around.users))
    edges = list(zip(*around.edges.tolist(), strict=True))
    assert len(set(edges)) == len(edges)
    nodes = ["new", *(("item", item) for item in items), *(("user", int(u)) for u in around.users)]
    named = [(nodes[source], nodes[target]) for source, target in edges]
    assert named[: len(items)] == [(("item", item), "new") for item in items]
    for item in items:
        picked = {source for source, target in named if target == ("item", item)}
        having = {("user", user) for user, rows in enumerate(seen) if item in rows}
        assert picked <= having
        assert len(picked) == min(len(having), cap)
    assert len(named) == len(items) + sum(target != "new" for _, target in named)
    assert {source for source, _ in named} == set(nodes) - {"new"}, "no node stands alone"


def test_who_had_an_item_and_did_not_like_it_is_not_around_it() -> None:
    rows = np.array([0, 1, 0, 1], np.int32)
    liked = np.array([True, False, False, True])
    given = ItemUsers(np.array([0, 2, 4]), rows, ITEMS, liked)
    assert list(given.around(np.array([0]), 4).users) == [0]
    assert list(given.around(np.array([1]), 4).users) == [1]


def test_the_users_of_a_popular_item_are_picked_evenly() -> None:
    around = item_users([{0}] * 100).around(np.array([0]), 4)
    assert list(around.users) == [0, 25, 50, 75]
    again = item_users([{0}] * 100).around(np.array([0]), 4)
    assert np.array_equal(again.edges, around.edges)


def test_a_new_user_without_items_stands_alone() -> None:
    around = item_users([{0}]).around(np.empty(0, np.int64), 4)
    assert len(around.users) == 0
    assert around.edges.shape == (2, 0)


def test_a_user_of_very_many_items_has_a_graph_of_bounded_size() -> None:
    """Each item gives fewer of its users then, and one at least."""
    count, users = 10_000, 40
    rows = np.tile(np.arange(count, dtype=np.int32), users)
    several = ItemUsers(np.arange(0, users * count + 1, count), rows, count)
    for items, each in ((400, 32), (1024, 16), (count, 1)):
        around = several.around(np.arange(items), 32)
        assert around.edges.shape == (2, items + items * each)
