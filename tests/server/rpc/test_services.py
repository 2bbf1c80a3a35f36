from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from gnnrec import Client, Error
from gnnrec_protos.v1 import model_pb2
from gnnrec_protos.v1 import recommender_pb2 as pb
from gnnrec_registry import ModelStore
from gnnrec_server import errors
from gnnrec_server.errors import CannotStart
from gnnrec_server.rpc import statuses
from tests import made
from tests.server.running import Running, failure, running, scrape


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("registry")
    made.publish(root, version="v1")
    made.publish(root, version="v2", seed=9)
    aliases = ModelStore(root, "toy").aliases
    aliases.promote("v1", alias="production")
    aliases.promote("v2", alias="canary")
    return root


@pytest.fixture(scope="module")
def server(registry: Path, front: str) -> Iterator[Running]:
    with running(registry) as here:
        yield here


def test_every_answer_names_its_version_and_variant(server: Running) -> None:
    top = server.recommender.TopK(pb.TopKRequest(user_id="u0", k=3))
    assert (top.version, top.variant, len(top.item_ids)) == ("v1", "lightgcn", 3)
    assert list(top.scores) == sorted(top.scores, reverse=True)
    assert not top.titles
    assert not top.probabilities
    score = server.recommender.Score(pb.ScoreRequest(user_id="u0", item_ids=[*top.item_ids, "x"]))
    assert (score.version, score.variant) == ("v1", "lightgcn")
    assert list(score.scores) == [*top.scores, 0]
    assert list(score.known) == [True, True, True, False]


INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
FAILED = grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize(
    ("request_", "code", "reason", "fields"),
    [
        (pb.TopKRequest(k=1), INVALID, "INVALID_ARGUMENT", ["query"]),
        (pb.TopKRequest(user_id="u0"), INVALID, "INVALID_ARGUMENT", ["k"]),
        (pb.TopKRequest(user_id="u0", k=1001), INVALID, "INVALID_ARGUMENT", ["k"]),
        (
            pb.TopKRequest(user_id="u0", k=1, exclude_item_ids=["a"], allow_item_ids=["b"]),
            INVALID, "INVALID_ARGUMENT", ["allow_item_ids"],
        ),
        (
            pb.TopKRequest(embedding=pb.Embedding(values=[1, 2]), k=1),
            INVALID, "INVALID_ARGUMENT", ["embedding.values"],
        ),
        (pb.TopKRequest(user_id="?", k=1), NOT_FOUND, "USER_NOT_FOUND", []),
        (pb.TopKRequest(item_id="?", k=1), NOT_FOUND, "ITEM_NOT_FOUND", []),
        (
            pb.TopKRequest(user_id="u0", k=1, variant="sage"),
            FAILED, "VARIANT_NOT_AVAILABLE", [],
        ),
        (pb.TopKRequest(new_user=pb.NewUser(), k=1), INVALID, "INVALID_ARGUMENT", ["new_user"]),
        (pb.TopKRequest(new_item=pb.NewItem(), k=1), INVALID, "INVALID_ARGUMENT", ["new_item"]),
        (pb.TopKRequest(user_id="u0", k=1, version="v2"), FAILED, "VERSION_NOT_LOADED", []),
        (pb.TopKRequest(user_id="u0", k=1, alias="canary"), FAILED, "VERSION_NOT_LOADED", []),
        (pb.TopKRequest(user_id="u0", k=1, version="v9"), NOT_FOUND, "VERSION_NOT_FOUND", []),
        (pb.TopKRequest(user_id="u0", k=1, alias="../v1"), NOT_FOUND, "VERSION_NOT_FOUND", []),
        (
            pb.TopKRequest(user_id="u0", k=1, filters=[pb.AttributeFilter(field="level")]),
            INVALID, "INVALID_ARGUMENT", ["filters[0]"],
        ),
        (
            pb.TopKRequest(
                user_id="u0", k=1,
                filters=[pb.AttributeFilter(field="level", range=pb.NumberRange())],
            ),
            FAILED, "ATTRIBUTES_NOT_AVAILABLE", [],
        ),
    ],
    ids=str,
)  # fmt: skip
def test_errors_carry_code_reason_and_field(
    server: Running, request_: pb.TopKRequest, code: grpc.StatusCode, reason: str, fields: list[str]
) -> None:
    got = failure(server.recommender.TopK, request_)
    assert (got[0], got[1], list(got[2])) == (code, reason, fields)


def test_a_defect_answers_internal_with_a_fixed_text(
    server: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller learns nothing of the inside; the log has the traceback."""

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(server.server.recommender, "search", broken)
    with pytest.raises(grpc.RpcError) as caught:
        server.recommender.TopK(pb.TopKRequest(user_id="u0", k=1))
    assert caught.value.code() == grpc.StatusCode.INTERNAL
    assert "secret" not in str(caught.value.details())
    assert "secret" in caplog.text


def test_every_error_class_has_a_status() -> None:
    classes = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.ServingError)
    ]
    assert len(classes) > 10
    for kind in classes:
        if kind is not errors.ServingError:
            assert kind in statuses.MAPPING, kind


def test_get_model_describes_what_is_loaded(server: Running) -> None:
    model = server.model.GetModel(model_pb2.GetModelRequest())
    assert (model.model, model.alias, model.serving_version) == ("toy", "production", "v1")
    (loaded,) = model.versions
    assert (loaded.user_count, loaded.item_count, loaded.interaction_count) == (5, 30, 36)
    (variant,) = loaded.variants
    assert (variant.name, variant.embedding_dim, variant.index) == ("lightgcn", 4, "flat")
    assert variant.metrics[0].values["recall@20"] == 0.5
    assert loaded.baselines[0].name == "random"
    assert list(loaded.aliases) == ["production"]
    assert not loaded.attributes
    assert [(alias.name, alias.version) for alias in model.aliases] == [
        ("canary", "v2"),
        ("production", "v1"),
    ]


def test_list_versions_shows_the_state_of_each(server: Running) -> None:
    response = server.model.ListVersions(model_pb2.ListVersionsRequest())
    assert [(v.version, v.state, list(v.aliases)) for v in response.versions] == [
        ("v2", model_pb2.VERSION_STATE_AVAILABLE, ["canary"]),
        ("v1", model_pb2.VERSION_STATE_LOADED, ["production"]),
    ]


@pytest.mark.parametrize(
    "service", ["", "liveness", "gnnrec.v1.RecommenderService", "gnnrec.v1.ModelService"]
)
def test_health_serves_check_and_watch(server: Running, service: str) -> None:
    stub = health_pb2_grpc.HealthStub(server.channel)
    request = health_pb2.HealthCheckRequest(service=service)
    serving = health_pb2.HealthCheckResponse.SERVING
    assert stub.Check(request).status == serving
    watch = stub.Watch(request)
    assert next(watch).status == serving
    watch.cancel()


def test_reflection_shows_the_services_and_can_be_switched_off(
    server: Running, registry: Path
) -> None:
    names = ProtoReflectionDescriptorDatabase(server.channel).get_services()
    assert {"gnnrec.v1.RecommenderService", "gnnrec.v1.ModelService"} <= set(names)
    with running(registry, reflection=False) as closed, pytest.raises(grpc.RpcError):
        ProtoReflectionDescriptorDatabase(closed.channel).get_services()


def test_metrics_count_what_was_answered(registry: Path) -> None:
    with running(registry) as server:
        for user in ("u0", "u1", "nobody"):
            try:
                server.client.top_k(user)
            except Error:
                assert user == "nobody"
        got = scrape(server)
    grpc_labels = (
        ("grpc_method", "TopK"),
        ("grpc_service", "gnnrec.v1.RecommenderService"),
        ("grpc_type", "unary"),
    )
    assert got["grpc_server_started_total", grpc_labels] == 3
    for code, count in (("OK", 2), ("NOT_FOUND", 1)):
        assert got["grpc_server_handled_total", (("grpc_code", code), *grpc_labels)] == count
    assert got["grpc_server_handling_seconds_count", grpc_labels] == 3
    answered = (("code", "OK"), ("rpc", "TopK"), ("variant", "lightgcn"), ("version", "v1"))
    assert got["gnnrec_requests_total", answered] == 2
    assert got["gnnrec_in_flight_requests", ()] == 0
    assert got["gnnrec_index_items", answered[2:]] == 30
    info = {name: labels for name, labels in got if name == "gnnrec_model_info"}
    assert dict(info["gnnrec_model_info"])["version"] == "v1"


def test_the_client_gives_typed_answers(server: Running) -> None:
    client = server.client
    answer = client.top_k("u0", k=2, with_titles=True, with_probabilities=True)
    assert answer.version == "v1"
    first = answer.items[0]
    assert first.title == f"Title {first.item_id[1:]}"
    assert sum(item.probability or 0 for item in answer.items) == pytest.approx(1)
    assert client.top_k("u0", k=1).items[0].title is None
    assert client.top_k(item_id="i3", k=1).items[0].item_id != "i3"
    assert client.top_k(embedding=[1, 0, 0, 0], k=1).items
    scores = client.score([first.item_id, "nope"], user_id="u0")
    assert scores.items[0].score == first.score
    assert scores.items[1].score is None
    assert client.get_model().serving_version == "v1"
    assert [version.version for version in client.list_versions()] == ["v2", "v1"]
    assert client.health()
    with pytest.raises(Error, match="has no user 'nobody'") as caught:
        client.top_k("nobody")
    assert (caught.value.code, caught.value.reason) == ("NOT_FOUND", "USER_NOT_FOUND")
    with pytest.raises(ValueError, match="exactly one"):
        client.top_k("u0", item_id="i0")


def test_the_client_says_where_nobody_answers() -> None:
    with (
        Client("127.0.0.1:1", timeout_s=1) as client,
        pytest.raises(Error, match=r"no answer from a server at 127\.0\.0\.1:1"),
    ):
        client.top_k("u0")


def test_a_port_in_use_is_named(server: Running, registry: Path) -> None:
    with (
        pytest.raises(CannotStart, match=f"address {server.address} cannot be used"),
        running(registry, address=server.address),
    ):
        pass
    with (
        pytest.raises(CannotStart, match=f"metrics port 127.0.0.1:{server.ports.metrics} cannot"),
        running(registry, metrics_port=server.ports.metrics),
    ):
        pass
