"""Alias files edited by hand: each is a move or AliasCorrupt, and other aliases keep working."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gnnrec_registry import ModelStore, Move
from gnnrec_registry.aliases.moves import MOST_MOVES
from gnnrec_registry.errors import AliasCorrupt, NoSuchAlias, RegistryError
from tests import made

ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(st.characters())
    | st.sampled_from(["v 2", "..", "v1\n", "", "2024-01-01", "9999-12-31T23:59:59-14:00", "NaN"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
GUARD = {"max_errors": 0.1, "max_p99_ms": 9.0, "min_requests": 100}
CANDIDATE = {"version": "v2", "percent": 5.0, "shadow": True, "guard": GUARD, "since": 2}
GOOD: dict[str, Any] = {
    "alias": "canary",
    "version": "v1",
    "generation": 3,
    "action": "promote",
    "previous": "v2",
    "updated_at": "2024-01-01T00:00:00Z",
    "updated_by": "ann",
    "why": "",
    "candidate": CANDIDATE,
    "forced": False,
}
PLACES = [
    *((name,) for name in [*GOOD, "a later key"]),
    *(("candidate", name) for name in [*CANDIDATE, "a later key"]),
    *(("candidate", "guard", name) for name in [*GUARD, "a later key"]),
]


def changed(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """Return the good move with another value at a place."""
    fields: dict[str, Any] = json.loads(json.dumps(GOOD))
    *steps, last = path
    place = fields
    for step in steps:
        place = place[step]
    place[last] = value
    return fields


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    root = tmp_path_factory.mktemp("registry")
    for seed, version in enumerate(("v1", "v2")):
        made.publish(root, version=version, seed=seed)
    store = ModelStore(root, "toy")
    store.aliases.promote("v1", alias="production")
    store.aliases.promote("v1", alias="canary")
    return store


def write(store: ModelStore, content: bytes) -> None:
    store.layout.alias("canary").write_bytes(content)


def read(store: ModelStore) -> Move | None:
    """Return the move in the alias file; None for AliasCorrupt, which must name file and remedy."""
    try:
        return store.aliases.get("canary")
    except AliasCorrupt as error:
        problem = str(error)
    assert str(store.layout.alias("canary")) in problem
    assert "gnnrec promote VERSION --alias canary --force --why REASON" in problem
    assert "\n" not in problem
    return None


def use(store: ModelStore, move: Move) -> None:
    """Use a move as readers of a registry do; nothing of this may fail."""
    for name in filter(None, (move.version, move.previous)):
        store.layout.version(name)
    if move.candidate is not None:
        store.layout.version(move.candidate.version)
        assert str(move.candidate)
    assert 1 <= move.generation < MOST_MOVES
    json.dumps(move.model_dump(mode="json"), allow_nan=False, ensure_ascii=False).encode()
    assert move.updated_at.utcoffset() is not None
    assert f"{move.updated_at:%Y-%m-%d %H:%M:%S}"
    assert store.aliases.history("canary")[-1] == move
    store.aliases.earlier("canary")


@given(path=st.sampled_from(PLACES), value=ANY_JSON)
@example(path=("version",), value="v 2")
@example(path=("previous",), value="../../etc")
@example(path=("candidate", "version"), value="")
@example(path=("generation",), value=-1)
@example(path=("generation",), value=10**4000)
@example(path=("generation",), value=2**53 - 1)
@example(path=("generation",), value=3.0)
@example(path=("candidate", "since"), value=2**63)
@example(path=("updated_at",), value="2024-01-01T00:00:00")
@example(path=("updated_at",), value="0001-01-01T00:00:00+14:00")
@example(path=("updated_at",), value="9999-12-31T23:59:59-14:00")
@example(path=("updated_at",), value=10**30)
@example(path=("a later key",), value=float("nan"))
@example(path=("candidate", "percent"), value=float("inf"))
@example(path=("why",), value="\ud800")
@settings(max_examples=300, deadline=None)
def test_any_json_in_any_field_is_a_move_or_damage(
    store: ModelStore, path: tuple[str, ...], value: Any
) -> None:
    write(store, json.dumps(changed(path, value)).encode())
    move = read(store)
    if move is not None:
        use(store, move)
    assert store.aliases.all().moves["production"].version == "v1"


@given(place=st.integers(0, 400), what=st.binary(max_size=6), cut=st.integers(0, 6))
@settings(max_examples=300, deadline=None)
def test_any_bytes_anywhere_are_a_move_or_damage(
    store: ModelStore, place: int, what: bytes, cut: int
) -> None:
    content = json.dumps(GOOD).encode()
    write(store, content[:place] + what + content[place + cut :])
    move = read(store)
    if move is not None:
        use(store, move)


TEXT = json.dumps(GOOD).encode()
DAMAGED = [
    b"",
    b"null",
    b"[]",
    b'"v1"',
    b"\xff\xfe",
    json.dumps(GOOD).encode("utf-16"),
    json.dumps(GOOD).encode("utf-8-sig"),
    b"[" * 100_000,
    b'{"a":' * 100_000,
    TEXT[:-1] + b', "version": "v2"}',
    TEXT.replace(b'"since": 2', b'"since": 2, "since": 3'),
    TEXT.replace(b'"v1"', b'"v\xed\xa0\x801"'),
    TEXT.replace(b"5.0", b"1e999"),
    TEXT.replace(b"5.0", b"Infinity"),
    TEXT[:-1] + b', "later": 1e999}',
    TEXT[:-1] + b', "later": {"x": 1, "x": 2}}',
    json.dumps(GOOD | {"version": "v 2"}).encode(),
    json.dumps(GOOD | {"alias": "production"}).encode(),
]


@pytest.mark.parametrize("content", DAMAGED, ids=range(len(DAMAGED)))
def test_damage_is_named_and_force_mends_it(store: ModelStore, content: bytes) -> None:
    write(store, content)
    assert read(store) is None
    with pytest.raises(AliasCorrupt):
        store.aliases.promote("v2", alias="canary")
    with pytest.raises(AliasCorrupt):
        store.aliases.rollback(alias="canary")
    before = store.aliases.recorded("canary")[-1]
    move = store.aliases.promote("v2", alias="canary", forced=True, why="mended")
    assert (move.generation, move.previous) == (before.generation + 1, before.version)
    assert read(store) == move


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_damage_and_nobody_waits_for_it(tmp_path: Path, make: Any) -> None:
    """Opening a pipe that nobody writes to would block for ever."""
    made.publish(tmp_path, version="v1")
    store = ModelStore(tmp_path, "toy")
    store.aliases.promote("v1", alias="production")
    make(store.layout.alias("canary"))
    with pytest.raises(AliasCorrupt, match=r"canary\.json is a .*, not a regular file; move it aw"):
        store.aliases.get("canary")
    assert store.aliases.promote("v1", alias="production").generation == 2


def test_an_alias_that_is_not_there_is_not_damaged(store: ModelStore) -> None:
    with pytest.raises(NoSuchAlias):
        store.aliases.get("none")


def test_one_damaged_alias_stops_nothing_but_itself(tmp_path: Path) -> None:
    for seed, version in enumerate(("v1", "v2", "v3")):
        made.publish(tmp_path, version=version, seed=seed)
    store = ModelStore(tmp_path, "toy")
    for alias in ("production", "canary"):
        store.aliases.promote("v1", alias=alias)
        store.aliases.promote("v2", alias=alias)
    write(store, json.dumps(GOOD | {"version": "v 2"}).encode())
    assert store.aliases.promote("v3", alias="production").version == "v3"
    assert store.aliases.rollback(alias="production").version == "v2"
    assert store.aliases.try_out("v3", alias="production", percent=5).candidate is not None
    listed = store.aliases.all()
    assert set(listed.moves) == {"production"}
    assert "'v 2' is not a name" in listed.damaged["canary"]
    assert store.aliases.earlier("canary") == ["v1"], "as the history says"
    record = store.aliases.record()
    assert len(record.moves) == 7
    assert len(record.damage) == 1


def test_a_prune_deletes_nothing_while_an_alias_is_damaged(tmp_path: Path) -> None:
    for seed, version in enumerate(("v1", "v2", "v3")):
        made.publish(tmp_path, version=version, seed=seed)
    store = ModelStore(tmp_path, "toy")
    store.aliases.promote("v1", alias="canary")
    store.aliases.promote("v3", alias="production")
    write(store, json.dumps(GOOD | {"version": "v 1"}).encode())
    for dry_run in (True, False):
        with pytest.raises(AliasCorrupt, match=r"canary\.json is damaged.*nothing is deleted"):
            store.prune(0, dry_run=dry_run)
    assert store.layout.version_names() == ["v1", "v2", "v3"]
    assert store.prune(3) == [], "there is nothing to delete"
    store.aliases.promote("v1", alias="canary", forced=True)
    assert store.prune(0) == ["v2"]


def test_a_reason_that_is_no_unicode_is_recorded_as_far_as_it_goes(tmp_path: Path) -> None:
    """A command line may hold bytes that are not UTF-8."""
    made.publish(tmp_path, version="v1")
    aliases = ModelStore(tmp_path, "toy").aliases
    aliases.promote("v1", alias="production", why=os.fsdecode(b"na\xefve"))
    assert aliases.get("production").why == "na\\udcefve"
    with pytest.raises(RegistryError, match="is not a name"):
        aliases.try_out("v 2", alias="production", percent=5)
