import hashlib
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from gnnrec_registry import Damaged, ModelStore
from gnnrec_registry.errors import (
    NoSuchModel,
    NoSuchVersion,
    StoreError,
    VersionCorrupt,
    VersionExists,
)
from gnnrec_registry.remote import storage
from gnnrec_registry.remote.objects import Objects
from gnnrec_registry.remote.s3 import S3Objects
from tests import made
from tests.remote.proxy import Asked, Fault, Proxy


def contents(url: str) -> dict[str, bytes]:
    objects = S3Objects(url)
    return {key: objects.read(key) for key in objects.entries("")}


def test_a_version_in_a_bucket_has_the_files_that_a_folder_would_have(
    bucket: str, tmp_path: Path
) -> None:
    remote = made.publish(f"{bucket}/deep/registry", version="v1")
    local = made.publish(tmp_path / "local", version="v1")
    remote.verify()
    assert remote.manifest.files == local.manifest.files
    found = contents(f"{bucket}/deep/registry/toy/versions/v1")
    assert found.keys() == {*local.manifest.files, "manifest.json"}
    assert all(found[name] == local.read(name) for name in local.manifest.files)


def test_arrays_are_mapped_from_the_cache(bucket: str) -> None:
    version = made.publish(bucket)
    users, _ = ModelStore(bucket, "toy").open(version.name).embeddings("lightgcn")
    assert isinstance(users, np.memmap)
    np.testing.assert_array_equal(users, made.embeddings(5, 4))
    with pytest.raises(ValueError, match="read-only"):
        users[0, 0] = 1


def test_a_version_is_never_published_twice(bucket: str) -> None:
    made.publish(bucket, version="v1")
    before = contents(bucket)
    with pytest.raises(VersionExists, match="'v1'"):
        made.publish(bucket, version="v1", seed=5)
    assert contents(bucket) == before


def test_missing_things_are_named(bucket: str) -> None:
    with pytest.raises(NoSuchModel, match="models there: none yet"):
        ModelStore(bucket, "toy").open("v1")
    made.publish(bucket, version="v1")
    with pytest.raises(NoSuchModel, match="models there: toy"):
        ModelStore(bucket, "other").open("v1")
    with pytest.raises(NoSuchVersion, match="gnnrec versions --model toy"):
        ModelStore(bucket, "toy").open("v2")


def test_a_publisher_killed_at_any_step_leaves_nothing_to_be_seen(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next publish of that name completes it; with other content it is refused."""
    store = ModelStore(bucket, "toy")
    good = made.publish(bucket, version="good")
    steps = []
    upload = Objects.upload

    def look_and_upload(objects: Objects, path: Path, key: str) -> None:
        steps.append(key)
        assert store.layout.version_names() == ["good"]
        upload(objects, path, key)

    with monkeypatch.context() as patch:
        patch.setattr(Objects, "upload", look_and_upload)
        patch.setattr(Objects, "create", kill)
        with pytest.raises(KeyboardInterrupt):
            made.publish(bucket, version="killed")
    assert len(steps) == len(good.manifest.files)
    assert [version.name for version in store.versions()] == ["good"]
    with pytest.raises(NoSuchVersion):
        store.open("killed")
    with pytest.raises(VersionExists, match=r"is of another publish of 'killed'.*gnnrec prune"):
        made.publish(bucket, version="killed", seed=9)
    made.publish(bucket, version="killed").verify()


def kill(*_: object) -> None:
    raise KeyboardInterrupt


def test_prune_removes_what_a_killed_publisher_left_a_day_ago(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.publish(bucket, version="v1")
    with monkeypatch.context() as patch:
        patch.setattr(Objects, "create", kill)
        with pytest.raises(KeyboardInterrupt):
            made.publish(bucket, version="killed")
    store = ModelStore(bucket, "toy")
    objects = S3Objects(bucket)
    parts = ("toy/versions/v2/users.ids", "unrelated/file")
    for key in parts:
        _begin_multipart_upload(objects, key)
    assert store.prune(5) == []
    assert len(objects.entries("toy/versions/killed")) == 9, "it may be publishing yet"
    monkeypatch.setattr(storage, "_LEFT_AFTER", timedelta(seconds=-5))
    assert store.prune(5) == []
    assert objects.entries("toy/versions/killed") == {}
    uploads = objects._ask("list_multipart_uploads", bucket.removeprefix("s3://"))
    assert [upload["Key"] for upload in uploads] == ["unrelated/file"]
    store.open("v1").verify()


def _begin_multipart_upload(objects: S3Objects, key: str) -> None:
    bucket, _, name = objects._path(key).partition("/")
    objects._ask("call_s3", "create_multipart_upload", Bucket=bucket, Key=name)


def test_prune_keeps_the_newest_and_the_named(bucket: str) -> None:
    store = ModelStore(bucket, "toy")
    for name in "abc":
        made.publish(bucket, version=name)
    store.aliases.promote("a", alias="production")
    assert store.prune(1, dry_run=True) == ["b"]
    assert store.prune(1) == ["b"]
    assert [version.name for version in store.versions()] == ["c", "a"]
    assert S3Objects(bucket).entries("toy/versions/b") == {}


def test_a_version_promoted_while_it_is_pruned_stays(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = ModelStore(bucket, "toy"), ModelStore(bucket, "toy")
    made.publish(bucket, version="v1")
    delete = S3Objects.delete

    def promote_before(objects: S3Objects, keys: list[str]) -> None:
        patch.undo()
        other.aliases.promote("v1", alias="production")
        delete(objects, keys)

    with monkeypatch.context() as patch:
        patch.setattr(S3Objects, "delete", promote_before)
        assert store.prune(0) == []
    store.open("v1").verify()


def test_a_manifest_whose_answer_is_lost_is_published_once(bucket: str, proxy: Proxy) -> None:
    """The publisher's retry finds its own manifest in the store."""
    lost: list[Asked] = []

    def lose(asked: Asked) -> Fault | None:
        if asked.method == "PUT" and asked.path.endswith("manifest.json") and not lost:
            lost.append(asked)
            return Fault(loses_answer=True)
        return None

    proxy.fault = lose
    made.publish(bucket, version="v1").verify()
    assert lost


def test_damage_to_any_object_is_found_and_the_file_named(bucket: str, tmp_path: Path) -> None:
    """A flipped, cut, removed or exchanged file is found even if the cache holds the right one."""
    made.publish(bucket, version="v1")
    made.publish(bucket, version="v2", seed=7)
    store, objects = ModelStore(bucket, "toy"), S3Objects(f"{bucket}/toy/versions")

    def put(name: str, content: bytes) -> None:
        objects._ask("pipe_file", objects._path(f"v1/{name}"), content)

    for name in [*store.open("v1").manifest.files, "manifest.json"]:
        content, other = objects.read(f"v1/{name}"), objects.read(f"v2/{name}")
        half = len(content) // 2
        flipped = content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :]
        for wrong in {flipped, content[:half], other} - {content, b""}:
            put(name, wrong)
            for cached in (tmp_path / "cache").rglob(hashlib.sha256(content).hexdigest()):
                cached.unlink()
            with pytest.raises(VersionCorrupt, match=name):
                store.open("v1").verify()
        objects.delete([f"v1/{name}"])
        gone = NoSuchVersion if name == "manifest.json" else VersionCorrupt
        with pytest.raises(gone, match=f"'v1'.*{'' if name == 'manifest.json' else name}"):
            store.open("v1").verify()
        put(name, content)
    store.open("v1").verify()


def test_a_damaged_manifest_is_listed_beside_the_whole_ones(bucket: str) -> None:
    made.publish(bucket, version="v1")
    objects = S3Objects(bucket)
    objects.create("toy/versions/v2/manifest.json", b"{")
    whole, damaged = ModelStore(bucket, "toy").versions()
    assert whole.name == "v1"
    assert isinstance(damaged, Damaged)
    assert damaged.name == "v2"


def test_whether_a_bucket_takes_a_version_is_tried_and_leaves_no_trace(bucket: str) -> None:
    """Also if the test object of a user who may not delete is there."""
    store = ModelStore(bucket, "toy")
    store.check_writable(1000)
    kept = {key for key in contents(bucket) if "conditional-writes" not in key}
    assert kept == set()
    S3Objects(bucket).create("toy/.writable", b"")
    store.check_writable()
    with pytest.raises(StoreError):
        ModelStore(f"{bucket}-that-is-not-there/x", "toy").check_writable()
