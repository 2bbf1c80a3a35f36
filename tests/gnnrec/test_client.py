import asyncio
import inspect
import threading
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from gnnrec import AsyncClient, Client, Error, NewItem, NewUser, Query, Recommendation, TopK
from gnnrec.client import calls
from gnnrec_registry import ItemAttribute, ModelStore
from tests import made
from tests.server.running import Running, running, scrape

LEVELS = ("beginner", "intermediate", "advanced")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version v1 is production, v2 is canary; item i<n> has n hours and the level n mod 3."""
    root = tmp_path_factory.mktemp("registry")
    attributes = [
        ItemAttribute("level", "text", [LEVELS[row % 3] for row in range(30)]),
        ItemAttribute("hours", "number", [float(row) for row in range(30)]),
    ]
    store = ModelStore(root, "toy")
    for seed, version in ((0, "v1"), (9, "v2")):
        users, items = made.embeddings(5, 4, seed), made.embeddings(30, 4, seed + 1)
        export = made.export(users, items, [[0, 1, 2], [], [], [], []])
        store.publish(replace(export, attributes=attributes), version=version)
    store.aliases.promote("v1", alias="production")
    store.aliases.promote("v2", alias="canary")
    return root


@pytest.fixture(scope="module")
def server(registry: Path) -> Iterator[Running]:
    with running(registry, served_aliases=("canary",)) as here:
        yield here


EVERYTHING: list[Callable[[Any], Any]] = [
    lambda client: client.top_k("u0", k=3),
    lambda client: client.top_k(item_id="i3", k=2, with_probabilities=True),
    lambda client: client.top_k(embedding=[1, 0, 0, 0.5], exclude_item_ids=["i1", "nope"]),
    lambda client: client.top_k("u1", allow_item_ids=["i1", "i2"], variant="lightgcn"),
    lambda client: client.batch_top_k([Query("u0"), Query("nobody"), Query(item_id="i1", k=2)]),
    lambda client: client.score(["i1", "nope"], user_id="u0"),
    lambda client: client.get_model(),
    lambda client: client.list_versions(),
    lambda client: client.health(),
    lambda client: client.top_k("u0", k=4, filters={"level": "beginner", "hours": (None, 9)}),
    lambda client: client.top_k("nobody"),
    lambda client: client.top_k("u0", k=2000),
    lambda client: client.top_k("u0", version="v3"),
    lambda client: client.top_k("u0", item_id="i0"),
    lambda client: client.top_k("u0", version="v1", alias="production"),
]


def test_both_clients_answer_alike(server: Running) -> None:
    async def ask() -> list[object]:
        async with AsyncClient(server.address, timeout_s=10) as client:
            ends = []
            for call in EVERYTHING:
                try:
                    ends.append(_comparable(await call(client)))
                except (Error, ValueError) as error:
                    ends.append(_comparable(error))
            return ends

    blocking = []
    for call in EVERYTHING:
        try:
            blocking.append(_comparable(call(server.client)))
        except (Error, ValueError) as error:
            blocking.append(_comparable(error))
    assert asyncio.run(ask()) == blocking
    assert len({str(end) for end in blocking}) == len(EVERYTHING), "each tells its own"


def _comparable(end: object) -> object:
    if isinstance(end, tuple) and not isinstance(end, Recommendation):
        return tuple(_comparable(each) for each in end)
    return (type(end), vars(end), str(end)) if isinstance(end, Exception) else end


def test_both_clients_have_the_same_calls() -> None:
    def calls(kind: type) -> dict[str, str]:
        methods = inspect.getmembers(kind, inspect.isfunction)
        return {name: str(inspect.signature(method)) for name, method in methods if name[0] != "_"}

    assert calls(Client) == calls(AsyncClient) | {"close": "(self) -> None"}
    assert "k: int = 10" in calls(Client)["top_k"]
    with pytest.raises(TypeError, match="kk"):
        Client().top_k("u0", kk=3)  # type: ignore[call-arg]


def test_filters_keep_what_they_say(server: Running) -> None:
    ask = server.client.top_k

    def rows(**filters: Any) -> list[int]:
        found = ask("u1", k=30, filters=filters)
        return sorted(int(item.item_id[1:]) for item in found.items)

    assert rows(level="beginner") == list(range(0, 30, 3))
    assert rows(level=["intermediate", "advanced"]) == [row for row in range(30) if row % 3]
    assert rows(hours=(None, 4.0)) == [0, 1, 2, 3, 4]
    assert rows(hours=(28, None)) == [28, 29]
    assert rows(hours=7) == [7]
    assert rows(level=("beginner", "advanced"), hours=(2, 6)) == [2, 3, 5, 6]
    for wrong in ((None, None), True, [1, 2], {"a": 1}, (1, "a")):
        with pytest.raises(ValueError, match="filter 'hours' is a text, a list of texts"):
            rows(hours=wrong)
    with pytest.raises(Error, match="level") as caught:
        rows(nope="x")
    assert (caught.value.code, caught.value.field) == ("INVALID_ARGUMENT", "filters[0].field")


def test_a_request_may_name_who_answers(server: Running) -> None:
    client = server.client
    assert client.top_k("u0").version == "v1"
    assert client.top_k("u0", alias="canary").version == "v2"
    assert client.top_k("u0", version="v2") == client.top_k("u0", alias="canary")
    assert client.score(["i1"], user_id="u0", version="v2").version == "v2"
    with pytest.raises(Error) as caught:
        client.top_k("u0", alias="nobody")
    assert caught.value.code == "NOT_FOUND"


def test_a_batch_answers_each_query_as_if_alone(server: Running) -> None:
    queries = [
        Query("u0", k=2),
        Query("nobody"),
        Query(new_user=NewUser(["i1"])),
        Query("u0", k=0),
        Query(item_id="i4", alias="canary"),
    ]
    entries = server.client.batch_top_k(queries)
    assert [type(entry) for entry in entries] == [TopK, Error, Error, Error, TopK]
    assert entries[0] == server.client.top_k("u0", k=2)
    assert entries[4] == server.client.top_k(item_id="i4", alias="canary")
    invalid = entries[3]
    assert isinstance(invalid, Error)
    assert (invalid.code, invalid.field) == ("INVALID_ARGUMENT", "k")


def test_answers_are_typed_and_cannot_be_changed(server: Running) -> None:
    model = server.client.get_model()
    loaded = {version.version: version for version in model.versions}
    assert (model.model, model.alias, model.serving_version) == ("toy", "production", "v1")
    assert set(loaded) == {"v1", "v2"}
    assert (loaded["v1"].users, loaded["v1"].items, loaded["v1"].interactions) == (5, 30, 3)
    assert loaded["v1"].variants[0].metrics[0].values == {"recall@20": 0.5}
    kinds = [(each.name, each.kind) for each in loaded["v1"].attributes]
    assert kinds == [("level", "text"), ("hours", "number")]
    assert [(each.name, each.version, each.generation) for each in model.aliases] == [
        ("canary", "v2", 1),
        ("production", "v1", 1),
    ]
    assert loaded["v1"].created_at <= loaded["v1"].activated_at
    states = server.client.list_versions()
    assert [(each.version, each.state) for each in states] == [("v2", "loaded"), ("v1", "loaded")]
    with pytest.raises(FrozenInstanceError):
        model.alias = "x"  # type: ignore[misc]


def test_a_server_that_drains_fails_no_call(registry: Path) -> None:
    """One of two servers stops, and a client that checks their health has no failed call."""
    ends: list[object] = []
    stop = threading.Event()

    def ask(client: Client) -> None:
        while not stop.is_set():
            try:
                client.top_k("u0", k=1)
                ends.append(None)
            except Error as error:
                ends.append(error)

    def wait_for(more: int) -> None:
        after = len(ends)
        while len(ends) < after + more:
            stop.wait(0.01)

    with (
        running(registry) as stays,
        running(registry, drain_s=0.5) as goes,
        Client([stays.address, goes.address], timeout_s=10) as client,
    ):
        threads = [threading.Thread(target=ask, args=(client,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            wait_for(100)
            assert any(
                value > 0
                for (name, labels), value in scrape(goes).items()
                if name == "grpc_server_started_total" and ("grpc_method", "TopK") in labels
            ), "the one that goes has had its share"
            goes.run(goes.server.stop())
            wait_for(100)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    assert {str(end) for end in ends} == {"None"}


def test_ids_are_texts_integers_or_uuids() -> None:
    """Each becomes the text that training reads from a table."""
    uuid = UUID("12345678-1234-5678-1234-567812345678")
    given: list[Any] = ["7", 7, np.int64(7), np.uint8(7)]
    for each in [*given, uuid]:
        text = str(each)
        assert Query(each).to_message() == Query(text).to_message()
        assert Query(item_id=each).to_message() == Query(item_id=text).to_message()
        lists = Query("u", exclude_item_ids=[each, 2]).to_message()
        assert list(lists.exclude_item_ids) == [text, "2"]
        assert NewUser([each]).to_message() == NewUser([text]).to_message()
        assert NewUser({each: 2}).to_message() == NewUser({text: 2.0}).to_message()
        scored = calls.score([each], user_id=each).request
        assert scored == calls.score([text], user_id=text).request
    many = Query("u", allow_item_ids=np.arange(3)).to_message()  # type: ignore[arg-type]
    assert list(many.allow_item_ids) == ["0", "1", "2"]


@pytest.mark.parametrize("wrong", [3.0, True, None, b"7", np.float32(7)])
def test_what_is_no_id_is_named(wrong: Any) -> None:
    other: Any = 0.5 if wrong is None else wrong
    for ask in (
        lambda: Query("u", exclude_item_ids=[wrong]).to_message(),
        lambda: NewUser([wrong]),
        lambda: calls.score([wrong], user_id="u"),
        lambda: Query(item_id=other).to_message(),
    ):
        with pytest.raises(ValueError, match="is a text or an integer, not"):
            ask()


def test_numbers_and_vectors_may_be_numpys() -> None:
    vector = np.array([1.5, 2], np.float32)
    features: dict[str, Any] = {"age": np.float32(30), "text": vector, "topics": {"a"}}
    plain: dict[str, Any] = {"age": 30.0, "text": [1.5, 2.0], "topics": ["a"]}
    assert NewItem(features).to_message() == NewItem(plain).to_message()
    weight: Any = np.float32(2.5)
    weighed = NewUser({"i1": weight})
    assert weighed.to_message() == NewUser({"i1": 2.5}).to_message()
    query = Query(embedding=np.array([1, 0.5], np.float32))  # type: ignore[arg-type]
    assert query.to_message() == Query(embedding=[1, 0.5]).to_message()


@pytest.mark.parametrize("k", [5.0, True, -1, 2**31, "3"])
def test_k_is_a_whole_number(k: Any) -> None:
    with pytest.raises(ValueError, match="it is a whole number from 1"):
        Query("u", k=k).to_message()
    assert Query("u", k=np.int64(3)).to_message().k == 3  # type: ignore[arg-type]
