import logging
import threading
from collections.abc import Callable

import pytest

from gnnrec_registry import ModelStore, Move
from gnnrec_registry.errors import AliasConflict, AliasCorrupt, NoSuchAlias, NoSuchVersion
from gnnrec_registry.remote.history import ObjectHistory
from gnnrec_registry.remote.s3 import S3Objects
from tests import made
from tests.remote.proxy import Asked, Fault, Proxy


@pytest.fixture
def store(bucket: str) -> ModelStore:
    """A model with versions a and b that have a manifest only: moves check nothing else."""
    objects = S3Objects(bucket)
    for name in ("a", "b"):
        objects._ask("pipe_file", objects._path(f"toy/versions/{name}/manifest.json"), b"{}")
    return ModelStore(bucket, "toy")


def moves(store: ModelStore) -> list[tuple[str, int, str]]:
    return [(move.alias, move.generation, move.version) for move in store.aliases.history()]


def test_moves_read_as_those_of_a_folder_do(store: ModelStore) -> None:
    aliases = store.aliases
    aliases.promote("a", alias="production", who="ann", why="first", expected_generation=0)
    aliases.promote("a", alias="canary")
    move = aliases.promote("b", alias="production", who="ben", why="better")
    assert aliases.get("production") == move
    assert (move.version, move.previous, move.generation) == ("b", "a", 2)
    assert aliases.rollback(alias="production").version == "a"
    assert moves(store) == [
        ("production", 1, "a"),
        ("canary", 1, "a"),
        ("production", 2, "b"),
        ("production", 3, "a"),
    ]
    assert [(move.updated_by, move.why) for move in aliases.history("production")][:2] == [
        ("ann", "first"),
        ("ben", "better"),
    ]
    with pytest.raises(AliasConflict, match="is at generation 3, not 2"):
        aliases.promote("b", alias="production", expected_generation=2)
    with pytest.raises(NoSuchVersion, match="nothing was moved"):
        aliases.promote("zzz", alias="production")
    with pytest.raises(NoSuchAlias, match="aliases there: canary, production"):
        aliases.get("other")


def test_a_crash_between_alias_and_history_loses_no_move(
    store: ModelStore, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    store.aliases.promote("a", alias="production")
    with monkeypatch.context() as patch:
        patch.setattr(ObjectHistory, "append", crash)
        with pytest.raises(KeyboardInterrupt):
            store.aliases.promote("b", alias="production")
    recorded = "toy/history/production/00000002.json"
    objects = S3Objects(bucket)
    assert not objects.has(recorded)
    assert [version for _, _, version in moves(store)] == ["a", "b"]
    store.aliases.promote("a", alias="production")
    assert objects.has(recorded)
    assert [version for _, _, version in moves(store)] == ["a", "b", "a"]


def test_a_version_pruned_while_an_alias_moves_to_it_is_said(
    store: ModelStore, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without locks, a prune may delete the version after the move has checked that it exists."""
    append = ObjectHistory.append

    def prune_and_append(history: ObjectHistory, move: Move) -> None:
        if move.version == "a":
            S3Objects(bucket).delete(["toy/versions/a/manifest.json"])
        append(history, move)

    monkeypatch.setattr(ObjectHistory, "append", prune_and_append)
    with pytest.raises(NoSuchVersion, match="was pruned while 'production' moved to it"):
        store.aliases.promote("a", alias="production")
    store.aliases.promote("b", alias="production", expected_generation=1)


def test_a_mover_whose_clock_is_behind_stands_after_the_move_it_followed(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = store.aliases.promote("a", alias="production")
    early = first.updated_at.replace(year=2000)
    monkeypatch.setattr("gnnrec_registry.aliases.aliases.now", lambda: early)
    store.aliases.promote("b", alias="production")
    assert [version for _, _, version in moves(store)] == ["a", "b"]


def race(bucket: str, version: str, rounds: int, start: threading.Barrier, won: list[str]) -> None:
    aliases = ModelStore(bucket, "toy").aliases
    for generation in range(rounds):
        start.wait()
        try:
            aliases.promote(version, alias="production", expected_generation=generation)
            won.append(version)
        except AliasConflict:
            pass


def test_of_two_promoters_exactly_one_wins_each_time(bucket: str, store: ModelStore) -> None:
    rounds = 8
    won: list[str] = []
    barrier = threading.Barrier(2)
    threads = [
        threading.Thread(target=race, args=(bucket, version, rounds, barrier, won))
        for version in ("a", "b")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == rounds
    assert [generation for _, generation, _ in moves(store)] == list(range(1, rounds + 1))
    assert store.aliases.history()[-1] == store.aliases.get("production")


def once(wanted: Callable[[Asked], bool], fault: Fault) -> Callable[[Asked], Fault | None]:
    """Return a `fault` function for the first matching request only."""
    seen: list[Asked] = []

    def befall(asked: Asked) -> Fault | None:
        if wanted(asked) and not seen:
            seen.append(asked)
            return fault
        return None

    return befall


def moves_alias(asked: Asked) -> bool:
    return asked.method == "PUT" and "/aliases/" in asked.path


@pytest.mark.parametrize("generation", [0, 1])
def test_a_move_whose_answer_is_lost_is_made_once(
    store: ModelStore, bucket: str, proxy: Proxy, generation: int
) -> None:
    """The driver's retry fails the condition because its first attempt succeeded."""
    for _ in range(generation):
        store.aliases.promote("a", alias="production")
    proxy.fault = once(moves_alias, Fault(loses_answer=True))
    aliases = ModelStore(bucket, "toy").aliases
    move = aliases.promote("b", alias="production")
    assert sum(map(moves_alias, proxy.asked)) == 2
    assert aliases.get("production") == move
    assert move.generation == generation + 1
    assert len(aliases.history()) == generation + 1


@pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
def test_a_store_that_ignores_conditions_is_found_out_and_warned_of(
    store: ModelStore, bucket: str, proxy: Proxy, header: str, caplog: pytest.LogCaptureFixture
) -> None:
    store.aliases.promote("a", alias="production")
    assert not caplog.records
    proxy.fault = lambda asked: Fault(drops_header=header)
    with caplog.at_level(logging.WARNING, "gnnrec.registry"):
        ModelStore(bucket, "toy").aliases.promote("b", alias="production")
    assert "has no conditional writes" in caplog.messages[0]
    assert store.aliases.get("production").version == "b"


def test_a_damaged_alias_is_named(store: ModelStore, bucket: str) -> None:
    S3Objects(bucket).create("toy/aliases/production.json", b"{}")
    with pytest.raises(AliasCorrupt, match=r"production\.json is damaged"):
        store.aliases.get("production")


def test_any_protocol_of_fsspec_will_do_and_lacks_are_said(
    bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = "memory://registry"
    made.publish(url, version="a").verify()
    store = ModelStore(url, "toy")
    store.aliases.promote("a", alias="production")
    assert "memory://registry has no conditional writes" in caplog.messages[0]
    assert moves(store) == [("production", 1, "a")]
    assert store.prune(0) == []
