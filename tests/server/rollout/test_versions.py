"""Several versions in memory: by version, by alias, and kept after a move."""

import gc
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gnnrec_protos.v1 import model_pb2
from gnnrec_protos.v1 import recommender_pb2 as pb
from gnnrec_registry import Export, ModelStore, Version
from gnnrec_server.version.snapshot import Snapshot
from tests import made
from tests.server.rollout.test_aliases import wait_for, wait_until_served
from tests.server.running import Running, failure, running


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    for seed, name in enumerate(("v1", "v2", "v3", "v4")):
        made.publish(tmp_path, version=name, seed=seed)
    store = ModelStore(tmp_path, "toy")
    store.aliases.promote("v1", alias="production")
    store.aliases.promote("v2", alias="canary")
    return store


@pytest.fixture
def server(store: ModelStore) -> Iterator[Running]:
    with running(store.layout.root, served_aliases=("canary", "later")) as here:
        yield here


def answered(server: Running, **target: Any) -> str:
    return str(server.recommender.TopK(pb.TopKRequest(user_id="u1", k=1, **target)).version)


def loaded(server: Running) -> dict[str, list[str]]:
    """Return the aliases of each loaded version, in the order of GetModel."""
    model = server.model.GetModel(model_pb2.GetModelRequest())
    return {version.version: list(version.aliases) for version in model.versions}


def refusal(server: Running, **target: Any) -> tuple[str, str]:
    request = pb.TopKRequest(user_id="u1", k=1, **target)
    code, reason, _ = failure(server.recommender.TopK, request)
    return code.name, reason


def test_a_request_may_name_any_loaded_version_or_served_alias(server: Running) -> None:
    assert loaded(server) == {"v1": ["production"], "v2": ["canary"]}
    assert answered(server) == answered(server, alias="production") == "v1"
    assert answered(server, version="v2") == answered(server, alias="canary") == "v2"
    scored = server.recommender.Score(
        pb.ScoreRequest(user_id="u1", item_ids=["i1"], alias="canary")
    )
    assert scored.version == "v2"


def test_what_is_not_loaded_and_what_is_nowhere_are_told_apart(
    store: ModelStore, server: Running
) -> None:
    store.aliases.promote("v4", alias="private")
    made.publish(store.layout.root, version="v5", seed=5)
    wait_for(lambda: refusal(server, version="v5")[0] != "NOT_FOUND", "v5 is seen")
    for target in ({"version": "v3"}, {"version": "v5"}, {"alias": "private"}):
        assert refusal(server, **target) == ("FAILED_PRECONDITION", "VERSION_NOT_LOADED")
    for target in ({"version": "v9"}, {"alias": "v1"}, {"alias": "later"}, {"version": "../v1"}):
        assert refusal(server, **target) == ("NOT_FOUND", "VERSION_NOT_FOUND")


def test_an_alias_is_followed_from_when_it_appears(store: ModelStore, server: Running) -> None:
    store.aliases.promote("v3", alias="later")
    wait_for(lambda: "v3" in loaded(server), "later is served")
    assert answered(server, alias="later") == "v3"
    store.aliases.promote("v1", alias="later")
    wait_for(lambda: loaded(server).get("v1") == ["later", "production"], "later has moved")
    assert set(loaded(server)) == {"v1", "v2"}, "nothing names v3 any more"


def test_a_star_follows_every_alias(store: ModelStore) -> None:
    store.aliases.promote("v3", alias="other")
    with running(store.layout.root, served_aliases=("*",)) as server:
        assert loaded(server) == {"v1": ["production"], "v2": ["canary"], "v3": ["other"]}
        (store.layout.alias("other")).unlink()
        wait_for(lambda: "v3" not in loaded(server), "other is gone")


def test_the_versions_last_served_stay_as_long_as_they_are_to_be_kept(store: ModelStore) -> None:
    with running(store.layout.root, keep=2) as server:
        for version in ("v2", "v3"):
            store.aliases.promote(version, alias="production")
            wait_until_served(server, version)
        assert loaded(server) == {"v3": ["production"], "v2": []}
        assert answered(server, version="v2") == "v2"
        assert refusal(server, version="v1") == ("FAILED_PRECONDITION", "VERSION_NOT_LOADED")
        store.aliases.rollback(alias="production")
        wait_until_served(server, "v2")
        assert loaded(server) == {"v2": ["production"], "v3": []}


def test_a_bad_version_of_one_alias_is_refused_and_the_others_go_on(
    store: ModelStore, server: Running
) -> None:
    """It is forgotten when its alias moves on."""
    (store.layout.version("v3") / "users.ids").unlink()
    store.aliases.promote("v3", alias="canary")
    wait_for(lambda: "v3" in server.server.rollout.refusals, "v3 is refused")
    assert answered(server, alias="canary") == "v2"
    states = {
        each.version: (model_pb2.VersionState.Name(each.state), each.reason)
        for each in server.model.ListVersions(model_pb2.ListVersionsRequest()).versions
    }
    assert states["v3"][0] == "VERSION_STATE_REFUSED"
    assert "users.ids is missing" in states["v3"][1]
    assert states["v4"] == ("VERSION_STATE_AVAILABLE", "")
    store.aliases.promote("v4", alias="canary")
    store.aliases.promote("v4", alias="production")
    wait_until_served(server, "v4")
    wait_for(lambda: answered(server, alias="canary") == "v4", "canary has moved")
    assert loaded(server) == {"v4": ["canary", "production"]}
    assert not server.server.rollout.refusals


def test_a_version_being_loaded_is_said_while_others_answer(
    store: ModelStore, server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    rollout = server.server.rollout
    load = rollout._loads._load_version

    def slow(version: Any) -> Any:
        begun.set()
        assert go_on.wait(20)
        return load(version)

    monkeypatch.setattr(rollout._loads, "_load_version", slow)
    store.aliases.promote("v3", alias="production")
    try:
        assert begun.wait(20)
        states = server.model.ListVersions(model_pb2.ListVersionsRequest(), timeout=10).versions
        assert {each.version: each.state for each in states}[
            "v3"
        ] == model_pb2.VERSION_STATE_LOADING
        assert answered(server) == "v1"
        assert refusal(server, version="v3")[0] == "FAILED_PRECONDITION"
    finally:
        go_on.set()
    wait_until_served(server, "v3")


def test_a_version_that_nothing_names_is_freed(store: ModelStore, server: Running) -> None:
    first = weakref.ref(server.server.recommender.snapshot)
    answered(server)
    gc.disable()  # a plain reference less is enough
    try:
        store.aliases.promote("v3", alias="production")
        wait_until_served(server, "v3")
        wait_for(lambda: first() is None, "v1 is freed")
    finally:
        gc.enable()


def alive() -> list[str]:
    """Return every version that is in memory, whoever holds it."""
    gc.collect()
    return sorted(each.version for each in gc.get_objects() if type(each) is Snapshot)


@pytest.fixture
def frozen() -> Iterator[None]:
    """Leave objects that exist now out of `alive` and of garbage collection, as servers do."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
    gc.enable()


@pytest.fixture
def alone(store: ModelStore, frozen: None) -> Iterator[Running]:
    """A server that follows one alias and reads the registry only when an event wakes it."""
    with running(store.layout.root, poll_interval_s=600.0) as here:
        yield here


def test_the_version_before_goes_though_nobody_asks(store: ModelStore, alone: Running) -> None:
    """Neither the cache nor any kind of earlier request keeps it in memory."""
    for _ in range(2):
        answered(alone)
    top_k = pb.TopKRequest(user_id="u1", k=2)
    alone.recommender.BatchTopK(pb.BatchTopKRequest(requests=[top_k] * 3))
    alone.recommender.Score(pb.ScoreRequest(user_id="u1", item_ids=["i1"] * 300))
    store.aliases.promote("v2", alias="production")
    recommender = alone.server.recommender
    wait_for(lambda: recommender.snapshot.version == "v2", "v2 is served")
    wait_for(lambda: alive() == ["v2"], "v1 is gone")


def wrong() -> Export:
    """Return a version that does not answer as it says: known once all of it is loaded."""
    query = {"variant": "lightgcn", "user_id": "u0", "item_ids": ["i0"], "scores": [9.0]}
    return made.export(
        made.embeddings(5, 4, 9), made.embeddings(30, 4, 10), golden={"k": 1, "queries": [query]}
    )


def test_of_a_refused_version_nothing_stays_in_memory(
    store: ModelStore, alone: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is it there when it is tried again, so that there are two at most; no cycles hold it."""
    gc.disable()
    monkeypatch.setattr(gc, "collect", lambda: 0)
    store.publish(wrong(), version="bad")
    store.publish(wrong(), version="worse")
    rollout = alone.server.rollout
    real, held = rollout._loads._load_version, []

    def load(version: Version) -> Snapshot:
        held.append((version.name, alive()))
        if version.name == "worse":
            loaded = real(store.open("v2"))
            raise KeyError("a defect") from ValueError(loaded)
        return real(version)

    monkeypatch.setattr(rollout._loads, "_load_version", load)
    for version in ("bad", "worse"):
        for attempts in (1, 2):
            if attempts == 1:
                store.aliases.promote(version, alias="production")
            else:
                alone.call_soon(lambda: rollout.wake(retry_all=True))
            wait_for(
                lambda now=(version, attempts): (  # type: ignore[misc]
                    now[0] in rollout.refusals and rollout.refusals[now[0]].attempts == now[1]
                ),
                "it is refused",
            )
            wait_for(lambda: alive() == ["v1"], "nothing of it is left")
    assert held == [(name, ["v1"]) for name in ("bad", "bad", "worse", "worse")]
