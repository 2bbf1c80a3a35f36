"""Canary, shadow and guard on a running server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnnrec import Error
from gnnrec_protos.v1 import recommender_pb2 as pb
from gnnrec_registry import Candidate, Guard, ModelStore
from gnnrec_server.query.queries import (
    Interaction,
    KnownItem,
    KnownUser,
    NewItem,
    NewUser,
    Subject,
    Vector,
)
from gnnrec_server.query.routing import is_in_share
from tests.server.rollout.test_aliases import wait_for
from tests.server.running import Running, running, scrape
from tests.server.trying import PEOPLE, publish_three, settle, sides, trial, try_out

LEVEL = pb.AttributeFilter(field="level", any_of=pb.TextList(values=["beginner"]))


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return publish_three(tmp_path)


@pytest.fixture
def server(store: ModelStore) -> Iterator[Running]:
    with running(store.layout.root, served_aliases=("next",)) as here:
        yield here


SUBJECTS: list[Subject] = [
    KnownUser("someone"),
    KnownItem("something"),
    Vector(np.array([1.0, 2.0], np.float32)),
    NewUser((Interaction("i1"),), {"age": 3}),
    NewItem({"topic": ["a", "b"]}),
]


@settings(max_examples=30)
@given(percents=st.tuples(st.floats(0.01, 99.9), st.floats(0.01, 99.9)), name=st.text())
def test_a_larger_share_keeps_those_of_a_smaller(percents: tuple[float, float], name: str) -> None:
    few, many = (Candidate(version="new", percent=percent) for percent in sorted(percents))
    for subject in [*SUBJECTS, KnownUser(name.encode(errors="ignore").decode())]:
        assert is_in_share(few, subject) <= is_in_share(many, subject)
        assert is_in_share(few, subject) == is_in_share(few, subject)


@pytest.mark.parametrize("percent", [1.0, 5.0, 50.0, 99.0])
def test_the_share_is_what_was_asked_for_and_each_trial_takes_others(percent: float) -> None:
    people = [KnownUser(f"person-{number}") for number in range(20_000)]
    chosen = {
        version: {each.user_id for each in people if is_in_share(candidate, each)}
        for version in ("v1", "v2")
        for candidate in [Candidate(version=version, percent=percent)]
    }
    spread = 4 * (20_000 * percent / 100 * (1 - percent / 100)) ** 0.5
    for taken in chosen.values():
        assert abs(len(taken) - 200 * percent) < spread
    assert chosen["v1"] != chosen["v2"]


def test_each_person_stays_on_one_side_and_only_moves_to_the_new(
    store: ModelStore, server: Running
) -> None:
    assert set(sides(server).values()) == {"old"}
    taken: set[str] = set()
    for percent in (5, 30, 80):
        try_out(store, server, "new", percent=percent)
        first = sides(server)
        assert sides(server) == first
        now = {person for person, version in first.items() if version == "new"}
        assert taken < now
        taken = now
    with running(store.layout.root) as other:
        assert sides(other) == first, "every server puts everyone on the same side"
    store.aliases.promote("new", alias="production")
    wait_for(lambda: set(sides(server).values()) == {"new"}, "all are answered by the new")
    assert server.client.get_model().trials == ()


def test_every_call_of_a_person_is_answered_by_the_same_side(
    store: ModelStore, server: Running
) -> None:
    try_out(store, server, "new", percent=50)
    alone = {person: server.client.top_k(person, k=1).version for person in PEOPLE}
    assert sides(server) == alone
    for person in PEOPLE[:20]:
        assert server.client.score(["i1"], user_id=person).version == alone[person]
        assert server.client.top_k(person, version="old").version == "old"
        assert server.client.top_k(person, version="new").version == "new"
    seen = trial(server)
    assert (seen.stable.requests + seen.candidate.requests) == 2 * 200 + 20, "by alias alone"
    assert seen.candidate.requests > 100
    assert seen.candidate.errors == seen.stable.errors == 0
    assert 0 < seen.candidate.p50_ms <= seen.candidate.p99_ms


def test_failures_are_those_of_the_side_that_failed(store: ModelStore, server: Running) -> None:
    try_out(store, server, "poor", percent=50)
    poor = Candidate(version="poor", percent=50)
    unlucky = [person for person in PEOPLE[5:] if is_in_share(poor, KnownUser(person))]
    failed = len(unlucky)
    for person in PEOPLE[5:]:
        if person in unlucky:
            with pytest.raises(Error, match="version 'poor' has no user"):
                server.client.top_k(person, k=1)
        else:
            assert server.client.top_k(person, k=1).version == "old"
    assert list(sides(server).values()).count("") == failed
    wait_for(lambda: trial(server).candidate.errors == 2 * failed, "the failures are counted")
    assert trial(server).stable.errors == 0
    assert failed > 50
    side = {"alias": "production", "version": "poor", "side": "candidate"}
    counted = tuple(sorted((side | {"result": "failed"}).items()))
    assert scrape(server)["gnnrec_trial_requests_total", counted] == 2 * failed
    timed = tuple(sorted(side.items()))
    assert scrape(server)["gnnrec_trial_duration_seconds_count", timed] == failed
    labels = {"rpc": "TopK", "version": "poor", "variant": "", "code": "NOT_FOUND"}
    assert scrape(server)["gnnrec_requests_total", tuple(sorted(labels.items()))] == failed


def test_a_guard_returns_to_the_old_version_and_the_history_says_why(
    store: ModelStore, server: Running
) -> None:
    guard = Guard(max_errors=0.2, min_requests=20)
    try_out(store, server, "poor", percent=50, guard=guard)
    sides(server)
    wait_for(lambda: store.aliases.get("production").candidate is None, "the trial is ended")
    move = store.aliases.history("production")[-1]
    assert (move.version, move.action, move.updated_by) == (
        "old", "rollback", "gnnrec serve (guard)",
    )  # fmt: skip
    assert move.why.startswith("trial of poor ended: ")
    assert "requests failed, 0.0% of those of old; 20.0% more are allowed" in move.why
    wait_for(lambda: set(sides(server).values()) == {"old"}, "all are answered by the old")
    key = "gnnrec_guard_returns_total", (("alias", "production"), ("result", "returned"))
    wait_for(lambda: scrape(server).get(key) == 1, "the return is counted")


def mine(version: str, percent: float = 50) -> list[str]:
    """Return the people whom a candidate answers."""
    candidate = Candidate(version=version, percent=percent)
    return [person for person in PEOPLE if is_in_share(candidate, KnownUser(person))]


BY_CALLERS: dict[str, dict[str, Any]] = {
    "no items are asked for": {"k": 0},
    "a variant that no version has": {"k": 1, "variant": "none"},
    "an attribute that no version has": {"k": 1, "filters": [LEVEL]},
    "both lists": {"k": 1, "exclude_item_ids": ["i1"], "allow_item_ids": ["i2"]},
}


@pytest.mark.parametrize("asked", BY_CALLERS.values(), ids=BY_CALLERS.keys())
def test_what_callers_do_wrong_is_no_verdict_on_a_candidate(
    store: ModelStore, server: Running, asked: dict[str, Any]
) -> None:
    try_out(store, server, "new", percent=50, guard=Guard(max_errors=0.01, min_requests=5))
    people = mine("new")
    for person in people[:30]:
        with pytest.raises(grpc.RpcError):
            server.recommender.TopK(pb.TopKRequest(user_id=person, **asked))
    server.recommender.BatchTopK(
        pb.BatchTopKRequest(
            requests=[pb.TopKRequest(user_id=person, **asked) for person in people[:30]]
        )
    )
    settle(server)
    seen = trial(server)
    assert (seen.candidate.requests, seen.candidate.errors) == (0, 0)
    assert store.aliases.get("production").candidate is not None


def test_users_whom_nobody_knows_are_no_verdict_and_lost_ones_are(
    store: ModelStore, server: Running
) -> None:
    try_out(store, server, "poor", percent=99)
    strangers = [f"stranger-{number}" for number in range(30)]
    for person in [*strangers, *mine("poor", 99)[-5:]]:
        with pytest.raises(Error):
            server.client.top_k(person, k=1)
        with pytest.raises(Error):
            server.client.score(["i1"], user_id=person)
    settle(server)
    seen = trial(server)
    assert (seen.candidate.requests, seen.candidate.errors) == (10, 10), "those that old knows"


def test_a_guard_ends_only_the_move_that_it_has_judged(store: ModelStore, server: Running) -> None:
    """Who moves the alias between the look and the verdict has decided otherwise."""
    try_out(store, server, "poor", percent=50)
    judged = server.server.trials.running["production"]
    store.aliases.promote("new", alias="production")
    server.run(server.server.guard._end(judged, "it is poor"))
    assert store.aliases.get("production").version == "new"
    assert store.aliases.get("production").action == "promote"
    key = "gnnrec_guard_returns_total", (("alias", "production"), ("result", "overtaken"))
    assert scrape(server)[key] == 1


def test_a_guard_goes_on_when_a_trial_ends_while_another_is_judged(
    store: ModelStore, server: Running
) -> None:
    store.aliases.promote("old", alias="next")
    guard = Guard(max_errors=0.2, min_requests=20)
    for alias in ("next", "production"):
        store.aliases.try_out("poor", alias=alias, percent=50, guard=guard)
    trials = server.server.trials
    wait_for(lambda: len(trials.running) == 2, "both are tried")
    ended = trials.running["next"]
    store.aliases.rollback(alias="next")
    wait_for(lambda: len(trials.running) == 1, "one has ended")
    assert not trials.is_running(ended)
    server.run(server.server.guard._judge(ended))

    def is_ended() -> bool:
        sides(server)  # what fails while this machine is busy is no verdict: more may be needed
        return store.aliases.get("production").candidate is None

    wait_for(is_ended, "the other is ended")


def test_a_guard_that_cannot_write_says_so_and_tries_again(
    store: ModelStore, server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    try_out(store, server, "poor", percent=50, guard=Guard(max_errors=0.2, min_requests=20))
    lock = store.layout.lock
    lock.unlink()
    lock.mkdir()  # nobody can take it
    key = "gnnrec_guard_returns_total", (("alias", "production"), ("result", "failed"))
    assert scrape(server)[key] == 0, "seen from the start, so that the first is a rise"
    sides(server)
    wait_for(lambda: scrape(server)[key] > 1, "it has tried twice")
    assert store.aliases.get("production").candidate is not None
    said = [each for each in caplog.messages if "cannot be ended" in each]
    assert len(said) == 1
    assert said[0].startswith("alias production: the trial of poor cannot be ended: ")
    assert "requests failed" in said[0]
    lock.rmdir()
    wait_for(lambda: store.aliases.get("production").candidate is None, "the trial is ended")


def test_a_candidate_that_cannot_be_served_answers_nobody_and_that_is_said(
    store: ModelStore, server: Running
) -> None:
    (store.layout.version("new") / "users.ids").unlink()
    store.aliases.try_out("new", alias="production", percent=50)
    wait_for(lambda: "new" in server.server.rollout.refusals, "new is refused")
    wait_for(lambda: "users.ids is missing" in trial(server).problem, "the reason is said")
    waiting = "gnnrec_trial_waiting", (("alias", "production"), ("version", "new"))
    assert scrape(server)[waiting] == 1
    assert set(sides(server).values()) == {"old"}
    states = {each.version: each.state for each in server.client.list_versions()}
    assert states["new"] == "refused"


def test_an_alias_says_what_it_names_answers_and_tries(store: ModelStore, server: Running) -> None:
    store.aliases.promote("new", alias="elsewhere")
    try_out(store, server, "new", percent=50)
    told = {
        each.name: (each.version, each.served_version, each.candidate)
        for each in server.client.get_model().aliases
    }
    assert told == {"production": ("old", "old", "new"), "elsewhere": ("new", "", "")}
