"""How a server follows its aliases: what it does at the start, what wakes it, what it refuses."""

import gc
import shutil
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gnnrec_protos.v1 import model_pb2
from gnnrec_registry import ModelStore, Version
from gnnrec_registry.files.arrays import Embeddings
from gnnrec_server.rollout import follow
from gnnrec_server.version import loader
from gnnrec_server.version.snapshot import Snapshot
from tests import made
from tests.server.rollout.test_aliases import serving, wait_for, wait_until_served
from tests.server.running import Running, running, scrape


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    for seed, name in enumerate(("v1", "v2", "v3")):
        made.publish(tmp_path, version=name, seed=seed)
    return ModelStore(tmp_path, "toy")


def promote(store: ModelStore, *versions: str, alias: str = "production") -> None:
    for version in versions:
        store.aliases.promote(version, alias=alias)


def damage(store: ModelStore, version: str, name: str = "lightgcn/items.npy") -> Path:
    path = store.layout.version(version) / name
    path.write_bytes(path.read_bytes()[:-1])
    return path


def states(server: Running) -> dict[str, tuple[str, str]]:
    """Return state and reason of each version by ListVersions."""
    return {each.version: (each.state, each.reason) for each in server.client.list_versions()}


def behind(server: Running) -> dict[str, tuple[str, str]]:
    """Return what each alias names and what answers for it, where they differ, by the metric."""
    return {
        dict(labels)["alias"]: (dict(labels)["named"], dict(labels)["version"])
        for (name, labels), value in scrape(server).items()
        if name == "gnnrec_alias_behind" and value
    }


@contextmanager
def quiet(store: ModelStore) -> Iterator[Running]:
    """Serve without polling: only events and signals make the server look."""
    with running(store.layout.root, poll_interval_s=600.0) as server:
        yield server


def test_a_broken_version_at_the_start_is_replaced_by_the_one_named_before(
    store: ModelStore, caplog: pytest.LogCaptureFixture
) -> None:
    promote(store, "v3", "v1", "v2")
    damage(store, "v2")
    with running(store.layout.root) as server:
        assert serving(server) == "v1"
        state, reason = states(server)["v2"]
        assert state == "refused"
        assert "lightgcn/items.npy has" in reason
        assert states(server)["v1"] == (
            "loaded",
            "answers for alias 'production' in place of 'v2', which is refused",
        )
        assert behind(server) == {"production": ("v2", "v1")}
        loads = "gnnrec_model_loads_total", (("result", "loaded"),)
        assert scrape(server)[loads] == 1, "the next that could stand in is left alone"
        (said,) = [text for text in caplog.messages if "answers in its place" in text]
        assert said.startswith("alias production names version v2, which cannot be served; v1")
        promote(store, "v3")
        wait_until_served(server, "v3")
        assert behind(server) == {}
        assert states(server)["v2"] == ("available", "")


def test_an_alias_to_a_version_that_is_not_there_does_not_stop_the_start(
    store: ModelStore,
) -> None:
    promote(store, "v1", "v2")
    shutil.rmtree(store.layout.version("v2"))
    with running(store.layout.root) as server:
        assert serving(server) == "v1"
        state, reason = states(server)["v2"]
        assert (state, "no version 'v2'" in reason) == ("refused", True)
        made.publish(store.layout.root, version="v2", seed=1)
        wait_until_served(server, "v2")


def test_without_a_good_one_in_the_history_the_newest_that_verifies_answers(
    store: ModelStore,
) -> None:
    promote(store, "v1")
    damage(store, "v1")
    damage(store, "v3", "users.ids")
    with running(store.layout.root) as server:
        assert serving(server) == "v2"
        wait_for(lambda: "v3" not in server.server.rollout.refusals, "v3 is forgotten")


def test_a_damaged_alias_is_read_from_the_history_at_the_start(store: ModelStore) -> None:
    promote(store, "v1", "v2")
    store.layout.alias("production").write_bytes(b"{")
    with running(store.layout.root) as server:
        assert serving(server) == "v2"
        errors = server.server.metrics.poll_errors
        wait_for(lambda: errors._value.get() > 1, "the damage is counted")
        store.layout.alias("production").unlink()
        promote(store, "v3")
        wait_until_served(server, "v3")


def test_a_restart_comes_to_the_state_that_was(store: ModelStore) -> None:
    """A running server that refuses a version, and one started then, answer by the same."""
    promote(store, "v1", alias="canary")
    promote(store, "v2")
    with running(store.layout.root, served_aliases=("canary",)) as server:
        damage(store, "v3")
        promote(store, "v3")
        promote(store, "v3", alias="canary")
        wait_for(lambda: len(behind(server)) == 2, "v3 is refused")
        before = behind(server), server.client.top_k("u0", alias="canary").version
        with running(store.layout.root, served_aliases=("canary",)) as restarted:
            after = behind(restarted), restarted.client.top_k("u0", alias="canary").version
    assert before == after
    assert before == ({"production": ("v3", "v2"), "canary": ("v3", "v1")}, "v1")


def test_a_file_event_is_enough(store: ModelStore) -> None:
    """No poll is due, and the server follows every move."""
    promote(store, "v1")
    with quiet(store) as server:
        for version in ("v2", "v3", "v1"):
            promote(store, version)
            wait_until_served(server, version)


def test_a_wake_with_retry_tries_a_refused_version_at_once(store: ModelStore) -> None:
    """SIGHUP does so."""
    promote(store, "v1")
    with quiet(store) as server:
        path = damage(store, "v2")
        promote(store, "v2")
        wait_for(lambda: "v2" in server.server.rollout.refusals, "v2 is refused")
        path.write_bytes(path.read_bytes() + b"\0")
        made.publish(store.layout.root, version="v4", seed=1)
        shutil.copy(store.layout.version("v4") / "lightgcn" / "items.npy", path)

        async def hang_up() -> None:
            server.server.rollout.wake(retry_all=True)

        server.run(hang_up())
        wait_until_served(server, "v2")


def test_moving_the_alias_again_tries_a_refused_version_again(store: ModelStore) -> None:
    promote(store, "v1")
    with quiet(store) as server:
        damage(store, "v2")
        rollout = server.server.rollout
        for generation in (2, 3):
            promote(store, "v2")
            wait_for(
                lambda now=generation: (  # type: ignore[misc]
                    "v2" in rollout.refusals
                    and rollout.refusals["v2"].moves == {("production", now)}
                ),
                "v2 is refused anew",
            )
            assert rollout.refusals["v2"].attempts == 1


@pytest.mark.parametrize("kind", ["truncated", "flipped", "removed", "replaced"])
def test_damage_to_any_file_is_refused_by_name_and_traffic_is_untouched(
    store: ModelStore, kind: str
) -> None:
    promote(store, "v1")
    names = sorted(store.open("v2").manifest.files)
    assert len(names) == 9
    with running(store.layout.root) as server:
        right = server.client.top_k("u0", k=10).items
        for number, name in enumerate([*names, "manifest.json"]):
            version = f"bad{number}"
            made.publish(store.layout.root, version=version, seed=1)
            if (kind, name) == ("removed", "manifest.json"):
                continue  # then there is no version, and no alias can be pointed at it
            _spoil(store, version, name, kind)
            promote(store, version)
            refusals = server.server.rollout.refusals
            wait_for(lambda: version in refusals, f"{name} is refused")  # noqa: B023
            assert name in refusals[version].reason
            assert server.client.top_k("u0", k=10).items == right


def _spoil(store: ModelStore, version: str, name: str, kind: str) -> None:
    path = store.layout.version(version) / name
    content = path.read_bytes()
    if kind == "removed":
        path.unlink()
    elif kind == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "flipped":
        half = len(content) // 2
        path.write_bytes(content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :])
    else:
        theirs = (store.layout.version("v3") / name).read_bytes()
        # where another version has the same file, one of another length takes its place
        path.write_bytes(theirs if theirs != content else theirs + b"\n")


def test_numbers_that_are_not_finite_are_refused_though_the_checksum_fits(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As from a publisher that is not ours: the manifest is right about a bad file."""
    items = made.embeddings(30, 4)
    items[3, 1] = np.nan

    def write_as_it_is(path: Path, array: Embeddings) -> None:
        path.parent.mkdir(exist_ok=True)
        np.save(path, array, allow_pickle=False)

    monkeypatch.setattr("gnnrec_registry.versions.export.write_embeddings", write_as_it_is)
    monkeypatch.setattr("gnnrec_registry.store.check", lambda staged, finite: None)
    store.publish(made.export(made.embeddings(5, 4), items), version="nan")
    promote(store, "v1")
    with running(store.layout.root) as server:
        promote(store, "nan")
        wait_for(lambda: "nan" in server.server.rollout.refusals, "nan is refused")
        assert "lightgcn/items.npy holds NaN" in states(server)["nan"][1]
        assert serving(server) == "v1"


def test_an_alias_that_goes_takes_its_series_along(store: ModelStore) -> None:
    promote(store, "v1")
    promote(store, "v2", alias="canary")
    with running(store.layout.root, served_aliases=("*",)) as server:
        assert "canary" in aliases_in_metrics(server)
        store.layout.alias("canary").unlink()
        wait_for(lambda: "canary" not in aliases_in_metrics(server), "canary is forgotten")
        versions = {dict(labels).get("version") for _, labels in scrape(server)}
        assert "v2" not in versions


def aliases_in_metrics(server: Running) -> set[str]:
    return {dict(labels).get("alias", "") for _, labels in scrape(server)}


def test_health_stays_green_while_versions_come_and_are_refused(store: ModelStore) -> None:
    promote(store, "v1")
    damage(store, "v3")
    with running(store.layout.root) as server:
        seen = set()
        for version in ("v2", "v3", "v1"):
            promote(store, version)
            for _ in range(20):
                seen.add(server.client.health())
            states(server)
            server.model.GetModel(model_pb2.GetModelRequest())
        assert seen == {True}


def test_two_versions_at_most_are_in_memory_while_one_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version that was swapped out is freed first, so at most two are in memory."""
    for seed, name in enumerate(("v1", "v2", "v3")):
        made.publish(tmp_path, version=name, seed=seed)
    store = ModelStore(tmp_path, "toy")
    store.aliases.promote("v1", alias="production")
    held: dict[str, list[str]] = {}
    loaded: list[weakref.ref[Snapshot]] = []
    real = loader.load

    def load(version: Version, **how: Any) -> Snapshot:
        gc.collect()
        held[version.name] = [each.version for ref in loaded if (each := ref()) is not None]
        found = real(version, **how)
        loaded.append(weakref.ref(found))
        return found

    monkeypatch.setattr(loader, "load", load)
    monkeypatch.setattr(follow, "_LINGER_S", 60.0)
    with running(tmp_path, cache_bytes=0) as server:
        gc.unfreeze()
        for name in ("v2", "v3"):
            store.aliases.promote(name, alias="production")
            wait_until_served(server, name)
    assert held["v3"] == ["v2"]
