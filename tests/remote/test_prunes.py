"""Prunes of a bucket at the same time as other prunes, promotions and readers."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from gnnrec_registry import ModelStore
from gnnrec_registry.errors import NoSuchVersion, RegistryError
from gnnrec_registry.remote.objects import Objects
from gnnrec_registry.remote.s3 import S3Objects
from tests import made

# The operations that are atomic in a store with conditional writes.
_STEPS = ("read", "has", "entries", "folders", "create", "replace", "upload", "delete")


def fill(url: str) -> ModelStore:
    """Publish two versions; production names v1."""
    for seed, version in enumerate(("v1", "v2")):
        made.publish(url, version=version, seed=seed)
    store = ModelStore(url, "toy")
    store.aliases.promote("v1", alias="production")
    return store


@pytest.fixture
def store(bucket: str) -> ModelStore:
    return fill(bucket)


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A URL of a file system in memory, which is fast."""
    monkeypatch.setenv("GNNREC_CACHE", str(tmp_path / "cache"))
    return f"memory://{tmp_path.name}"


class Meanwhile:
    """Within its context, calls a function before the n-th operation on the store."""

    def __init__(self, number: int, what: Callable[[], object]) -> None:
        self._left = number
        self._what = what

    @property
    def came(self) -> bool:
        """Whether that many operations were made."""
        return self._left <= 0

    @contextmanager
    def steps(self) -> Iterator["Meanwhile"]:
        with pytest.MonkeyPatch.context() as patch:
            for name in _STEPS:
                patch.setattr(Objects, name, self._counted(getattr(Objects, name)))
            yield self

    def _counted(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                self._what()
            return step(*arguments, **options)

        return counted


def is_whole(store: ModelStore, version: str) -> bool:
    """Return whether a version exists; if so, it must be whole."""
    try:
        store.open(version).verify()
    except NoSuchVersion:
        return False
    return True


def test_two_prunes_at_once_delete_each_version_once(url: str) -> None:
    """A second prune runs before each operation of the first."""
    store, other = fill(url), ModelStore(url, "toy")
    number, came = 0, True
    while came:
        number += 1
        second: list[str] = []
        with Meanwhile(number, lambda: second.extend(other.prune(0))).steps() as meanwhile:  # noqa: B023 (called within)
            first = store.prune(0)
        came = meanwhile.came
        assert {*first, *second} == {"v2"}, number
        assert is_whole(store, "v1")
        assert Objects(url).entries("toy/versions/v2") == {}
        made.publish(url, version="v2", seed=1)
    assert number > 10


def test_a_version_promoted_between_two_prunes_is_whole_or_said_to_be_gone(url: str) -> None:
    """A promotion and then a second prune run before each operation of the first."""
    store, other = fill(url), ModelStore(url, "toy")
    outcomes, number, came = set(), 0, True
    while came:
        number += 1
        said: list[str] = []

        def promote_and_prune() -> None:
            try:
                other.aliases.promote("v2", alias="canary")
            except RegistryError as error:
                said.append(str(error))  # noqa: B023 (called within)
            other.prune(0)

        with Meanwhile(number, promote_and_prune).steps() as meanwhile:
            store.prune(0)
        came = meanwhile.came
        whole = is_whole(store, "v2")
        assert whole or said or not came, number
        outcomes.add(whole)
        Objects(url).delete(
            [
                key
                for place in ("aliases/canary.json", "history/canary", "versions/v2")
                for key in Objects(url).entries(f"toy/{place}")
            ]
        )
        made.publish(url, version="v2", seed=1)
    assert outcomes == {True, False}


def test_readers_see_a_version_whole_or_not_while_it_is_pruned(url: str) -> None:
    store, other = fill(url), ModelStore(url, "toy")
    seen, number, came = set(), 0, True

    def read() -> None:
        assert {version.name for version in other.versions()} >= {"v1"}
        seen.add(is_whole(other, "v2"))

    while came:
        number += 1
        with Meanwhile(number, read).steps() as meanwhile:
            assert store.prune(0) == ["v2"]
        came = meanwhile.came
        made.publish(url, version="v2", seed=1)
    assert seen == {True, False}


def test_a_prune_before_any_step_of_a_reader_is_said(url: str) -> None:
    store, other = fill(url), ModelStore(url, "toy")
    readers: tuple[Callable[[], object], ...] = (
        lambda: is_whole(store, "v2"),
        lambda: [version.name for version in store.versions()].index("v1"),
    )
    for reader in readers:
        number, came = 0, True
        while came:
            number += 1
            with Meanwhile(number, lambda: other.prune(0)).steps() as meanwhile:
                reader()
            came = meanwhile.came
            if came:
                made.publish(url, version="v2", seed=1)


def test_a_publish_that_takes_up_a_dead_ones_files_is_whole_though_they_are_swept(url: str) -> None:
    """A killed publisher left files a day ago; a prune deletes them just before the manifest."""
    fill(url)
    create = Objects.create

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    def sweep_first(objects: Objects, key: str, content: bytes) -> None:
        if key == "toy/versions/v3/manifest.json":
            objects.delete([*objects.entries("toy/versions/v3")])
        create(objects, key, content)

    for step in (die, sweep_first):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Objects, "create", step)
            with suppress(KeyboardInterrupt):
                made.publish(url, version="v3", seed=3)
    assert is_whole(ModelStore(url, "toy"), "v3")


def test_two_prunes_of_a_bucket_at_once(store: ModelStore, bucket: str) -> None:
    """In S3, the second prune runs after the first has listed the versions, and deletes first."""
    other = ModelStore(bucket, "toy")
    read = Objects.read

    def prune_first(objects: Objects, key: str) -> bytes:
        """The first read of the manifest lists the version, the second is for deleting it."""
        if key == "toy/versions/v2/manifest.json":
            looks.append(key)
            if len(looks) == 2:
                assert other.prune(0) == ["v2"]
        return read(objects, key)

    looks: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(S3Objects, "read", prune_first)
        assert store.prune(0) == []
    assert is_whole(store, "v1")
    assert S3Objects(bucket).entries("toy/versions/v2") == {}


def test_a_prune_that_cannot_tell_what_is_needed_gives_back_what_it_took(
    store: ModelStore, bucket: str
) -> None:
    """An alias is damaged right after the version's manifest was deleted."""
    objects = S3Objects(bucket)
    taken = "toy/versions/v2/manifest.json"
    delete = S3Objects.delete

    def delete_and_damage(self: S3Objects, keys: list[str]) -> None:
        delete(self, keys)
        if taken in keys:
            self._ask("pipe_file", self._path("toy/aliases/production.json"), b"{")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(S3Objects, "delete", delete_and_damage)
        with pytest.raises(RegistryError, match="nothing is deleted"):
            store.prune(0)
    assert is_whole(store, "v2")
    assert json.loads(objects.read(taken))["version"] == "v2"


def test_a_copy_of_an_earlier_version_of_the_name_is_no_hindrance(
    store: ModelStore, bucket: str
) -> None:
    S3Objects(bucket).create("toy/versions/v2/manifest.pruning.json", b"of an earlier v2")
    store.open("v2").verify()
    assert store.prune(0) == ["v2"]
    assert S3Objects(bucket).entries("toy/versions/v2") == {}


def test_what_stands_beside_the_files_of_a_version_is_found(store: ModelStore, bucket: str) -> None:
    S3Objects(bucket).create("toy/versions/v2/lightgcn/notes.txt", b"")
    with pytest.raises(RegistryError, match=r"'lightgcn/notes\.txt' is not in the manifest"):
        store.open("v2").verify()
    store.open("v1").verify()
