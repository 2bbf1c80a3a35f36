"""Writers killed by SIGKILL before every single operation on a file."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gnnrec_registry import Damaged, ModelStore
from gnnrec_registry.errors import VersionExists
from tests import made
from tests.registry.storage import crashing


@pytest.fixture
def before(in_memory: Path) -> Path:
    """A registry of three versions; production names v1, and named v3 before."""
    root = in_memory / "before"
    for seed, version in enumerate(("v1", "v2", "v3")):
        made.publish(root, version=version, seed=seed)
    aliases = ModelStore(root, "toy").aliases
    aliases.promote("v3", alias="production")
    aliases.promote("v1", alias="production")
    return in_memory


def crashes(what: str, folder: Path) -> Iterator[tuple[str, ModelStore]]:
    """Yield every operation, and the registry after a kill before it."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.registry.storage.crashing", what, str(folder)],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    *events, last = run.stdout.splitlines()
    assert last == "done", run.stdout
    for number, event in enumerate([*events, "its end"], start=1):
        yield event, ModelStore(folder / str(number), "toy")


def read(store: ModelStore) -> set[str]:
    """Return the versions that a reader finds; each must be whole."""
    versions = store.versions()
    for version in versions:
        assert not isinstance(version, Damaged)
        version.verify()
    moves = store.aliases.history("production")
    assert [move.generation for move in moves] == list(range(1, len(moves) + 1))
    assert moves[-1] == store.aliases.get("production")
    store.open(moves[-1].version).verify()
    return {version.name for version in versions}


def test_a_killed_publisher_loses_nothing_and_shows_nothing_half(before: Path) -> None:
    seen = []
    for event, store in crashes("publish", before):
        there = read(store)
        assert there in ({"v1", "v2", "v3"}, {"v1", "v2", "v3", "new"}), event
        seen.append("new" in there)
        try:
            made.publish(store.layout.root, version="new", seed=7)
            assert not seen[-1]
        except VersionExists:
            assert seen[-1]
        assert read(store) == {"v1", "v2", "v3", "new"}
        names = {path.name for path in store.layout.versions.iterdir()}
        assert names == {"v1", "v2", "v3", "new"}, f"swept after a kill before {event}"
    assert len(seen) > 30
    assert seen == sorted(seen), "there from one step on"
    assert seen[-1]


def test_a_killed_promoter_leaves_the_alias_as_it_was_or_moved(before: Path) -> None:
    old = ModelStore(before / "before", "toy").aliases.get("production")
    seen = []
    for event, store in crashes("promote", before):
        assert read(store) == {"v1", "v2", "v3"}, event
        move = store.aliases.get("production")
        seen.append(move.generation)
        assert move == old or move.generation == old.generation + 1, event
        crashing.WHAT["promote"](store.layout.root)
        read(store)
        assert store.aliases.get("production").version == "v2"
        assert store.aliases.get("production").generation == move.generation + 1
    assert len(seen) > 8
    assert seen == sorted(seen)
    assert seen[-1] == old.generation + 1


def test_a_killed_prune_takes_versions_away_whole(before: Path) -> None:
    for event, store in crashes("prune", before):
        assert {"v1", "v3"} <= read(store), event
        store.prune(0)
        made.publish(store.layout.root, version="new")
        names = {path.name for path in store.layout.versions.iterdir()}
        assert names == {"v1", "v3", "new"}, f"swept after a kill before {event}"
