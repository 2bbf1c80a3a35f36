"""Alias files that cannot be read or are nonsense concern their own alias, until mended."""

import asyncio
import gc
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest

from gnnrec_registry import Guard, ModelStore
from gnnrec_registry.errors import AliasCorrupt
from gnnrec_server.process.threads import OneThread
from gnnrec_server.query.recommender import Recommender
from gnnrec_server.rollout.follow import Rollout
from gnnrec_server.rollout.registry_view import FollowedAliases, RegistryReader
from gnnrec_server.telemetry.metrics import Metrics
from gnnrec_server.trials.counters import TrialCounters
from gnnrec_server.trials.trials import Trials
from gnnrec_server.version import loader
from gnnrec_server.version.snapshot import Snapshot
from tests import made
from tests.server.rollout.test_aliases import serving, wait_for, wait_until_served
from tests.server.running import Running, running
from tests.server.trying import PEOPLE, publish_three, sides, trial, try_out
from tests.server.waiting import Clock

VERSIONS = ("v1", "v2", "v3", "v4")


@pytest.fixture(autouse=True, scope="module")
def frozen() -> Iterator[None]:
    """Collect garbage as a server does: without objects that existed at its start."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@dataclass(frozen=True)
class Published:
    """A registry whose alias canary names v3 and tries v4, and its versions, loaded."""

    store: ModelStore
    canary: dict[str, Any]
    snapshots: dict[str, Snapshot]

    def write(self, alias: str, content: bytes) -> None:
        """Replace an alias's file, as a writer of any kind may."""
        path = self.store.layout.alias(alias)
        path.with_suffix(".new").write_bytes(content)
        os.replace(path.with_suffix(".new"), path)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    root = tmp_path_factory.mktemp("registry")
    for seed, name in enumerate(VERSIONS):
        made.publish(root, version=name, seed=seed)
    store = ModelStore(root, "toy")
    store.aliases.promote("v1", alias="production")
    store.aliases.promote("v3", alias="canary")
    store.aliases.try_out(
        "v4", alias="canary", percent=10, shadow=True, guard=Guard(max_errors=0.1), why="why"
    )
    canary = json.loads(store.layout.alias("canary").read_bytes())
    loaded = {name: loader.load(store.open(name)) for name in VERSIONS}
    return Published(store, canary, loaded)


class Following:
    """A rollout without a server, looked at step by step."""

    def __init__(self, published: Published, *others: str) -> None:
        self.metrics = Metrics()
        self.recommender = Recommender("production", self.metrics)
        self.trials = Trials(self.metrics.trials, TrialCounters())
        self.rollout = Rollout(
            published.store,
            FollowedAliases("production", others),
            self.recommender,
            self.metrics,
            self.trials,
            OneThread("load"),
            lambda version: published.snapshots[version.name],
            poll_interval_s=60.0,
            clock=Clock(),
        )

    async def settle(self) -> dict[str, str]:
        """Read the aliases until nothing is left to load; return which version answers for each."""
        while not await self.rollout._look():
            await asyncio.wait_for(self.rollout._wait(), 10)
        return dict(self.recommender.serving.aliases)


PLACES = [
    *[(name,) for name in ("alias", "version", "generation", "action", "previous", "updated_at")],
    *[(name,) for name in ("updated_by", "why", "forced", "candidate", "unheard_of")],
    *[("candidate", name) for name in ("version", "percent", "shadow", "since", "guard")],
    *[("candidate", "guard", name) for name in ("max_errors", "max_p99_ms", "min_requests")],
]
TEXTS = st.text() | st.sampled_from(
    [
        "",
        "v 2",
        "../v1",
        ".",
        "v9",
        "v1",
        "canary",
        "\0",
        "0",
        "9" * 400,
        "0001-01-01T00:00:00+23:00",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
    max_leaves=5,
)


@given(place=st.sampled_from(PLACES), value=TEXTS | VALUES, named=st.sampled_from(["v1", "v2"]))
@settings(max_examples=40)
def test_whatever_stands_in_an_alias_file_the_other_aliases_move_on(
    published: Published, place: tuple[str, ...], value: object, named: str
) -> None:
    """And once it is mended it is followed again."""
    spoilt = json.loads(json.dumps(published.canary))
    inner = spoilt
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    check_that_others_move(published, json.dumps(spoilt).encode(), named)


@given(content=st.binary(), named=st.sampled_from(["v1", "v2"]))
@settings(max_examples=15)
def test_whatever_an_alias_file_is_the_other_aliases_move_on(
    published: Published, content: bytes, named: str
) -> None:
    check_that_others_move(published, content, named)


def check_that_others_move(published: Published, content: bytes, named: str) -> None:
    production = json.loads(published.store.layout.alias("production").read_bytes())
    production |= {"version": named, "generation": production["generation"] + 1}

    async def follow(before: bytes | None) -> None:
        following = Following(published, "canary")
        try:
            published.write("canary", content if before is None else before)
            assert "production" in await following.settle()
            published.write("canary", content)
            published.write("production", json.dumps(production).encode())
            assert (await following.settle())["production"] == named
            generate_latest(following.metrics.registry)
            published.write("canary", json.dumps(published.canary).encode())
            assert await following.settle() == {"production": named, "canary": "v3"}
            assert following.recommender.serving.candidates["canary"].version == "v4"
            assert following.trials.running["canary"].problem == ""
        finally:
            following.rollout.close()

    asyncio.run(follow(None))
    asyncio.run(follow(json.dumps(published.canary).encode()))


@pytest.mark.parametrize("content", [b"", b"{", b"null", b'{"version": "v 2"}', None])
def test_an_alias_that_cannot_be_read_is_taken_as_it_was_read_last(
    published: Published, content: bytes | None
) -> None:
    """The own one too, even if its file is gone: somebody must answer."""
    reader = RegistryReader(published.store, FollowedAliases("production", ("*",)), lambda: None)
    published.write("canary", json.dumps(published.canary).encode())
    good = published.store.layout.alias("production").read_bytes()
    before = reader.read({}, [])
    try:
        if content is None:
            published.store.layout.alias("production").unlink()
        else:
            published.write("production", content)
            published.write("canary", content)
        assert reader.read({}, []).moves == before.moves
    finally:
        published.write("production", good)
    published.store.layout.alias("canary").unlink()
    assert reader.read({}, []).moves.keys() == {"production"}, "canary is really gone"


def test_an_own_alias_that_could_never_be_read_is_said(published: Published) -> None:
    reader = RegistryReader(published.store, FollowedAliases("bad"), lambda: None)
    published.write("bad", b"{")
    try:
        with pytest.raises(AliasCorrupt):
            reader.read({}, [])
    finally:
        published.store.layout.alias("bad").unlink()


def test_what_is_wrong_with_a_version_or_the_lists_stops_no_alias(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[str] = []
    reader = RegistryReader(
        published.store, FollowedAliases("production"), lambda: counted.append("it")
    )
    before = reader.read({}, [])

    def fail(*arguments: object) -> Any:
        raise OSError(5, "Input/output error")

    for owner, name in (
        (published.store, "stamp"),
        (published.store, "versions"),
        (published.store.aliases, "earlier"),
        (published.store.layout, "alias_names"),
        (published.store.layout, "version_names"),
    ):
        monkeypatch.setattr(owner, name, fail)
    view = reader.read({}, VERSIONS)
    assert view.moves == before.moves
    assert (view.aliases, view.versions) == (before.aliases, before.versions)
    assert view.stamps == {}
    assert counted


def test_a_problem_is_logged_when_it_begins_and_when_it_comes_back(
    published: Published, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    reader = RegistryReader(
        published.store, FollowedAliases("production", ("canary",)), lambda: None
    )
    good = json.dumps(published.canary).encode()
    for content in (good, b"{", b"{", good, good, b"{", good):
        published.write("canary", content)
        reader.read({}, [])
    said = [each.split(":")[0] for each in caplog.messages if "canary" in each.split(":")[0]]
    assert said == 2 * ["alias canary cannot be read", "alias canary can be read again"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    publish_three(tmp_path).aliases.promote("old", alias="canary")
    with running(tmp_path, served_aliases=("canary",)) as here:
        yield here


def test_a_trial_goes_on_while_its_alias_cannot_be_read(server: Running, tmp_path: Path) -> None:
    """Nobody changes sides, and the counts go on."""
    store = ModelStore(tmp_path, "toy")
    try_out(store, server, "new", percent=50)
    before = sides(server)
    assert set(before.values()) == {"old", "new"}
    began_at = trial(server).began_at
    path = store.layout.alias("production")
    good = path.read_bytes()
    errors = server.server.metrics.poll_errors
    path.write_bytes(b"{")
    counted = errors._value.get()
    wait_for(lambda: errors._value.get() > counted + 1, "it could not be read")
    store.aliases.promote("new", alias="canary")
    wait_for(lambda: server.client.top_k("u0", alias="canary").version == "new", "canary has moved")
    assert sides(server) == before
    path.write_bytes(good)
    wait_for(lambda: not server.client.get_model().registry_problem, "it can be read again")
    assert sides(server) == before
    seen = trial(server)
    assert seen.began_at == began_at
    assert seen.stable.requests + seen.candidate.requests == 3 * len(PEOPLE)


def test_a_running_server_follows_the_others_past_every_nonsense(
    server: Running, tmp_path: Path
) -> None:
    store = ModelStore(tmp_path, "toy")
    path = store.layout.alias("canary")
    good = json.loads(path.read_bytes())
    spoilt = [b"", b"\xff", b"[]", *(
        json.dumps(good | changed).encode()
        for changed in (
            {"version": "v 2"},
            {"version": "nowhere"},
            {"candidate": {"version": "../old", "percent": 5}},
            {"generation": -(10**30)},
            {"updated_at": "0001-01-01T00:00:00+23:00"},
        )
    )]  # fmt: skip
    for number, content in enumerate(spoilt):
        path.write_bytes(content)
        named = ("new", "old")[number % 2]
        store.aliases.promote(named, alias="production")
        wait_until_served(server, named)
        assert server.client.top_k("u0", alias="canary").version == "old"
    path.write_text(json.dumps(good | {"version": "new", "generation": 99}))
    wait_for(lambda: server.client.top_k("u0", alias="canary").version == "new", "it is mended")


def test_an_own_alias_whose_file_is_deleted_is_served_on(server: Running, tmp_path: Path) -> None:
    store = ModelStore(tmp_path, "toy")
    store.layout.alias("production").unlink()
    errors = server.server.metrics.poll_errors
    wait_for(lambda: errors._value.get() > 1, "it is missed")
    assert serving(server) == "old"
    store.aliases.promote("new", alias="production")
    wait_until_served(server, "new")
