import multiprocessing
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from gnnrec_registry import ModelStore
from gnnrec_registry.aliases.aliases import Aliases
from gnnrec_registry.aliases.history import LineHistory
from gnnrec_registry.errors import (
    AliasConflict,
    AliasCorrupt,
    NoSuchAlias,
    NoSuchModel,
    NoSuchVersion,
    NothingToRollBack,
)
from gnnrec_registry.files import durable
from tests import made


@pytest.fixture
def aliases(tmp_path: Path) -> Aliases:
    for name in ("a", "b", "c"):
        made.publish(tmp_path, version=name)
    return ModelStore(tmp_path, "toy").aliases


def test_promote_moves_the_alias_and_records_who_and_why(aliases: Aliases) -> None:
    aliases.promote("a", alias="production", who="ann", why="first")
    move = aliases.promote("b", alias="production", who="ben", why="better")
    assert aliases.get("production") == move
    assert (move.version, move.previous, move.generation) == ("b", "a", 2)
    assert [(m.updated_by, m.why, m.version) for m in aliases.history("production")] == [
        ("ann", "first", "a"),
        ("ben", "better", "b"),
    ]


def test_promote_of_unknown_version_changes_nothing(aliases: Aliases) -> None:
    aliases.promote("a", alias="production")
    with pytest.raises(NoSuchVersion, match="nothing was moved"):
        aliases.promote("zzz", alias="production")
    assert aliases.get("production").version == "a"
    assert len(aliases.history()) == 1


def test_a_registry_that_is_not_there_is_not_made_by_promoting(tmp_path: Path) -> None:
    with pytest.raises(NoSuchModel):
        ModelStore(tmp_path / "none", "toy").aliases.promote("a", alias="production")
    assert not (tmp_path / "none").exists()


def test_an_unknown_alias_is_named_with_those_there(aliases: Aliases) -> None:
    aliases.promote("a", alias="canary")
    with pytest.raises(NoSuchAlias, match=r"no alias 'production'.*aliases there: canary"):
        aliases.get("production")


def test_compare_and_swap_lets_only_the_expected_generation_move(aliases: Aliases) -> None:
    aliases.promote("a", alias="production", expected_generation=0)
    aliases.promote("b", alias="production", expected_generation=1)
    with pytest.raises(AliasConflict, match="is at generation 2, not 1"):
        aliases.promote("c", alias="production", expected_generation=1)
    assert aliases.get("production").version == "b"


def test_rolling_back_twice_goes_back_two_versions(aliases: Aliases) -> None:
    for version in ("a", "b", "c"):
        aliases.promote(version, alias="production")
    assert aliases.rollback(alias="production").version == "b"
    assert aliases.rollback(alias="production").version == "a"
    with pytest.raises(NothingToRollBack, match="has named no earlier version"):
        aliases.rollback(alias="production")
    assert [move.action for move in aliases.history()] == ["promote"] * 3 + ["rollback"] * 2


def test_a_crash_between_alias_and_history_loses_no_move(
    aliases: Aliases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The alias's file holds the move: readers use it, and the next writer records it."""
    aliases.promote("a", alias="production")

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LineHistory, "append", crash)
        with pytest.raises(KeyboardInterrupt):
            aliases.promote("b", alias="production", why="crashed")
    assert aliases.get("production").version == "b"
    assert [move.version for move in aliases.history()] == ["a", "b"]
    aliases.promote("c", alias="production")
    assert [(m.version, m.why) for m in aliases.history()] == [
        ("a", ""),
        ("b", "crashed"),
        ("c", ""),
    ]


def test_half_a_line_of_history_is_dropped_and_the_move_recorded(
    aliases: Aliases, tmp_path: Path
) -> None:
    aliases.promote("a", alias="production")
    aliases.promote("b", alias="production")
    path = tmp_path / "toy" / "history.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    assert [move.version for move in aliases.history()] == ["a", "b"]
    aliases.promote("c", alias="production")
    assert [move.version for move in aliases.history()] == ["a", "b", "c"]
    assert path.read_bytes().count(b"\n") == 3


def test_a_damaged_alias_or_history_is_named(aliases: Aliases, tmp_path: Path) -> None:
    aliases.promote("a", alias="production")
    history = tmp_path / "toy" / "history.jsonl"
    history.write_bytes(b"{}\n" + history.read_bytes())
    assert [move.version for move in aliases.history()] == ["a"]
    (damage,) = aliases.record().damage
    assert f"{history} line 1: alias: Field required" in damage
    (tmp_path / "toy" / "aliases" / "production.json").write_text("{}")
    with pytest.raises(AliasCorrupt, match=r"production\.json is damaged"):
        aliases.get("production")


def _race(root: Path, version: str, rounds: int, start: Barrier, won: "Queue[int]") -> None:
    """Try to move the alias from each generation to the next; report how often it succeeded."""
    aliases = ModelStore(root, "toy").aliases
    count = 0
    for generation in range(rounds):
        start.wait()
        try:
            aliases.promote(version, alias="production", expected_generation=generation)
            count += 1
        except AliasConflict:
            pass
    won.put(count)


@pytest.mark.slow
def test_of_two_promoters_exactly_one_wins_each_time(in_memory: Path) -> None:
    rounds = 250
    for name in ("a", "b"):
        made.publish(in_memory, version=name)
    aliases = ModelStore(in_memory, "toy").aliases
    context = multiprocessing.get_context("spawn")
    start, won = context.Barrier(2), context.Queue()
    racers = [
        context.Process(target=_race, args=(in_memory, version, rounds, start, won))
        for version in ("a", "b")
    ]
    for racer in racers:
        racer.start()
    counts = [won.get(timeout=120) for _ in racers]
    for racer in racers:
        racer.join()
    assert sum(counts) == rounds
    assert min(counts) > 0, "both have won"
    generations = [move.generation for move in aliases.history("production")]
    assert generations == list(range(1, rounds + 1))
    assert aliases.history()[-1] == aliases.get("production")


def test_replace_leaves_the_old_content_when_writing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    durable.replace(path, b"old")

    def fail(_: Path) -> None:
        raise OSError("disk")

    monkeypatch.setattr(durable, "fsync", fail)
    with pytest.raises(OSError, match="disk"):
        durable.replace(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
