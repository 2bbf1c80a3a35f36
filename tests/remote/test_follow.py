"""A server on a bucket follows an alias, survives outages of the store and refuses damage."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gnnrec_protos.v1 import model_pb2
from gnnrec_registry import ModelStore
from gnnrec_registry.errors import NoSuchAlias, StoreUnreachable
from gnnrec_registry.remote import objects
from gnnrec_registry.remote.s3 import S3Objects
from tests import made
from tests.remote.proxy import Fault, Proxy
from tests.server.rollout.test_aliases import serving, wait_for, wait_until_served
from tests.server.running import Running, running


@pytest.fixture
def store(bucket: str) -> ModelStore:
    """Versions v1, which is production, and v2; this store does not use the proxy."""
    for seed, name in enumerate(("v1", "v2")):
        made.publish(bucket, version=name, seed=seed)
    store = ModelStore(bucket, "toy")
    store.aliases.promote("v1", alias="production")
    return store


@pytest.fixture
def server(store: ModelStore, bucket: str, proxy: Proxy) -> Iterator[Running]:
    with running(bucket, poll_interval_s=0.3) as here:
        yield here


def test_a_server_follows_an_alias_in_a_bucket_and_lives_on_without_it(
    store: ModelStore, server: Running, proxy: Proxy, tmp_path: Path
) -> None:
    assert serving(server) == "v1"
    store.aliases.promote("v2", alias="production", why="swap")
    wait_until_served(server, "v2")
    errors = server.server.metrics.poll_errors
    before = errors._value.get()
    proxy.fault = lambda asked: Fault(refuses=True)
    wait_for(lambda: errors._value.get() > before, "polls fail")
    assert serving(server) == "v2"
    assert [version.version for version in server.client.list_versions()] == ["v2"]
    store.aliases.rollback(alias="production")
    proxy.fault = lambda asked: None
    wait_until_served(server, "v1")


def test_a_version_damaged_in_the_bucket_is_refused(
    store: ModelStore, server: Running, bucket: str
) -> None:
    there = S3Objects(bucket)
    path = there._path("toy/versions/v2/lightgcn/items.npy")
    content = there.read("toy/versions/v2/lightgcn/items.npy")
    there._ask("pipe_file", path, content[:-1] + bytes([content[-1] ^ 1]))
    store.aliases.promote("v2", alias="production")
    wait_for(lambda: "v2" in server.server.rollout.refusals, "v2 is refused")
    assert serving(server) == "v1"
    listed = server.model.ListVersions(model_pb2.ListVersionsRequest()).versions
    states = {version.version: version for version in listed}
    assert states["v2"].state == model_pb2.VERSION_STATE_REFUSED
    assert "lightgcn/items.npy has another sha256, fetched twice" in states["v2"].reason
    there._ask("pipe_file", path, content)
    wait_until_served(server, "v2")


def test_nothing_to_serve_is_said_at_the_start(
    store: ModelStore, bucket: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NoSuchAlias, match="no alias 'canary'"), running(bucket, alias="canary"):
        pass
    monkeypatch.setattr(objects, "_DEADLINE_S", 0.5)
    proxy.fault = lambda asked: Fault(hangs=True)
    with pytest.raises(StoreUnreachable, match="no answer in time"), running(bucket):
        pass
