"""Expensive requests: they keep no other waiting, and end once nobody waits for their answer."""

import gc
import threading
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from numpy.typing import NDArray

from gnnrec_protos.v1 import recommender_pb2 as pb
from gnnrec_registry import ItemAttribute, ModelStore
from gnnrec_registry.features.attributes import Texts
from gnnrec_server.index.exact import FlatIndex
from gnnrec_server.load import batches, lanes
from gnnrec_server.query.recommender import Recommender
from gnnrec_server.rpc import requests
from gnnrec_server.version.ids import IdTable
from tests import made
from tests.server.running import Running, running
from tests.server.waiting import until

ITEMS = 40_000
SEEN = 1500


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, front: str) -> Iterator[Running]:
    root = tmp_path_factory.mktemp("registry")
    users = made.embeddings(400, 8)
    users[7] = 0
    attributes = [
        ItemAttribute("level", "text", ["beginner"] * ITEMS),
        ItemAttribute("code", "text", [f"c{row}" for row in range(ITEMS)]),
        ItemAttribute("hours", "number", [float(row % 100) for row in range(ITEMS)]),
    ]
    items = made.embeddings(ITEMS, 8, 1)
    seen = [list(range(SEEN)) if user == 9 else [] for user in range(400)]
    store = ModelStore(root, "toy")
    store.publish(made.export(users, items, seen, attributes=attributes), version="v1")
    store.aliases.promote("v1", alias="production")
    with running(root, cache_bytes=0, max_queue_s=5) as here:
        yield here


def any_of(values: Collection[str], field: str = "level") -> pb.AttributeFilter:
    return pb.AttributeFilter(field=field, any_of=pb.TextList(values=values))


def codes(first: int, count: int = 600) -> pb.AttributeFilter:
    """Return a filter that takes long to read."""
    return any_of([f"c{row}" for row in range(first, first + count)], "code")


def of_user(user: int, **rest: Any) -> pb.TopKRequest:
    return pb.TopKRequest(user_id=f"u{user}", k=5, **rest)


class Gate:
    """Holds each look-up of the items of many texts until it is opened, and counts the look-ups."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = threading.Event()
        self.calls = 0
        rows_of_any = Texts.rows_of_any

        def held(texts: Texts, some: Collection[str]) -> NDArray[np.int32]:
            if len(some) > 1:
                self.calls += 1
                self.open.wait(20)
            return rows_of_any(texts, some)

        monkeypatch.setattr(Texts, "rows_of_any", held)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    made = Gate(monkeypatch)
    yield made
    made.open.set()


def wait_for_long_requests(server: Running) -> None:
    """Return once those that came before are no longer computed: they are computed in order."""
    listed = [f"i{row}" for row in range(600)]
    server.recommender.TopK(of_user(0, exclude_item_ids=listed), timeout=20)


def test_the_longest_filters_keep_nobody_out(server: Running) -> None:
    """32 filters, each with one text 10,000 times, are 3 MB and as much work as a single filter."""
    one = server.recommender.TopK(of_user(0, filters=[any_of(["beginner"])]))
    longest = of_user(0, filters=[any_of(["beginner"] * 10_000)] * 32)
    began = time.monotonic()
    call = server.recommender.TopK.future(longest, timeout=100)
    user = 0
    while not call.done():
        user = (user + 1) % 400
        answer = server.recommender.TopK(of_user(user, exclude_item_ids=["i1"]), timeout=10)
        assert len(answer.item_ids) == 5
    assert call.result() == one
    assert time.monotonic() - began < 20


def test_others_are_answered_while_a_long_request_is_computed(server: Running, gate: Gate) -> None:
    long = server.recommender.TopK.future(of_user(1, filters=[codes(0)]))
    until(lambda: gate.calls == 1)
    stub, health = server.recommender, health_pb2_grpc.HealthStub(server.channel)
    for user in range(20):
        plain, few = of_user(user), of_user(user, filters=[any_of(["c2000"], "code")])
        assert len(stub.TopK(plain, timeout=5).item_ids) == 5
        assert list(stub.TopK(few, timeout=5).item_ids) == ["i2000"]
        assert len(stub.BatchTopK(pb.BatchTopKRequest(requests=[plain, few]), timeout=5).entries)
        items = [f"i{row}" for row in range(300)]
        assert stub.Score(pb.ScoreRequest(user_id="u1", item_ids=items), timeout=5).scores
        assert health.Check(health_pb2.HealthCheckRequest(), timeout=5).status == 1
    assert not long.done()
    gate.open.set()
    assert len(long.result().item_ids) == 5


def test_a_long_request_ends_once_its_deadline_has_passed(server: Running, gate: Gate) -> None:
    filters = [codes(600 * place) for place in range(30)]
    call = server.recommender.TopK.future(of_user(2, filters=filters), timeout=0.5)
    assert call.exception().code() == grpc.StatusCode.DEADLINE_EXCEEDED  # type: ignore[union-attr]
    gate.open.set()
    wait_for_long_requests(server)
    assert gate.calls == 1


def test_a_long_batch_ends_once_its_caller_has_gone(server: Running, gate: Gate) -> None:
    requests = [of_user(user, filters=[codes(600 * user)]) for user in range(30)]
    call = server.recommender.BatchTopK.future(pb.BatchTopKRequest(requests=requests))
    until(lambda: gate.calls == 1)
    call.cancel()
    until(lambda: server.server.gateway.in_flight == 0)
    gate.open.set()
    wait_for_long_requests(server)
    assert gate.calls == 1


def test_batches_take_turns(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of few parts is answered between the parts of a batch of many."""
    first, held = threading.Event(), threading.Event()
    users: list[str] = []
    search = Recommender.search

    def logged(self: Recommender, queries: Any, *rest: Any) -> Any:
        users.append(queries[0].subject.user_id)
        first.set()
        held.wait(20)
        return search(self, queries, *rest)

    monkeypatch.setattr(Recommender, "search", logged)
    monkeypatch.setattr(batches, "_PART", 16)
    monkeypatch.setattr(batches, "SHORT_NUMBERS", 0)  # so that both are long
    many = pb.BatchTopKRequest(requests=[of_user(100)] * 256)
    few = pb.BatchTopKRequest(requests=[of_user(200)] * 16)
    large = server.recommender.BatchTopK.future(many)
    assert first.wait(10)
    small = server.recommender.BatchTopK.future(few)
    until(lambda: server.server.gateway.in_flight == 2)
    held.set()
    assert len(small.result().entries) == 16
    assert len(large.result().entries) == 256
    assert users.index("u200") == 1
    assert users.count("u100") == 16


@pytest.mark.parametrize("is_small", [True, False])
@pytest.mark.parametrize("alone", [True, False])
def test_what_a_glance_does_not_answer_is_never_searched_for_in_the_event_loop(
    server: Running, monkeypatch: pytest.MonkeyPatch, is_small: bool, alone: bool
) -> None:
    """Lone requests are searched for in the event loop, but a second look for them never is."""
    threads = []
    monkeypatch.setattr(lanes, "SHORT_WHOLE_NUMBERS", 1 << 30 if is_small else 0)

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            threads.append(threading.current_thread().name)
            return function(*arguments)

        return call

    for name in ("search_many", "search", "search_where"):
        monkeypatch.setattr(FlatIndex, name, watched(getattr(FlatIndex, name)))
    if alone:
        for user in range(10, 20):
            server.recommender.TopK(of_user(user))
    threads.clear()
    answer = server.recommender.TopK(of_user(7))
    assert list(answer.item_ids) == [f"i{row}" for row in range(5)]
    assert set(threads) == {"search" if is_small else "long-search"}


def test_a_long_message_is_read_where_it_keeps_nobody_waiting(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[tuple[str, str]] = []
    for name in ("parse_top_k", "parse_score"):
        parse = getattr(requests, name)

        def watched(request: Any, *rest: Any, parse: Any = parse) -> Any:
            threads.append((type(request).__name__, threading.current_thread().name))
            return parse(request, *rest)

        monkeypatch.setattr(requests, name, watched)
    ids = [f"i{row}" for row in range(5000)]
    interactions = [pb.Interaction(item_id=each) for each in ids]
    numbers = pb.Embedding(values=[0.0] * 100_000)
    said = {"x": pb.FeatureValue(texts=pb.TextList(values=ids))}
    long = [
        pb.TopKRequest(user_id="u1", k=5, exclude_item_ids=ids),
        pb.TopKRequest(user_id="u1", k=5, allow_item_ids=ids),
        pb.TopKRequest(user_id="u1", k=5, filters=[codes(0)]),
        pb.TopKRequest(k=5, new_user=pb.NewUser(interactions=interactions)),
        pb.TopKRequest(k=5, new_user=pb.NewUser(features=said)),
        pb.TopKRequest(k=5, new_item=pb.NewItem(features=said)),
        pb.TopKRequest(k=5, embedding=numbers),
    ]
    for request in long:
        alone = server.recommender.TopK.future(request)
        assert alone.code() in {
            grpc.StatusCode.OK,
            grpc.StatusCode.INVALID_ARGUMENT,
            grpc.StatusCode.FAILED_PRECONDITION,
        }
        server.recommender.BatchTopK(pb.BatchTopKRequest(requests=[request]))
    server.recommender.Score(pb.ScoreRequest(user_id="u1", item_ids=ids))
    assert threads == [("TopKRequest", "long-search")] * 14 + [("ScoreRequest", "long-search")]


def test_what_stands_twice_in_a_request_is_looked_up_once(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up: list[str] = []
    row = IdTable.row

    def watched(self: IdTable, text: str) -> int:
        looked_up.append(text)
        return row(self, text)

    stub = server.recommender
    once = stub.TopK(of_user(3, exclude_item_ids=["i1", "i2", "x"]))
    few = stub.TopK(of_user(3, allow_item_ids=["i1", "i2"]))
    monkeypatch.setattr(IdTable, "row", watched)
    assert stub.TopK(of_user(3, exclude_item_ids=["i1", "i2", "x"] * 3000)) == once
    assert stub.TopK(of_user(3, allow_item_ids=["i1", "i2"] * 5000)) == few
    scores = stub.Score(pb.ScoreRequest(user_id="u3", item_ids=["i1", "x", "i1", "i2"] * 2500))
    assert list(scores.known) == [True, False, True, True] * 2500
    assert scores.scores[0] == scores.scores[2] == scores.scores[9998] != 0
    assert scores.scores[9999] == scores.scores[3]
    interactions = [pb.Interaction(item_id="i1")] * 10_000
    with pytest.raises(grpc.RpcError):
        stub.TopK(pb.TopKRequest(k=5, new_user=pb.NewUser(interactions=interactions)))
    assert sorted(each for each in looked_up if each.startswith("i")) == ["i1"] * 4 + ["i2"] * 3


def test_equal_filters_are_applied_once(server: Running, gate: Gate) -> None:
    gate.open.set()
    alike = [codes(0)] * 10 + [any_of(["beginner"]), codes(600)] * 5
    assert not server.recommender.TopK(of_user(4, filters=alike)).item_ids
    assert gate.calls == 2


def test_a_user_who_has_had_much_is_answered_as_one_who_excludes_it(server: Running) -> None:
    had = server.recommender.TopK(of_user(9))
    excluded = [f"i{row}" for row in range(SEEN)]
    named = of_user(9, include_seen=True, exclude_item_ids=excluded)
    assert server.recommender.TopK(named) == had


def test_a_batch_of_zeros_is_answered_as_each_alone(server: Running) -> None:
    zero = pb.TopKRequest(embedding=pb.Embedding(values=[0.0] * 8), k=5)
    signed = pb.TopKRequest(embedding=pb.Embedding(values=[-0.0] * 8), k=7)
    requests = [zero, of_user(11), signed, of_user(9), of_user(7)] * 50
    alone = [server.recommender.TopK(request) for request in requests[:5]]
    answers = server.recommender.BatchTopK(pb.BatchTopKRequest(requests=requests)).entries
    assert [entry.response for entry in answers] == alone * 50


def test_a_failed_request_is_let_go_before_garbage_is_looked_for(server: Running) -> None:
    """The exception that ends a call stays in a reference cycle of gRPC's, without the request."""
    own = of_user(3, exclude_item_ids=["i1"] * 900, filters=[any_of(["x"])])
    own.filters[0].field = "no attribute of this test"
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            with pytest.raises(grpc.RpcError, match="no attribute of this test"):
                server.recommender.TopK(own)
        until(lambda: server.server.gateway.in_flight == 0)
        held = [each for each in gc.get_objects() if type(each) is pb.TopKRequest and each == own]
    finally:
        gc.enable()
    assert len(held) <= 2, "the caller's own, which is here too, and what the thread had last"
