"""Unreadable aliases and history in a bucket: handled as in a folder."""

import logging

import pytest

from gnnrec_registry import ModelStore
from gnnrec_registry.errors import AliasCorrupt
from gnnrec_registry.remote.s3 import S3Objects
from tests import made

SECOND = "toy/history/production/00000002.json"


@pytest.fixture
def objects(bucket: str) -> S3Objects:
    return S3Objects(bucket)


@pytest.fixture
def store(bucket: str, objects: S3Objects) -> ModelStore:
    """Versions with a manifest only, which is all that moves check; production named a, b, c."""
    for name in "abcd":
        put(objects, f"toy/versions/{name}/manifest.json", b"{}")
    store = ModelStore(bucket, "toy")
    for name in "abc":
        store.aliases.promote(name, alias="production")
    store.aliases.promote("a", alias="canary")
    return store


def put(objects: S3Objects, key: str, content: bytes) -> None:
    objects._ask("pipe_file", objects._path(key), content)


def named(store: ModelStore) -> list[str]:
    return [move.version for move in store.aliases.history("production")]


@pytest.mark.parametrize("content", [b"{}", b"\xff", b"[" * 100_000, b""])
def test_one_bad_object_in_the_history_stops_no_move(
    store: ModelStore, objects: S3Objects, content: bytes
) -> None:
    put(objects, SECOND, content)
    record = store.aliases.record()
    assert len(record.moves) == 3
    (damage,) = record.damage
    assert f"{SECOND} is damaged: " in damage
    assert "gnnrec history --mend" in damage
    assert store.aliases.earlier("production") == ["b", "a"], "the third says what was before it"
    assert store.aliases.promote("d", alias="production").generation == 4
    assert store.aliases.rollback(alias="production", to="b").version == "b"
    assert store.aliases.promote("c", alias="canary", forced=True).generation == 2
    assert len(store.aliases.mend_history()) == 1
    assert store.aliases.record().damage == []
    (kept,) = objects.entries("toy/history.damaged")
    assert kept.startswith("toy/history.damaged/production/00000002-")
    assert objects.read(kept) == content
    assert store.aliases.mend_history() == []


def test_an_object_under_another_moves_name_is_named(store: ModelStore, objects: S3Objects) -> None:
    put(objects, SECOND, objects.read("toy/history/canary/00000001.json"))
    (damage,) = store.aliases.record().damage
    assert "is 'canary' 1" in damage


def test_what_the_alias_knows_is_mended_by_the_next_move(
    store: ModelStore, objects: S3Objects, caplog: pytest.LogCaptureFixture
) -> None:
    put(objects, "toy/history/production/00000003.json", b"{")
    with caplog.at_level(logging.WARNING):
        store.aliases.promote("d", alias="production")
    assert "00000003.json is damaged" in caplog.text
    assert named(store) == [*"abcd"]
    assert store.aliases.record().damage == []
    (kept,) = objects.entries("toy/history.damaged")
    assert objects.read(kept) == b"{"


def test_a_damaged_alias_stops_no_other_and_no_version_is_pruned(
    store: ModelStore, objects: S3Objects, bucket: str
) -> None:
    put(objects, "toy/aliases/canary.json", b'{"version": "v 2"}')
    listed = store.aliases.all()
    assert set(listed.moves) == {"production"}
    assert "canary.json is damaged" in listed.damaged["canary"]
    assert store.aliases.rollback(alias="production").version == "b"
    made.publish(bucket, version="whole")
    with pytest.raises(AliasCorrupt, match="nothing is deleted"):
        store.prune(0)
    assert "whole" in store.layout.version_names()
    assert store.aliases.promote("d", alias="canary", forced=True).previous == "a"
