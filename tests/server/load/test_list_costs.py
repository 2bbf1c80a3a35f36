"""Where requests are computed to which many entries of item lists add."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gnnrec_protos.v1 import recommender_pb2 as pb
from gnnrec_registry import FoldIn, ItemLists, ModelStore, Segment, VariantExport
from gnnrec_registry.scoring.lists import Added
from gnnrec_server.load import lanes
from gnnrec_server.process.cancellation import CHECK
from tests import made
from tests.server.running import Running, running

ITEMS, ENTRIES = 1000, 500
# what users had: lists of 250,000 entries, of 50,000 and of 5,000
HAD = {"u0": 500, "u1": 100, "u2": 10}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    root = tmp_path_factory.mktemp("registry")
    users, items = made.embeddings(3, 8), made.embeddings(ITEMS, 8, 1)
    lists = ItemLists(
        np.arange(ITEMS + 1) * ENTRIES,
        np.tile(np.arange(0, ITEMS, 2, dtype=np.int32), ITEMS),
        np.ones(ITEMS * ENTRIES, np.float32),
        0.5,
    )
    rule = FoldIn(segments=(Segment(width=8, degree_exponent=0.5),))
    variant = VariantExport(users, items, fold_in=rule, fold=items, lists=lists)
    export = made.export(users, items, [list(range(count)) for count in HAD.values()])
    store = ModelStore(root, "toy")
    version = store.publish(replace(export, variants={"lightgcn": variant}))
    store.aliases.promote(version.name, alias="production")
    with running(root, cache_bytes=0) as here:
        yield here


@pytest.fixture
def computed_in(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the threads that add lists up, in order."""
    names: list[str] = []
    added = ItemLists.added

    def watched(lists: ItemLists, history: NDArray[Any], pause: Callable[[], None]) -> Added:
        names.append(threading.current_thread().name)
        return added(lists, history, pause)

    monkeypatch.setattr(ItemLists, "added", watched)
    return names


def top_k(user: str, **rest: Any) -> pb.TopKRequest:
    return pb.TopKRequest(user_id=user, k=5, **rest)


def test_many_entries_are_added_up_where_they_keep_nobody_waiting(
    server: Running, computed_in: list[str]
) -> None:
    stub, ids = server.recommender, [f"i{row}" for row in range(3)]
    interactions = [pb.Interaction(item_id=f"i{row}") for row in range(500)]
    newcomer = pb.NewUser(interactions=interactions)
    stub.TopK(top_k("u0"))
    stub.TopK(top_k("u0", exclude_item_ids=["i999"]))
    stub.TopK(pb.TopKRequest(new_user=newcomer, k=5))
    stub.Score(pb.ScoreRequest(user_id="u0", item_ids=ids))
    stub.Score(pb.ScoreRequest(new_user=newcomer, item_ids=ids))
    stub.BatchTopK(pb.BatchTopKRequest(requests=[top_k("u2"), top_k("u0")]))
    assert computed_in == ["long-search"] * 7


def test_some_entries_are_not_added_up_in_the_event_loop(
    server: Running, computed_in: list[str]
) -> None:
    """However often a user asks alone, for whom others would be computed in the event loop."""
    for _ in range(20):
        server.recommender.TopK(top_k("u1"))
        server.recommender.Score(pb.ScoreRequest(user_id="u1", item_ids=["i1"]))
    assert computed_in == ["search"] * 40


def test_a_batch_of_many_users_with_lists_is_long(server: Running, computed_in: list[str]) -> None:
    server.recommender.BatchTopK(pb.BatchTopKRequest(requests=[top_k("u2")] * 5))
    server.recommender.BatchTopK(pb.BatchTopKRequest(requests=[top_k("u2")] * 100))
    assert computed_in == ["search"] * 5 + ["long-search"] * 100


def test_adding_up_ends_once_nobody_waits(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(Exception):
        pass

    def gone() -> None:
        raise Gone

    token = CHECK.set(gone)
    variant = server.server.recommender.snapshot.default_variant
    try:
        with pytest.raises(Gone):
            variant.scores(np.ones(8, np.float32), np.arange(3), np.arange(500))
    finally:
        CHECK.reset(token)


def test_a_request_that_cannot_be_answered_is_short(server: Running) -> None:
    assert lanes.SHORT_ENTRIES < 500 * ENTRIES
    with pytest.raises(Exception, match="has no user 'nobody'"):
        server.recommender.TopK(top_k("nobody"))
