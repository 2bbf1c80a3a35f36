import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from gnnrec import Client, Error
from gnnrec.client.newcomers import NewItem, NewUser
from gnnrec_protos.v1 import recommender_pb2 as pb
from gnnrec_registry import ModelStore
from tests import unseen
from tests.end_to_end.command import ok, refusal, run
from tests.server.running import Running, failure, running, scrape


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("registry")
    unseen.publish(root, version="v1")
    ModelStore(root, "toy").aliases.promote("v1", alias="production")
    return root


@pytest.fixture(scope="module")
def server(registry: Path, front: str) -> Iterator[Running]:
    with running(registry) as here:
        yield here


def user(*item_ids: str, **features: pb.FeatureValue) -> pb.NewUser:
    return pb.NewUser(
        interactions=[pb.Interaction(item_id=item_id) for item_id in item_ids], features=features
    )


def item(**features: pb.FeatureValue) -> pb.NewItem:
    return pb.NewItem(features=features)


def numbers(*values: float) -> pb.FeatureValue:
    return pb.FeatureValue(numbers=pb.NumberList(values=values))


TEXT, NUMBER = pb.FeatureValue(text="fun"), pb.FeatureValue(number=30)
TEXTS = pb.FeatureValue(texts=pb.TextList(values=["Law"]))
INVALID, PRECONDITION = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize(
    ("variant", "subject", "field", "message"),
    [
        ("sage", user(), "new_user", "is empty; give interactions"),
        ("sage", user("x"), "new_user", "and it has no features"),
        ("", user(goal=TEXT), "new_user", "variants that take features: 'hybrid', 'sage'"),
        ("sage", user("i1", goal=NUMBER), "new_user.features[goal]", "takes one text, not 30.0"),
        ("sage", user(age=TEXT), "new_user.features[age]", "takes a number, not 'fun'"),
        ("hybrid", user(interests=TEXT), "new_user.features[interests]", "takes a list of texts"),
        ("hybrid", user(goal=TEXTS), "new_user.features[goal]", "takes one text"),
        ("hybrid", user(height=NUMBER), "new_user.features[height]", "it has: age, goal, inter"),
        ("", user("i1", age=pb.FeatureValue()), "new_user.features[age]", "has no value"),
        (
            "hybrid", user(age=pb.FeatureValue(number=float("nan"))), "new_user.features[age]",
            "is nan",
        ),
        (
            "", pb.NewUser(interactions=[pb.Interaction(item_id="i1", weight=-1)]),
            "new_user.interactions[0].weight", "is -1; it must be above 0",
        ),
        (
            "", pb.NewUser(interactions=[pb.Interaction(item_id="i1", weight=0)]),
            "new_user.interactions[0].weight", "is 0; it must be above 0",
        ),
        ("sage", pb.NewItem(), "new_item", "has no features"),
        ("sage", pb.NewItem(features={"age": NUMBER}), "new_item.features[age]", "level, tags"),
        ("sage", pb.NewItem(features={"tags": TEXT}), "new_item.features[tags]", "list of texts"),
        ("sage", item(text=TEXT), "new_item.features[text]", "takes 2 numbers, not 'fun'"),
        ("sage", item(text=numbers(1)), "new_item.features[text]", "takes 2 numbers, not 1"),
        ("sage", item(text=numbers(1, math.nan)), "new_item.features[text]", "has nan as number 2"),
        ("sage", item(tags=numbers(1, 2)), "new_item.features[tags]", "takes a list of texts"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_newcomer_is_told_by_field(
    server: Running, variant: str, subject: pb.NewUser | pb.NewItem, field: str, message: str
) -> None:
    is_user = isinstance(subject, pb.NewUser)
    query: Any = {"new_user" if is_user else "new_item": subject, "variant": variant}
    for call, request in (
        (server.recommender.TopK, pb.TopKRequest(k=1, **query)),
        (server.recommender.Score, pb.ScoreRequest(item_ids=["i1"], **query)),
    ):
        code, reason, fields = failure(call, request)
        assert (code, reason, list(fields)) == (INVALID, "INVALID_ARGUMENT", [field])
        assert message in fields[field]


@pytest.mark.parametrize(
    "request_",
    [
        pb.TopKRequest(new_user=user("i1"), k=1, variant="plain"),
        pb.TopKRequest(new_item=pb.NewItem(features={"level": TEXT}), k=1),
        pb.TopKRequest(new_item=pb.NewItem(features={"level": TEXT}), k=1, variant="plain"),
    ],
    ids=str,
)
def test_a_variant_that_cannot_embed_is_a_failed_precondition(
    server: Running, request_: pb.TopKRequest
) -> None:
    assert failure(server.recommender.TopK, request_) == (PRECONDITION, "CANNOT_EMBED", {})


@pytest.mark.parametrize("variant", ["lightgcn", "sage", "hybrid"])
def test_the_client_asks_for_newcomers(server: Running, variant: str) -> None:
    client = server.client
    described = NewUser([*(f"i{row}" for row in unseen.SEEN[5]), "x"], unseen.described(5))
    answer = client.top_k(new_user=described, variant=variant)
    known = client.top_k("u5", variant=variant)
    assert [item.item_id for item in answer.items] == [item.item_id for item in known.items]
    assert answer.unknown_item_ids == ("x",)
    scores = client.score(["i4", "z"], new_user=described, variant=variant)
    assert scores.unknown_item_ids == ("x",)
    expected = client.score(["i4"], user_id="u5", variant=variant).items[0].score
    assert scores.items[0].score == pytest.approx(expected, abs=1e-5)
    assert scores.items[1].score is None
    weighted = NewUser({"i1": 2.5, "i2": 1})
    assert len(client.top_k(new_user=weighted, k=9, variant=variant).items) == 7
    assert len(client.top_k(new_user=weighted, include_seen=True, variant=variant).items) == 9


def test_the_client_asks_for_new_items(server: Running) -> None:
    item = NewItem({"level": "first", "tags": ["art"], "text": [0.5, -2]})
    answer = server.client.top_k(new_item=item, variant="sage", k=3)
    assert (answer.variant, len(answer.items)) == ("sage", 3)
    best = answer.items[0]
    scores = server.client.score([best.item_id], new_item=item, variant="sage")
    assert scores.items[0].score == best.score
    with pytest.raises(Error, match="cannot embed new items") as caught:
        server.client.top_k(new_item=item)
    assert (caught.value.code, caught.value.reason) == ("FAILED_PRECONDITION", "CANNOT_EMBED")


def test_the_client_refuses_values_that_the_wire_cannot_carry() -> None:
    with pytest.raises(ValueError, match="feature 'age' is a number, a text or a list of texts"):
        NewUser(features={"age": True})
    with pytest.raises(ValueError, match="feature 'text' is a number, a text or a list"):
        NewItem({"text": [1.0, "x"]})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="item ids, or weights by item id, not 'i1'"):
        NewUser("i1")
    with pytest.raises(ValueError, match="the weight of item 'i1' is a number"):
        NewUser({"i1": "2"})  # type: ignore[dict-item]
    with Client() as client, pytest.raises(ValueError, match="exactly one of"):
        client.top_k("u1", new_user=NewUser(["i1"]))


def test_newcomers_and_unknown_texts_are_counted(registry: Path) -> None:
    with running(registry) as server:
        client = server.client
        client.top_k(new_user=NewUser(["i1"]))
        odd = NewUser(["i1"], {"goal": "fame", "interests": ["Law", "Chess"]})
        client.top_k(new_user=odd, variant="sage")
        client.score(["i1"], new_user=odd, variant="sage")
        client.top_k(new_item=NewItem({"level": "third"}), variant="hybrid")
        with pytest.raises(Error):
            client.top_k(new_user=NewUser(["x"]))
        got = scrape(server)
    starts = {
        labels: value for (name, labels), value in got.items() if name == "gnnrec_cold_starts_total"
    }
    assert starts == {
        (("kind", "new_user"), ("variant", "lightgcn")): 1,
        (("kind", "new_user"), ("variant", "sage")): 2,
        (("kind", "new_item"), ("variant", "hybrid")): 1,
    }
    unknown = {
        dict(labels)["feature"]: value
        for (name, labels), value in got.items()
        if name == "gnnrec_unknown_feature_values_total"
    }
    assert unknown == {"goal": 2, "interests": 2, "level": 1}
    bound = [labels for name, labels in got if name == "gnnrec_onnx_provider_info"]
    assert [dict(labels)["variant"] for labels in bound] == ["hybrid", "sage"]


def test_the_command_asks_for_newcomers(server: Running) -> None:
    at = ("--address", server.address)
    words = json.dumps({"item_ids": ["i1", "x"], "features": {"age": 30, "interests": ["Law"]}})
    printed = ok("topk", "--new-user", words, "--variant", "sage", *at)
    assert "for a new user, by sage of v1:" in printed
    assert "not in the catalogue: x" in printed
    answer = json.loads(ok("topk", "--new-user", '{"item_ids": {"i1": 2.5}}', "--json", *at))
    assert len(answer["items"]) == 8
    item = '{"features": {"level": "first", "text": [1, 2.5]}}'
    similar = ok("topk", "--new-item", item, "--variant", "hybrid", *at)
    assert "similar to a new item, by hybrid of v1:" in similar
    scores = json.loads(ok("score", "--new-user", words, "i1", "z", "--json", *at))
    assert [entry["item_id"] for entry in scores["items"]] == ["i1", "z"]
    assert scores["unknown_item_ids"] == ["x"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--new-user", "{"], "--new-user is not JSON: "),
        (["--new-user", "[1]"], "--new-user takes a JSON object with item_ids and features, not"),
        (["--new-item", '{"item_ids": []}'], "--new-item takes a JSON object with features, not"),
        (
            ["--new-user", '{"item_ids": [1.5]}'],
            "--new-user: each of interactions is a text or an int",
        ),
        (["--new-user", '{"item_ids": null}'], "--new-user: interactions are item ids"),
        (["--new-user", '{"features": {"age": {}}}'], "--new-user: feature 'age' is a number"),
        (["--new-item", '{"features": []}'], "--new-item: features are values by column name"),
        (["--new-user", "{}"], "new_user: is empty; give interactions, features or both"),
    ],
)
def test_a_newcomer_in_bad_json_is_one_line(
    server: Running, arguments: list[str], line: str
) -> None:
    assert refusal("topk", *arguments, "--address", server.address).startswith(f"gnnrec: {line}")


def test_the_command_takes_one_query_at_a_time() -> None:
    done = run("topk", "u1", "--new-user", '{"item_ids": ["i1"]}')
    assert done.returncode == 2
    assert "name one of USER, --item, --new-user, --new-item" in done.stderr
