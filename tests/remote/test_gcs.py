"""Cloud Storage's own protocol, spoken to an emulator that does not know conditions."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from gcp_storage_emulator.server import create_server

from registry import ModelStore
from registry.errors import AliasConflict, StoreRefused
from registry.remote.gcs import GcsObjects
from tests import made
from tests.remote.proxy import Fault, Proxy

URL = "gs://models/registry"


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Proxy]:
    """A proxy before an emulator of its own, with a bucket `models`."""
    server = create_server("127.0.0.1", 0, in_memory=True, default_bucket="models")
    server.start()
    try:
        with Proxy(server._api._httpd.server_address[1]) as proxy:
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.url)
            monkeypatch.setenv("GNNREC_CACHE", str(tmp_path / "cache"))
            yield proxy
    finally:
        server.stop()


def test_a_version_goes_to_cloud_storage_and_back(
    proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    """The emulator ignores conditions, which is found out and said."""
    made.publish(URL, version="v1").verify()
    made.publish(URL, version="v2", seed=1)
    store = ModelStore(URL, "toy")
    assert [version.name for version in store.versions()] == ["v2", "v1"]
    store.aliases.promote("v1", alias="production")
    store.aliases.promote("v2", alias="production")
    assert store.aliases.rollback(alias="production").version == "v1"
    assert [move.version for move in store.aliases.history()] == ["v1", "v2", "v1"]
    assert any("has no conditional writes" in message for message in caplog.messages)
    assert store.prune(0) == ["v2"]


def test_moves_ask_for_the_generation_they_looked_at_and_take_412_for_a_conflict(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That Google's servers keep the condition is not proven here: the 412 is the proxy's."""
    made.publish(URL, version="v1")
    monkeypatch.setattr(GcsObjects, "conditional", True)
    store = ModelStore(URL, "toy")
    store.aliases.promote("v1", alias="production")
    assert "ifGenerationMatch=0" in next(a.path for a in proxy.asked if "ifGener" in a.path)
    generation = GcsObjects(URL).tag("toy/aliases/production.json")
    proxy.asked.clear()
    store.aliases.promote("v1", alias="production")
    (moved,) = [a.path for a in proxy.asked if "aliases" in a.path and a.method == "POST"]
    assert f"ifGenerationMatch={generation}" in moved
    proxy.fault = lambda asked: Fault(status=412) if asked.method == "POST" else None
    with pytest.raises(AliasConflict, match="by someone else at the same moment"):
        store.aliases.promote("v1", alias="production")
    assert store.aliases.get("production").generation == 2


@pytest.mark.parametrize("status", [401, 403])
def test_what_google_refuses_names_the_credentials(proxy: Proxy, status: int) -> None:
    proxy.fault = lambda asked: Fault(status=status)
    with pytest.raises(StoreRefused, match="check GOOGLE_APPLICATION_CREDENTIALS"):
        ModelStore(URL, "toy").open("v1")
