"""The history with unreadable lines: they affect nothing else, and are never discarded."""

import logging
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gnnrec_registry import ModelStore
from gnnrec_registry.aliases.aliases import Aliases
from gnnrec_registry.errors import AliasCorrupt, NothingToRollBack
from tests import made

BAD = b'{"alias": "production", "vers'


@pytest.fixture
def store(in_memory: Path) -> ModelStore:
    """Versions a to d; production has named a, b, c, canary a."""
    for seed, name in enumerate("abcd"):
        made.publish(in_memory, version=name, seed=seed)
    store = ModelStore(in_memory, "toy")
    for version in "abc":
        store.aliases.promote(version, alias="production")
    store.aliases.promote("a", alias="canary")
    return store


@pytest.fixture
def aliases(store: ModelStore) -> Aliases:
    return store.aliases


def spoil(store: ModelStore, *places: int, by: bytes = BAD) -> bytes:
    """Replace lines of the history; return its whole content."""
    lines = store.layout.history.read_bytes().splitlines(keepends=True)
    for place in places:
        lines[place] = by + b"\n"
    store.layout.history.write_bytes(b"".join(lines))
    return b"".join(lines)


def named(aliases: Aliases, alias: str) -> list[str]:
    return [move.version for move in aliases.history(alias)]


@pytest.mark.parametrize(
    "by",
    [BAD, b"{}", b"\0" * 50, b"\xff", b"[" * 10**5, b"null", b"# a note of somebody's"],
    ids=range(7),
)
def test_one_bad_line_in_the_history_stops_no_move(
    store: ModelStore, aliases: Aliases, by: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    before = spoil(store, 1, by=by)
    assert aliases.promote("d", alias="production").generation == 4
    assert f"{store.layout.history} line 2: " in caplog.text
    assert "gnnrec history --mend" in caplog.text
    assert aliases.promote("c", alias="production", forced=True).generation == 5
    assert aliases.promote("d", alias="other").generation == 1
    assert aliases.try_out("b", alias="canary", percent=5).candidate is not None
    assert aliases.rollback(alias="canary").version == "a"
    assert aliases.rollback(alias="production", to="b").version == "b"
    after = store.layout.history.read_bytes()
    assert after.startswith(before), "the bad line and the others stand as they stood"
    assert after.count(b"\n") == 10


def test_the_rest_is_told_and_what_cannot_be_read_is_named(
    store: ModelStore, aliases: Aliases
) -> None:
    spoil(store, 0, 3)
    record = aliases.record()
    assert [(move.alias, move.version) for move in record.moves] == [
        ("production", "b"),
        ("production", "c"),
        ("canary", "a"),
    ], "canary's last move is in its file as well"
    assert [each.partition(": ")[0] for each in record.damage] == [
        f"{store.layout.history} line 1",
        f"{store.layout.history} line 4",
    ]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_rollback_goes_by_what_can_be_read(
    store: ModelStore, aliases: Aliases, place: int
) -> None:
    """The version of an unreadable move is known from the next move's `previous`."""
    spoil(store, place)
    assert aliases.earlier("production") == ["b", "a"]
    assert aliases.rollback(alias="production").version == "b"
    assert aliases.rollback(alias="production").version == "a"
    with pytest.raises(NothingToRollBack, match=f"as far as can be read: .* line {place + 1}"):
        aliases.rollback(alias="production")


def test_a_rollback_that_cannot_be_read_brings_nothing_back(
    store: ModelStore, aliases: Aliases
) -> None:
    """After a, b, c, back to b, d: rollbacks lead from d to b and to a, never to c."""
    aliases.rollback(alias="production")
    aliases.promote("d", alias="production")
    spoil(store, 4)
    assert aliases.earlier("production") == ["b", "a"]


def test_mending_keeps_every_line(store: ModelStore, aliases: Aliases) -> None:
    lines = store.layout.history.read_bytes().splitlines(keepends=True)
    spoil(store, 1, by=b"one")
    spoil(store, 2, by=b"\xfftwo")
    assert len(aliases.mend_history()) == 2
    assert store.layout.history.read_bytes() == lines[0] + lines[3] + lines[2], (
        "production's last move is in its file as well"
    )
    assert store.layout.history_damaged.read_bytes() == b"one\n\xfftwo\n"
    assert aliases.record().damage == []
    assert aliases.mend_history() == []
    assert store.layout.history_damaged.read_bytes() == b"one\n\xfftwo\n"


def test_mending_can_be_cut_off_and_begun_again(
    store: ModelStore, aliases: Aliases, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = spoil(store, 1)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("gnnrec_registry.files.durable.replace", crash)
        with pytest.raises(KeyboardInterrupt):
            aliases.mend_history()
    assert store.layout.history.read_bytes() == before
    aliases.mend_history()
    assert store.layout.history_damaged.read_bytes() == BAD + b"\n"


def test_a_prune_deletes_nothing_until_the_history_is_mended(
    store: ModelStore, aliases: Aliases
) -> None:
    spoil(store, 1)
    with pytest.raises(AliasCorrupt, match=r"line 2: .*--mend; until that is mended nothing is d"):
        store.prune(0)
    assert store.layout.version_names() == [*"abcd"]
    assert store.prune(4) == []
    aliases.mend_history()
    assert store.prune(0) == ["d"]


def test_a_last_line_that_lost_but_its_end_stays(store: ModelStore, aliases: Aliases) -> None:
    """An editor may remove the line break; canary's file is lost, so only the line has its move."""
    content = store.layout.history.read_bytes()
    store.layout.history.write_bytes(content[:-1])
    store.layout.alias("canary").unlink()
    assert named(aliases, "canary") == ["a"]
    aliases.promote("d", alias="production")
    assert store.layout.history.read_bytes().startswith(content)
    assert named(aliases, "canary") == ["a"]


def test_half_a_line_that_no_crash_left_is_set_aside(store: ModelStore, aliases: Aliases) -> None:
    content = store.layout.history.read_bytes()
    store.layout.history.write_bytes(content + b"what is this")
    aliases.promote("d", alias="production")
    assert store.layout.history_damaged.read_bytes() == b"what is this\n"
    store.layout.history.write_bytes(content + content.splitlines()[3][:40])
    aliases.promote("c", alias="production")
    assert store.layout.history_damaged.read_bytes() == b"what is this\n", "canary tells that move"


def test_empty_lines_are_no_damage(store: ModelStore, aliases: Aliases) -> None:
    content = store.layout.history.read_bytes()
    store.layout.history.write_bytes(b"\n" + content.replace(b"\n", b"\r\n\n"))
    assert aliases.record().damage == []
    assert named(aliases, "production") == [*"abc"]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_history_that_is_no_file_stops_no_move(
    store: ModelStore, aliases: Aliases, make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    store.layout.history.unlink()
    make(store.layout.history)
    assert aliases.promote("d", alias="production").generation == 4
    assert "cannot be finished" in caplog.text
    assert '"generation":3' in caplog.text, "the move that is lost"
    assert "the alias's file holds the move" in caplog.text
    assert aliases.record().damage[0].endswith("not a regular file; move it away")
    (store.layout.history.unlink if make is os.mkfifo else store.layout.history.rmdir)()
    aliases.promote("c", alias="production")
    assert [move.generation for move in aliases.history("production")] == [4, 5]


def test_a_move_that_cannot_be_recorded_is_made_and_recorded_by_the_next(
    aliases: Aliases, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """On a full disk, for example: the answer must match what happened."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr("gnnrec_registry.aliases.history._append", full)
        assert aliases.promote("d", alias="production").version == "d"
    assert "production has moved, but the history cannot be written" in caplog.text
    assert aliases.get("production").version == "d"
    aliases.promote("a", alias="production")
    assert named(aliases, "production") == [*"abcda"]


@example(place=1, where=61, what=b"")  # the damaged line is still a valid move
@given(place=st.integers(0, 3), where=st.integers(0, 200), what=st.binary(max_size=5))
@settings(max_examples=40, deadline=None)
def test_no_byte_of_the_history_stops_a_move_or_is_lost(
    tmp_path_factory: pytest.TempPathFactory, place: int, where: int, what: bytes
) -> None:
    root = tmp_path_factory.mktemp("r")
    folder = root / "toy" / "versions" / "a"
    folder.mkdir(parents=True)
    (folder / "manifest.json").touch()  # a move checks only that it exists
    store = ModelStore(root, "toy")
    for number in range(4):
        store.aliases.promote("a", alias=f"alias{number}")
    lines = store.layout.history.read_bytes().splitlines(keepends=True)
    lines[place] = lines[place][:where] + what + lines[place][where + 2 :]
    store.layout.history.write_bytes(b"".join(lines))
    store.aliases.promote("a", alias="alias0")
    store.aliases.mend_history()
    assert store.aliases.record().damage == []
    kept = store.layout.history.read_bytes()
    if store.layout.history_damaged.exists():
        kept += store.layout.history_damaged.read_bytes()
    for line in b"".join(lines).split(b"\n"):
        assert line in kept
    for number in range(4):
        last, moves = store.aliases.get(f"alias{number}"), store.aliases.history(f"alias{number}")
        assert last.generation in [move.generation for move in moves]
