"""A version on trial beside the one that an alias names."""

import json
from pathlib import Path

import pytest

from gnnrec_registry import Guard, ModelStore
from gnnrec_registry.aliases.aliases import Aliases
from gnnrec_registry.errors import (
    AliasConflict,
    InvalidTrial,
    NoSuchAlias,
    NoSuchVersion,
    NothingToRollBack,
)
from tests import made


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    for name in ("a", "b", "c", "d"):
        made.publish(tmp_path, version=name)
    return ModelStore(tmp_path, "toy")


@pytest.fixture
def aliases(store: ModelStore) -> Aliases:
    store.aliases.promote("a", alias="production")
    store.aliases.promote("b", alias="production")
    return store.aliases


def test_a_trial_leaves_the_alias_where_it_is(aliases: Aliases) -> None:
    guard = Guard(max_errors=0.01, max_p99_ms=50)
    move = aliases.try_out("c", alias="production", percent=5, guard=guard, who="ann", why="new")
    assert aliases.get("production") == move
    assert (move.version, move.previous, move.generation, move.updated_by) == ("b", "b", 3, "ann")
    assert move.candidate is not None
    assert (move.candidate.version, move.candidate.percent) == ("c", 5)
    assert move.candidate.guard == guard
    assert aliases.history("production")[-1] == move


def test_a_reader_that_knows_nothing_of_trials_sees_the_named_version(
    aliases: Aliases, tmp_path: Path
) -> None:
    aliases.try_out("c", alias="production", shadow=True)
    raw = json.loads((tmp_path / "toy" / "aliases" / "production.json").read_bytes())
    assert (raw["version"], raw["action"]) == ("b", "promote")


def test_promoting_and_rolling_back_end_a_trial(aliases: Aliases) -> None:
    aliases.try_out("c", alias="production", percent=5)
    aliases.try_out("c", alias="production", percent=50)
    ended = aliases.rollback(alias="production")
    assert (ended.version, ended.action, ended.candidate) == ("b", "rollback", None)
    assert aliases.rollback(alias="production").version == "a", "the next one goes on from there"
    aliases.try_out("c", alias="production", percent=5)
    assert aliases.promote("c", alias="production").candidate is None
    assert aliases.rollback(alias="production").version == "a"


@pytest.mark.parametrize("percent", [-1, 0, 100, 101])
def test_a_trial_has_a_share_or_a_shadow(aliases: Aliases, percent: float) -> None:
    with pytest.raises(InvalidTrial, match="above 0 and below 100 percent, or a shadow"):
        aliases.try_out("c", alias="production", percent=percent)
    assert aliases.get("production").candidate is None


def test_what_cannot_be_tried_changes_nothing(aliases: Aliases) -> None:
    with pytest.raises(InvalidTrial, match="names 'b' already"):
        aliases.try_out("b", alias="production", percent=5)
    with pytest.raises(InvalidTrial, match="give the trial a percentage"):
        aliases.try_out("c", alias="production", shadow=True, guard=Guard(max_errors=0.1))
    with pytest.raises(NoSuchVersion, match="nothing was moved"):
        aliases.try_out("z", alias="production", percent=5)
    with pytest.raises(NoSuchAlias):
        aliases.try_out("c", alias="canary", percent=5)
    with pytest.raises(AliasConflict):
        aliases.try_out("c", alias="production", percent=5, expected_generation=1)
    assert aliases.get("production").generation == 2


def test_a_rollback_may_expect_a_generation(aliases: Aliases) -> None:
    aliases.try_out("c", alias="production", percent=5)
    with pytest.raises(AliasConflict, match="is at generation 3, not 2"):
        aliases.rollback(alias="production", expected_generation=2)
    aliases.rollback(alias="production", expected_generation=3)
    assert aliases.get("production").candidate is None


def test_rolling_back_to_any_version_that_was_named(aliases: Aliases) -> None:
    aliases.promote("c", alias="production")
    aliases.rollback(alias="production", to="a")
    assert aliases.rollback(alias="production", to="c").version == "c"
    aliases.try_out("d", alias="production", percent=5)
    assert aliases.rollback(alias="production", to="b").candidate is None
    for never in ("d", "b", "z"):
        with pytest.raises(NothingToRollBack, match="it can go back to: c, a"):
            aliases.rollback(alias="production", to=never)


def test_what_is_tried_is_never_pruned(store: ModelStore, aliases: Aliases) -> None:
    aliases.try_out("c", alias="production", percent=5)
    assert store.prune(0) == ["d"]
    aliases.rollback(alias="production")
    assert store.prune(0) == ["c"]
