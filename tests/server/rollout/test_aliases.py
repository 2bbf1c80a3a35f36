import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gnnrec import Error
from gnnrec_protos.v1 import model_pb2
from gnnrec_registry import ModelStore
from gnnrec_registry.errors import NoSuchAlias, NoSuchModel, VersionCorrupt
from tests import made
from tests.server.running import Running, running


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    for seed, name in enumerate(("v1", "v2", "v3")):
        made.publish(tmp_path, version=name, seed=seed)
    store = ModelStore(tmp_path, "toy")
    store.aliases.promote("v1", alias="production")
    return store


@pytest.fixture
def server(store: ModelStore) -> Iterator[Running]:
    with running(store.layout.root) as here:
        yield here


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.01)


def serving(server: Running) -> str:
    return server.client.top_k("u0", k=1).version


def wait_until_served(server: Running, version: str) -> None:
    def is_served() -> bool:
        try:
            return serving(server) == version
        except Error as error:  # a garbage collection of the test run may hold the server up
            if error.reason != "OVERLOADED":
                raise
            return False

    wait_for(is_served, f"{version} is served")


def test_moving_the_alias_moves_the_answers(store: ModelStore, server: Running) -> None:
    assert serving(server) == "v1"
    store.aliases.promote("v2", alias="production")
    wait_until_served(server, "v2")
    store.aliases.rollback(alias="production")
    wait_until_served(server, "v1")


def test_every_answer_during_moves_is_wholly_of_one_version(
    store: ModelStore, server: Running
) -> None:
    """Callers ask without pause while the alias moves: no failure, no mixture."""
    right = {}
    for version in ("v1", "v2"):
        store.aliases.promote(version, alias="production")
        wait_until_served(server, version)
        right[version] = server.client.top_k("u0", k=10).items
    answers, stop = [], threading.Event()

    def ask() -> None:
        while not stop.is_set():
            answers.append(server.client.top_k("u0", k=10))

    callers = [threading.Thread(target=ask) for _ in range(3)]
    for caller in callers:
        caller.start()
    for version in ("v1", "v2", "v1", "v2"):
        store.aliases.promote(version, alias="production")
        wait_until_served(server, version)
    stop.set()
    for caller in callers:
        caller.join()
    assert {answer.version for answer in answers} == {"v1", "v2"}
    assert all(answer.items == right[answer.version] for answer in answers)


def test_a_corrupt_version_is_refused_and_the_old_one_serves_on(
    store: ModelStore, server: Running
) -> None:
    path = store.layout.version("v2") / "lightgcn" / "items.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    store.aliases.promote("v2", alias="production")
    wait_for(lambda: "v2" in server.server.rollout.refusals, "v2 is refused")
    assert serving(server) == "v1"
    states = {
        version.version: version
        for version in server.model.ListVersions(model_pb2.ListVersionsRequest()).versions
    }
    assert states["v2"].state == model_pb2.VERSION_STATE_REFUSED
    assert "lightgcn/items.npy has another sha256" in states["v2"].reason
    assert states["v1"].state == model_pb2.VERSION_STATE_LOADED
    stub = health_pb2_grpc.HealthStub(server.channel)
    request = health_pb2.HealthCheckRequest()
    assert stub.Check(request).status == health_pb2.HealthCheckResponse.SERVING
    store.aliases.promote("v3", alias="production")
    wait_until_served(server, "v3")


def test_a_refused_version_is_tried_again(store: ModelStore, server: Running) -> None:
    path = store.layout.version("v2") / "lightgcn" / "items.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    store.aliases.promote("v2", alias="production")
    wait_for(lambda: "v2" in server.server.rollout.refusals, "v2 is refused")
    path.write_bytes(content)
    wait_until_served(server, "v2")


def test_the_registry_may_vanish_while_serving(store: ModelStore, server: Running) -> None:
    shutil.rmtree(store.layout.root)
    errors = server.server.metrics.poll_errors
    wait_for(lambda: errors._value.get() > 1, "polls fail")
    assert serving(server) == "v1"
    assert [version.version for version in server.client.list_versions()] == ["v1"]


def test_stopping_turns_health_red_and_finishes_what_is_under_way(store: ModelStore) -> None:
    with running(store.layout.root, drain_s=0.3) as server:
        stub = health_pb2_grpc.HealthStub(server.channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        stopping = threading.Thread(target=lambda: server.run(server.server.stop()))
        stopping.start()
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert serving(server) == "v1", "requests are still answered while it drains"
        stopping.join(20)
        assert not stopping.is_alive()


def test_nothing_to_serve_is_said_at_the_start(tmp_path: Path, store: ModelStore) -> None:
    with pytest.raises(NoSuchModel, match="no registry at"), running(tmp_path / "none"):
        pass
    with pytest.raises(NoSuchAlias, match="no alias 'canary'"), running(tmp_path, alias="canary"):
        pass
    for version in ("v1", "v2", "v3"):
        (store.layout.version(version) / "users.ids").unlink()
    with (
        pytest.raises(VersionCorrupt, match=r"version 'v1': users\.ids is missing"),
        running(tmp_path),
    ):
        pass
