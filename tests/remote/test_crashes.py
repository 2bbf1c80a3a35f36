"""Writers to a real S3 server, killed by SIGKILL before every single write."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence

import pytest

from gnnrec_registry import ModelStore
from gnnrec_registry.errors import NoSuchVersion, VersionExists
from gnnrec_registry.remote.s3 import S3Objects
from tests import made


@pytest.fixture
def store(bucket: str) -> ModelStore:
    """A bucket with two versions; production names v1."""
    for seed, version in enumerate(("v1", "v2")):
        made.publish(bucket, version=version, seed=seed)
    store = ModelStore(bucket, "toy")
    store.aliases.promote("v1", alias="production")
    return store


class Killer:
    """Runs writers in processes that kill themselves."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def crashes(
        self, what: str, bucket: str, numbers: Sequence[int] = range(1, 100)
    ) -> Iterator[tuple[int, str]]:
        """Kill a writer before each of its writes in turn; yield the number and the write."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        for number in numbers:
            print(what, bucket, number, file=self._process.stdin, flush=True)
            event = self._process.stdout.readline().strip()
            assert event
            assert not event.startswith("failed"), event
            yield number, event
            if event == "done":
                return


@pytest.fixture(scope="module")
def killer(s3_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killer]:
    environment = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3_port}",
        "GNNREC_CACHE": str(tmp_path_factory.mktemp("cache")),
    }
    with subprocess.Popen(
        [sys.executable, "-m", "tests.remote.crashing"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    ) as process:
        yield Killer(process)


def is_there(store: ModelStore, version: str) -> bool:
    """Return whether a reader finds a version; if so, it must be whole."""
    try:
        store.open(version).verify()
    except NoSuchVersion:
        assert version not in store.layout.version_names()
        return False
    assert version in store.layout.version_names()
    return True


def test_a_killed_publisher_shows_nothing_half_and_its_name_can_be_published(
    store: ModelStore, bucket: str, killer: Killer
) -> None:
    seen, events = [], []
    # Two writes test the conditions of the store, nine are files, the last is the manifest.
    for number, event in killer.crashes("publish", bucket, (1, 7, 12, 13)):
        events.append(event.rpartition("/")[2])
        seen.append(is_there(store, f"new{number}"))
        if seen[-1]:
            with pytest.raises(VersionExists):
                made.publish(bucket, version=f"new{number}", seed=number)
        else:
            made.publish(bucket, version=f"new{number}", seed=number).verify()
    assert is_there(store, "v1")
    assert events[-2:] == ["manifest.json", "done"]
    assert seen == [False] * 3 + [True], "it is there with its last write"


def test_a_killed_promoter_leaves_the_alias_as_it_was_or_moved(
    store: ModelStore, bucket: str, killer: Killer
) -> None:
    moved = []
    for _, event in killer.crashes("promote", bucket):
        move = store.aliases.get("production")
        history = store.aliases.history("production")
        assert [each.generation for each in history] == list(range(1, len(history) + 1)), event
        assert history[-1] == move
        moved.append(move.version == "v2")
        back = store.aliases.promote("v1", alias="production")
        assert back.generation == move.generation + 1
    assert len(moved) >= 4
    assert moved == sorted(moved)
    assert moved[-2:] == [True, True], "with the alias's write, and not with the history's"
    recorded = S3Objects(bucket).entries("toy/history/production")
    assert len(recorded) == store.aliases.get("production").generation


def test_a_killed_prune_takes_versions_away_whole(
    store: ModelStore, bucket: str, killer: Killer
) -> None:
    there = []
    for number, event in killer.crashes("prune", bucket, range(4, 7)):
        there.append(is_there(store, "v2"))
        if there[-1]:
            continue
        assert store.prune(0) == [], event
        for left in S3Objects(bucket).entries("toy/versions/v2"):
            S3Objects(bucket).delete([left])  # a prune removes leftovers only after a day
        made.publish(bucket, version="v2", seed=number)
    assert there == [True] + [False] * 2, "its manifest goes first"
    assert store.prune(0) == ["v2"]
    assert is_there(store, "v1")


def test_a_prune_killed_while_its_version_is_promoted_loses_nothing(
    store: ModelStore, bucket: str, killer: Killer
) -> None:
    given_back = []
    made.publish(bucket, version="old5")
    for number, event in killer.crashes("prune_while_promoted", bucket, range(5, 9)):
        version = f"old{number}"
        assert store.aliases.get("canary").version == version
        given_back.append(not is_there(store, version))
        if given_back[-1]:
            with pytest.raises(NoSuchVersion, match="gnnrec prune gives it back"):
                store.open(version)
        store.prune(0)
        assert is_there(store, version), event
        made.publish(bucket, version=f"old{number + 1}")
        if event == "done":
            break
    assert any(given_back)
    assert event == "done"
