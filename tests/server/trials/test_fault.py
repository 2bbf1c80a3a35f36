"""Whose fault a failed or slow request is, on a running server with a trial."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from gnnrec_protos.v1 import recommender_pb2 as pb
from gnnrec_registry import Candidate, Guard, ModelStore
from gnnrec_server.query import plan
from gnnrec_server.query.queries import KnownUser, Limits
from gnnrec_server.query.routing import is_in_share
from gnnrec_server.rpc.exchanges import AskedMessage
from gnnrec_server.trials import fault
from gnnrec_server.trials.trials import Trial
from gnnrec_server.version.snapshot import Snapshot
from tests import made, unseen
from tests.server.rollout.test_aliases import wait_for
from tests.server.running import Running, running
from tests.server.trying import PEOPLE, publish_three, settle, trial, try_out

PERCENT = 99.0
"""The candidate answers nearly everyone."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    with running(publish_three(tmp_path).layout.root) as here:
        yield here


def stored(server: Running) -> ModelStore:
    return server.server.rollout.store


def mine(version: str, percent: float = 50) -> list[str]:
    """Return the people whom a candidate answers."""
    candidate = Candidate(version=version, percent=percent)
    return [person for person in PEOPLE if is_in_share(candidate, KnownUser(person))]


def ask(call: Any, request: Any) -> grpc.StatusCode:
    """Return the code that a call ends with."""
    try:
        call(request, timeout=10)
    except grpc.RpcError as error:
        code = error.code()
        assert isinstance(code, grpc.StatusCode)
        return code
    return grpc.StatusCode.OK


def counted(server: Running) -> tuple[int, int]:
    """Return how many requests and failures of the candidate there are."""
    settle(server)
    seen = trial(server)
    return seen.candidate.requests, seen.candidate.errors


NEWCOMERS_OF_CALLERS: dict[str, list[pb.TopKRequest]] = {
    "items that no version knows": [
        pb.TopKRequest(k=1, new_user=pb.NewUser(interactions=[pb.Interaction(item_id=f"x{row}")]))
        for row in range(20)
    ],
    "a text where all want a number": [
        pb.TopKRequest(
            k=1,
            variant="sage",
            new_user=pb.NewUser(features={"age": pb.FeatureValue(text=f"old {row}")}),
        )
        for row in range(20)
    ],
    "features that no version has": [
        pb.TopKRequest(
            k=1,
            variant="sage",
            new_item=pb.NewItem(features={f"colour {row}": pb.FeatureValue(text="red")}),
        )
        for row in range(20)
    ],
}


@pytest.mark.parametrize("requests", NEWCOMERS_OF_CALLERS.values(), ids=NEWCOMERS_OF_CALLERS.keys())
def test_newcomers_whom_nobody_could_embed_are_no_verdict(
    tmp_path: Path, requests: list[pb.TopKRequest]
) -> None:
    for version in ("old", "new"):
        unseen.publish(tmp_path, version, sage=unseen.sage())
    store = ModelStore(tmp_path, "toy")
    store.aliases.promote("old", alias="production")
    with running(tmp_path) as server:
        guard = Guard(max_errors=0.01, min_requests=5)
        try_out(store, server, "new", percent=PERCENT, guard=guard)
        codes = {ask(server.recommender.TopK, request) for request in requests}
        assert codes == {grpc.StatusCode.INVALID_ARGUMENT}
        server.recommender.BatchTopK(pb.BatchTopKRequest(requests=requests))
        assert counted(server) == (0, 0)
        assert store.aliases.get("production").candidate is not None


def test_a_candidate_that_embeds_no_newcomers_any_more_is_to_blame(tmp_path: Path) -> None:
    unseen.publish(tmp_path, "old", lightgcn=unseen.lightgcn())
    alone = replace(unseen.lightgcn(), fold_in=None, fold=None)
    unseen.publish(tmp_path, "new", lightgcn=alone)
    store = ModelStore(tmp_path, "toy")
    store.aliases.promote("old", alias="production")
    with running(tmp_path) as server:
        try_out(store, server, "new", percent=PERCENT)
        for row in range(20):
            interaction = pb.Interaction(item_id="i1", weight=1 + row)
            user = pb.NewUser(interactions=[interaction])
            ask(server.recommender.TopK, pb.TopKRequest(k=1, new_user=user))
        requests, errors = counted(server)
        assert requests == errors > 10


@contextmanager
def broken(monkeypatch: pytest.MonkeyPatch, versions: Sequence[str]) -> Iterator[None]:
    """Have some versions fail with a defect whenever they are asked for ten items."""
    real = plan.place

    def place(snapshot: Snapshot, *arguments: Any, **named: Any) -> Any:
        if snapshot.version in versions:
            raise ZeroDivisionError("a defect")
        return real(snapshot, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(plan, "place", place)
        yield


@pytest.mark.parametrize(("versions", "blamed"), [(["new"], 20), (["new", "old"], 0)])
def test_a_defect_counts_against_the_version_that_alone_has_it(
    server: Running, monkeypatch: pytest.MonkeyPatch, versions: list[str], blamed: int
) -> None:
    """A request that every version fails at would end any trial otherwise."""
    try_out(stored(server), server, "new", percent=50)
    with broken(monkeypatch, versions):
        for person in mine("new")[:20]:
            code = ask(server.recommender.TopK, pb.TopKRequest(user_id=person, k=1))
            assert code is grpc.StatusCode.INTERNAL
        assert counted(server) == (blamed, blamed)


@pytest.mark.parametrize(
    "code",
    ["RESOURCE_EXHAUSTED", "UNAVAILABLE", "UNAUTHENTICATED", "CANCELLED", "DEADLINE_EXCEEDED"],
)
def test_what_says_nothing_of_the_version_is_not_even_looked_into(
    server: Running, code: str
) -> None:
    try_out(stored(server), server, "poor", percent=50)
    running_trial = server.server.trials.running["production"]
    asked = AskedMessage(pb.TopKRequest(user_id=mine("poor")[-1], k=1), Limits())

    async def count() -> None:
        for ended in (code, "NOT_FOUND", "OK"):
            server.server.faults.count(running_trial, asked, "poor", ended, 0.001)

    server.run(count())
    assert counted(server) == (2, 1)


class Ticking:
    """A clock by which each version takes as long as it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **seconds: float) -> None:
        self._now = 0.0
        real = fault._compute

        def compute(snapshot: Snapshot, query: Any) -> None:
            real(snapshot, query)
            self._now += seconds[snapshot.version]

        monkeypatch.setattr(fault, "_compute", compute)

    def __call__(self) -> float:
        return self._now


def judged(server: Running, limit_ms: float = 10.0) -> Trial:
    """Return a running trial, given a limit of time after it has begun: nobody ends it."""
    guard = Guard(max_p99_ms=limit_ms, min_requests=5)
    running_trial = server.server.trials.running["production"]
    changed = running_trial.candidate.model_copy(update={"guard": guard})
    return replace(running_trial, candidate=changed)


def verdict(server: Running, judged: Trial) -> str:
    settle(server)
    return judged.verdict(server.server.trials.seen(judged))


def finish(server: Running, on: Trial, code: str, seconds: float, count: int = 100) -> None:
    """Have the candidate finish requests of its people, at once."""
    people = mine("new")

    async def run() -> None:
        for number in range(count):
            asked = AskedMessage(
                pb.TopKRequest(user_id=people[number % len(people)], k=1), Limits()
            )
            server.server.faults.count(on, asked, "new", code, seconds)

    server.run(run())


@pytest.mark.parametrize(
    ("took", "new", "old", "is_slow"),
    [
        pytest.param(0.05, 0.02, 0.001, True, id="alone too, and the other is not"),
        pytest.param(0.05, 0.02, 0.02, False, id="what was asked for takes long"),
        pytest.param(0.05, 0.001, 0.001, False, id="it had waited"),
        pytest.param(0.009, 0.02, 0.001, False, id="nobody has had to wait"),
    ],
)
def test_a_candidate_is_slow_if_it_is_alone_too_and_the_other_is_not(
    server: Running,
    monkeypatch: pytest.MonkeyPatch,
    took: float,
    new: float,
    old: float,
    is_slow: bool,
) -> None:
    try_out(stored(server), server, "new", percent=50)
    monkeypatch.setattr(server.server.faults, "_clock", Ticking(monkeypatch, new=new, old=old))
    on = judged(server)
    finish(server, on, "OK", took)
    said = verdict(server, on)
    assert trial(server).candidate.requests == 100
    assert trial(server).candidate.errors == 0
    if is_slow:
        assert said == (
            "its p99 is above 10 ms: 100.0% of its last 100 requests take longer, and do not "
            "with old"
        )
    else:
        assert said == ""


def test_one_slow_request_in_a_hundred_is_within_the_p99(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    try_out(stored(server), server, "new", percent=50)
    monkeypatch.setattr(server.server.faults, "_clock", Ticking(monkeypatch, new=0.02, old=0.0))
    on = judged(server)
    finish(server, on, "OK", 0.001, 198)
    finish(server, on, "OK", 0.05, 2)
    assert verdict(server, on) == ""
    finish(server, on, "OK", 0.05, 1)
    assert "1.5% of its last 201 requests" in verdict(server, on)


@pytest.mark.parametrize(("new", "blamed"), [(0.02, 100), (0.001, 0)])
def test_a_deadline_counts_against_a_version_that_is_too_slow_and_not_against_a_queue(
    server: Running, monkeypatch: pytest.MonkeyPatch, new: float, blamed: int
) -> None:
    """If all callers' deadlines pass, those failures are the only sign of a slow version."""
    try_out(stored(server), server, "new", percent=50)
    monkeypatch.setattr(server.server.faults, "_clock", Ticking(monkeypatch, new=new, old=0.001))
    on = judged(server)
    finish(server, on, "DEADLINE_EXCEEDED", 0.005)
    assert bool(verdict(server, on)) == bool(blamed)
    assert counted(server) == (blamed, blamed)


def test_a_slow_named_version_is_not_looked_into(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the candidate is judged, so slow requests of the stable version are not recomputed."""
    try_out(stored(server), server, "new", percent=50)
    on = judged(server)

    async def run() -> None:
        asked = AskedMessage(pb.TopKRequest(user_id="u0", k=1), Limits())
        server.server.faults.count(on, asked, "old", "OK", 5.0)
        assert server.server.faults.waiting == 0

    server.run(run())
    assert trial(server).stable.requests == 1


def test_requests_for_much_do_not_end_a_trial_and_a_slow_candidate_does(tmp_path: Path) -> None:
    """With real versions: a limit that both exceed, and one that only the larger exceeds."""
    for seed, (version, items) in enumerate({"old": 30, "new": 30, "slow": 100_000}.items()):
        export = made.export(made.embeddings(200, 64, seed), made.embeddings(items, 64, seed))
        ModelStore(tmp_path, "toy").publish(export, version=version)
    store = ModelStore(tmp_path, "toy")
    store.aliases.promote("old", alias="production")
    with running(tmp_path, cache_bytes=0) as server:
        guard = Guard(max_p99_ms=0.001, min_requests=5)  # neither version is as quick as that
        try_out(store, server, "new", percent=50, guard=guard)
        for person in mine("new")[:40]:
            server.client.top_k(person, k=30)
        assert counted(server) == (40, 0)
        on = server.server.trials.running["production"]
        assert verdict(server, on) == ""
        assert store.aliases.get("production").candidate is not None

        guard = Guard(max_p99_ms=3.0, min_requests=5)
        try_out(store, server, "slow", percent=50, guard=guard)
        for person in mine("slow")[:40]:
            server.client.top_k(person, k=1000)
        wait_for(lambda: store.aliases.get("production").candidate is None, "the trial is ended")
        assert "its p99 is above 3 ms: " in store.aliases.history("production")[-1].why


def test_beyond_a_limit_failures_are_counted_for_nobody_and_what_was_answered_is(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever floods the server with failures keeps it no busier than that."""
    monkeypatch.setattr(fault, "_DEPTH", 3)
    go_on = threading.Event()
    compute: Callable[..., None] = fault._compute

    def held(*arguments: Any) -> None:
        assert go_on.wait(20)
        compute(*arguments)

    monkeypatch.setattr(fault, "_compute", held)
    try_out(stored(server), server, "new", percent=50)
    on = judged(server)
    try:
        finish(server, on, "NOT_FOUND", 0.001, 10)
        assert server.server.faults.waiting == 3
        finish(server, on, "OK", 0.05, 10)
        assert trial(server).candidate.requests == 10
    finally:
        go_on.set()
    assert counted(server) == (13, 3)
    wide = AskedMessage(
        pb.TopKRequest(user_id=mine("new")[0], k=1, exclude_item_ids=["i" * 70_000]), Limits()
    )

    async def run() -> None:
        server.server.faults.count(on, wide, "new", "NOT_FOUND", 0.001)
        assert server.server.faults.waiting == 0

    server.run(run())


def test_what_ends_after_its_trial_counts_for_no_other(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(fault, "_compute", lambda *_: go_on.wait(20))
    store = stored(server)
    try_out(store, server, "new", percent=50)
    try:
        finish(server, server.server.trials.running["production"], "NOT_FOUND", 0.001, 5)
        store.aliases.rollback(alias="production")
        wait_for(lambda: not server.server.trials.running, "the trial has ended")
        try_out(store, server, "new", percent=50)
    finally:
        go_on.set()
    assert counted(server) == (0, 0)
