"""Prunes of a bucket at the same time as other prunes, promotions and readers."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from registry import ModelStore
from registry.errors import NoSuchVersion, RegistryError
from registry.remote.objects import Objects
from registry.remote.s3 import S3Objects
from tests import made

_ASK = Objects._ask


@pytest.fixture
def store(bucket: str) -> ModelStore:
    """A bucket with two versions; production names v1."""
    for seed, version in enumerate(("v1", "v2")):
        made.publish(bucket, version=version, seed=seed)
    store = ModelStore(bucket, "toy")
    store.aliases.promote("v1", alias="production")
    return store


@contextmanager
def meanwhile(number: int, what: Callable[[], object]) -> Iterator[list[bool]]:
    """Do something before the n-th request to a store; yields a list that is true once it is."""
    asked, done = 0, [False]

    def ask(objects: Objects, *arguments: Any, **options: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked == number and not done[0]:
            done[0] = True
            what()
        return _ASK(objects, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Objects, "_ask", ask)
        yield done


def is_whole(store: ModelStore, version: str) -> bool:
    """Tell whether a version is there; if so, it must be whole."""
    try:
        store.open(version).verify()
    except NoSuchVersion:
        return False
    return True


def test_two_prunes_at_once_delete_each_version_once(store: ModelStore, bucket: str) -> None:
    """A second one comes before every request of the first."""
    for number in range(1, 100):
        other: list[str] = []
        with meanwhile(number, lambda: other.extend(ModelStore(bucket, "toy").prune(0))) as came:  # noqa: B023 (called within)
            first = store.prune(0)
        assert {*first, *other} == {"v2"}, number
        assert is_whole(store, "v1")
        assert S3Objects(bucket).entries("toy/versions/v2") == {}
        if not came[0]:
            break
        made.publish(bucket, version="v2", seed=1)
    assert number > 10


def test_a_version_promoted_between_two_prunes_is_whole_or_said_to_be_gone(
    store: ModelStore, bucket: str
) -> None:
    """Somebody promotes before every request of the first prune, and the second comes then."""
    outcomes = set()
    for number in range(1, 100):
        said: list[str] = []

        def promote_and_prune() -> None:
            try:
                ModelStore(bucket, "toy").aliases.promote("v2", alias="canary")
            except RegistryError as error:
                said.append(str(error))  # noqa: B023 (called within)
            ModelStore(bucket, "toy").prune(0)

        with meanwhile(number, promote_and_prune) as came:
            store.prune(0)
        whole = is_whole(store, "v2")
        outcomes.add(whole)
        assert whole or said or not came[0], number
        if not came[0]:
            break
        S3Objects(bucket).delete(["toy/aliases/canary.json"])
        for key in S3Objects(bucket).entries("toy/history/canary"):
            S3Objects(bucket).delete([key])
        for key in S3Objects(bucket).entries("toy/versions/v2"):
            S3Objects(bucket).delete([key])
        made.publish(bucket, version="v2", seed=1)
    assert outcomes == {True, False}


def test_readers_see_a_version_whole_or_not_while_it_is_pruned(
    store: ModelStore, bucket: str
) -> None:
    for number in range(1, 100):
        other = ModelStore(bucket, "toy")
        seen: list[bool] = []

        def read() -> None:
            assert {version.name for version in other.versions()} >= {"v1"}  # noqa: B023
            seen.append(is_whole(other, "v2"))  # noqa: B023

        with meanwhile(number, read) as came:
            assert store.prune(0) == ["v2"]
        if not came[0]:
            break
        made.publish(bucket, version="v2", seed=1)
    assert number > 10


def test_a_prune_before_every_request_of_a_reader_is_said(store: ModelStore, bucket: str) -> None:
    for number in range(1, 100):
        with meanwhile(number, lambda: ModelStore(bucket, "toy").prune(0)) as came:
            is_whole(store, "v2")
        if not came[0]:
            break
        made.publish(bucket, version="v2", seed=1)
        with meanwhile(number, lambda: ModelStore(bucket, "toy").prune(0)):
            assert [version.name for version in store.versions()][-1:] == ["v1"]
        made.publish(bucket, version="v2", seed=1)


def test_a_prune_that_cannot_tell_what_is_needed_gives_back_what_it_took(
    store: ModelStore, bucket: str
) -> None:
    """An alias is damaged right after its manifest was taken."""
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
    S3Objects(bucket).create("toy/versions/v2/stray\nline", b"")
    with pytest.raises(RegistryError, match=r"'stray\\nline' is not in the manifest"):
        store.open("v2").verify()
    store.open("v1").verify()
