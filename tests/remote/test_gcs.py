"""A registry in Google Cloud Storage, with emulators.

gcp-storage-emulator is always there and ignores conditions. fake-gcs-server keeps them; the tests
that need it run where it is installed.
"""

import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
from gcp_storage_emulator.server import create_server

from gnnrec_registry import ModelStore
from gnnrec_registry.errors import AliasConflict, StoreRefused
from gnnrec_registry.remote.gcs import GcsObjects
from gnnrec_registry.remote.probe import ConditionFailed
from tests import made
from tests.remote.proxy import Fault, Proxy
from tests.server.waiting import until

URL = "gs://models/registry"


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Proxy]:
    """A proxy to a new emulator with a bucket `models`."""
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
    """The emulator ignores conditions, which is detected and logged."""
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
    """The proxy answers 412; whether a real store checks the condition is not tested here."""
    made.publish(URL, version="v1")
    monkeypatch.setattr(GcsObjects, "conditional", True)
    store = ModelStore(URL, "toy")
    store.aliases.promote("v1", alias="production")
    assert "ifGenerationMatch=0" in next(a.path for a in proxy.asked if "ifGener" in a.path)
    generation = GcsObjects(URL).tag("toy/aliases/production.json")
    proxy.asked.clear()
    store.aliases.promote("v1", alias="production")
    moved = [a.path for a in proxy.asked if a.method == "POST"]
    assert sum(f"ifGenerationMatch={generation}" in path for path in moved) == 1
    proxy.fault = lambda asked: Fault(status=412) if asked.method == "POST" else None
    with pytest.raises(AliasConflict, match="by someone else at the same moment"):
        store.aliases.promote("v1", alias="production")
    assert store.aliases.get("production").generation == 2


@pytest.fixture
def keeping(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A new emulator that checks conditions, with a bucket `models`."""
    program = shutil.which("fake-gcs-server")
    if program is None:
        pytest.skip("fake-gcs-server is not installed")
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [program, "-backend", "memory", "-scheme", "http", "-log-level", "error"]
    command += ["-host", "127.0.0.1", "-port", str(port), "-public-host", f"127.0.0.1:{port}"]

    def makes_bucket() -> bool:
        content = json.dumps({"name": "models"}).encode()
        headers = {"Content-Type": "application/json"}
        try:
            urlopen(Request(f"{url}/storage/v1/b?project=p", content, headers)).close()
        except URLError:
            return False
        return True

    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            until(makes_bucket)
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
            monkeypatch.setenv("GNNREC_CACHE", str(tmp_path / "cache"))
            yield
        finally:
            process.terminate()


@pytest.mark.usefixtures("keeping")
def test_a_store_that_keeps_conditions_takes_no_write_over_another_generation() -> None:
    objects = GcsObjects(URL)
    assert objects.conditional
    objects._create("it", b"first")
    first = objects.tag("it")
    with pytest.raises(FileExistsError):
        objects._create("it", b"again")
    objects._replace("it", b"second --\r\n\x00", first)
    with pytest.raises(ConditionFailed):
        objects._replace("it", b"late", first)
    assert objects._ask("cat_file", objects._path("it")) == b"second --\r\n\x00"


@pytest.mark.usefixtures("keeping")
def test_of_promoters_at_the_same_moment_one_wins_in_a_store_that_keeps_conditions(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made.publish(URL, version="v1")
    ModelStore(URL, "toy").aliases.promote("v1", alias="production")
    won: list[int] = []

    def promote() -> None:
        aliases = ModelStore(URL, "toy").aliases
        for _ in range(5):
            try:
                won.append(aliases.promote("v1", alias="production").generation)
            except AliasConflict:
                continue

    promoters = [threading.Thread(target=promote) for _ in range(4)]
    for promoter in promoters:
        promoter.start()
    for promoter in promoters:
        promoter.join(60)
    assert len(won) > 0
    assert sorted(won) == list(range(2, 2 + len(won))), "no generation was given twice"
    history = ModelStore(URL, "toy").aliases.history()
    assert [move.generation for move in history] == list(range(1, 2 + len(won)))
    assert not [each for each in caplog.messages if "conditional" in each]


@pytest.mark.parametrize("status", [401, 403])
def test_what_google_refuses_names_the_credentials(proxy: Proxy, status: int) -> None:
    proxy.fault = lambda asked: Fault(status=status)
    with pytest.raises(StoreRefused, match="check GOOGLE_APPLICATION_CREDENTIALS"):
        ModelStore(URL, "toy").open("v1")
