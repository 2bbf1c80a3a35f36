from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2
from grpc_status import rpc_status

from gnnrec_protos.v1 import model_pb2
from gnnrec_protos.v1 import recommender_pb2 as pb
from gnnrec_registry import ItemAttribute, ModelStore
from gnnrec_registry.files.arrays import Embeddings
from gnnrec_registry.scoring.ranking import Rows
from gnnrec_server.index.exact import FlatIndex
from gnnrec_server.query.queries import Limits
from gnnrec_server.query.recommender import Recommender
from tests import made
from tests.server.running import Running, failure, running

HOURS = ItemAttribute("hours", "number", [float(row) if row % 3 else None for row in range(30)])
TOPICS = ItemAttribute("topics", "texts", [["Art"] if row % 2 else None for row in range(30)])
LIMITS = Limits(k=50, batch_size=20)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, front: str) -> Iterator[Running]:
    root = tmp_path_factory.mktemp("registry")
    store = ModelStore(root, "toy")
    users, items = made.embeddings(5, 4), made.embeddings(30, 4, seed=1)
    store.publish(made.export(users, items, attributes=[HOURS, TOPICS]), version="v1")
    made.publish(root, version="v2", seed=7)
    store.aliases.promote("v1", alias="production")
    store.aliases.promote("v2", alias="canary")
    with running(root, served_aliases=("canary",), limits=LIMITS) as here:
        yield here


def batch(server: Running, *requests: pb.TopKRequest) -> list[pb.BatchTopKEntry]:
    return list(server.recommender.BatchTopK(pb.BatchTopKRequest(requests=requests)).entries)


def some_filter(field: str = "hours", **condition: Message) -> list[pb.AttributeFilter]:
    return [pb.AttributeFilter(field=field, **condition)]  # type: ignore[arg-type]


MANY = pb.NumberRange(min=20)
ART = pb.TextList(values=["Art"])

GOOD = [
    pb.TopKRequest(user_id="u0", k=3),
    pb.TopKRequest(user_id="u1", k=3, with_probabilities=True, variant="lightgcn"),
    pb.TopKRequest(user_id="u1", k=7, alias="canary", with_titles=True),
    pb.TopKRequest(user_id="u2", k=3, version="v2", exclude_item_ids=["i4", "i4", "nope"]),
    pb.TopKRequest(item_id="i5", k=3),
    pb.TopKRequest(embedding=pb.Embedding(values=[1, 0, 0, 0]), k=3, allow_item_ids=["i1", "i9"]),
    pb.TopKRequest(user_id="u0", k=3, filters=some_filter(range=MANY)),
    pb.TopKRequest(
        user_id="u0", k=40,
        filters=[*some_filter(range=MANY), *some_filter("topics", any_of=ART)],
    ),
]  # fmt: skip

BAD = [
    pb.TopKRequest(user_id="nobody", k=3),
    pb.TopKRequest(item_id="nothing", k=3),
    pb.TopKRequest(user_id="u0"),
    pb.TopKRequest(k=3),
    pb.TopKRequest(user_id="u0", k=3, variant="sage"),
    pb.TopKRequest(user_id="u0", k=3, version="v3"),
    pb.TopKRequest(user_id="u0", k=3, exclude_item_ids=["i1"], allow_item_ids=["i2"]),
    pb.TopKRequest(embedding=pb.Embedding(values=[1]), k=3),
    pb.TopKRequest(user_id="u0", k=3, filters=some_filter("height", range=MANY)),
    pb.TopKRequest(user_id="u0", k=3, filters=some_filter("hours", any_of=ART)),
    pb.TopKRequest(user_id="u0", k=3, filters=some_filter("topics", range=MANY)),
    pb.TopKRequest(user_id="u0", k=3, version="v2", filters=some_filter(range=MANY)),
]


def test_each_entry_is_answered_as_alone_whatever_stands_beside_it(server: Running) -> None:
    mixed = [request for pair in zip(GOOD, BAD, strict=False) for request in pair]
    for request, entry in zip(mixed, batch(server, *mixed), strict=True):
        if request in GOOD:
            assert entry.response == server.recommender.TopK(request)
            continue
        with pytest.raises(grpc.RpcError) as alone:
            server.recommender.TopK(request)
        assert entry.error == rpc_status.from_call(alone.value)
    answers = [entry.response for entry in batch(server, *GOOD)]
    assert [answer.version for answer in answers[:4]] == ["v1", "v1", "v2", "v2"]
    assert list(answers[3].unknown_item_ids) == ["nope"]
    assert set(answers[7].item_ids) == {"i23", "i25", "i29"}


@pytest.mark.parametrize("request_", BAD, ids=str)
def test_an_error_is_the_same_in_a_batch_and_alone(
    server: Running, request_: pb.TopKRequest
) -> None:
    code, reason, fields = failure(server.recommender.TopK, request_)
    (entry,) = batch(server, request_)
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in entry.error.details:
        detail.Unpack(info)
        detail.Unpack(bad)
    assert (code_pb2.Code.Name(entry.error.code), info.reason) == (code.name, reason)
    assert {each.field: each.description for each in bad.field_violations} == fields


@pytest.mark.parametrize(
    ("filters", "field", "problem"),
    [
        (some_filter("height", range=MANY), "filters[0].field", "its attributes: hours, topics"),
        (some_filter("hours", any_of=ART), "filters[0].any_of", "is a number; set range"),
        (some_filter("topics", range=MANY), "filters[0].range", "is of texts; set any_of"),
        (
            some_filter(range=pb.NumberRange(max=float("nan"))),
            "filters[0].range.max",
            "must be finite",
        ),
        (some_filter(range=pb.NumberRange(min=2, max=1)), "filters[0].range", "min 2 above max 1"),
        ([*some_filter(range=MANY), pb.AttributeFilter(field="hours")], "filters[1]", "any_of or"),
        (33 * some_filter(range=MANY), "filters", "at most 32"),
    ],
)
def test_a_filter_that_could_not_be_meant_is_named(
    server: Running, filters: list[pb.AttributeFilter], field: str, problem: str
) -> None:
    request = pb.TopKRequest(user_id="u0", k=3, filters=filters)
    _, reason, fields = failure(server.recommender.TopK, request)
    assert reason == "INVALID_ARGUMENT"
    assert problem in fields[field]


def test_get_model_lists_the_attributes(server: Running) -> None:
    versions = {
        each.version: each for each in server.model.GetModel(model_pb2.GetModelRequest()).versions
    }
    assert [(each.name, each.kind) for each in versions["v1"].attributes] == [
        ("hours", model_pb2.ATTRIBUTE_KIND_NUMBER),
        ("topics", model_pb2.ATTRIBUTE_KIND_TEXTS),
    ]
    assert not versions["v2"].attributes


@pytest.mark.parametrize("size", [0, 21])
def test_a_batch_of_no_or_too_many_entries_is_refused_whole(server: Running, size: int) -> None:
    request = pb.BatchTopKRequest(requests=[GOOD[0]] * size)
    code, reason, fields = failure(server.recommender.BatchTopK, request)
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")
    assert fields == {"requests": f"has {size} entries; it must have 1 to 20"}
    assert len(batch(server, *[GOOD[0]] * 20)) == 20


def test_a_defect_in_one_entry_is_that_entrys_alone(
    server: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its caller learns nothing of the inside; the log has the traceback."""
    plan = Recommender._plan

    def broken(self: Recommender, serving: object, query: object) -> object:
        if "u1" in str(query):
            raise ZeroDivisionError("secret")
        return plan(self, serving, query)  # type: ignore[arg-type]

    monkeypatch.setattr(Recommender, "_plan", broken)
    right, wrong, other = batch(server, *(pb.TopKRequest(user_id=f"u{n}", k=3) for n in range(3)))
    assert wrong.error.code == code_pb2.INTERNAL
    assert wrong.error.message == "an error in the server; its log has the details"
    assert len(right.response.item_ids) == len(other.response.item_ids) == 3
    assert "ZeroDivisionError: secret" in caplog.text


def test_where_searching_together_fails_each_entry_is_searched_alone(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = FlatIndex.find_many
    sizes = []

    def broken(self: FlatIndex, queries: Embeddings, k: int, excluded: list[Rows]) -> Any:
        sizes.append(len(queries))
        if len(queries) > 1:
            raise ZeroDivisionError
        return search(self, queries, k, excluded)

    alone = [server.recommender.TopK(request) for request in GOOD]
    monkeypatch.setattr(FlatIndex, "find_many", broken)
    assert [entry.response for entry in batch(server, *GOOD)] == alone
    assert max(sizes) == 3, "of GOOD, three ask v1 for 3 items and differ in what they leave out"


def test_those_who_have_had_the_best_get_the_next_alone_and_in_a_batch(tmp_path: Path) -> None:
    """Each second user's 300 best are left out: more than is found at first for many."""
    users, items = made.embeddings(40, 8), made.embeddings(2000, 8, seed=1)
    order = np.argsort(-(users.astype(float) @ items.T.astype(float)), kind="stable")
    seen = [row[:300].tolist() if number % 2 else [] for number, row in enumerate(order)]
    store = ModelStore(tmp_path, "toy")
    store.publish(made.export(users, items, seen), version="v1")
    store.aliases.promote("v1", alias="production")
    requests = [pb.TopKRequest(user_id=f"u{number}", k=5) for number in range(40)]
    with running(tmp_path) as server:
        alone = [server.recommender.TopK(request) for request in requests]
        request = pb.BatchTopKRequest(requests=requests)
        together = [entry.response for entry in server.recommender.BatchTopK(request).entries]
    assert together == alone
    for number, answer in enumerate(alone):
        first = 300 if number % 2 else 0
        assert list(answer.item_ids) == [f"i{row}" for row in order[number, first : first + 5]]
