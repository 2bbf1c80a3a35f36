"""Shadows: the candidate computes again what the stable version has answered, and is compared."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gnnrec import Query
from gnnrec_registry import Candidate, ModelStore
from gnnrec_server.query.queries import KnownUser
from gnnrec_server.query.routing import is_in_share
from tests import made
from tests.server.rollout.test_aliases import wait_for
from tests.server.running import Running, running, scrape
from tests.server.trying import PEOPLE, publish_three, sides, trial, try_out


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return publish_three(tmp_path)


@pytest.fixture
def server(store: ModelStore) -> Iterator[Running]:
    with running(store.layout.root) as here:
        yield here


def test_a_shadow_answers_nobody_and_is_compared(store: ModelStore, server: Running) -> None:
    export = made.export(made.embeddings(200, 4, 0), 1.1 * made.embeddings(30, 4, 1))
    store.publish(export, version="same")  # the same order, scores a tenth larger
    try_out(store, server, "same", shadow=True)
    assert set(sides(server).values()) == {"old"}
    server.client.batch_top_k([Query("u6"), Query("u7")])
    wait_for(lambda: trial(server).shadowed.compared >= 150, "the shadow has computed")
    wait_for(lambda: _computed(server) == 202, "the rest is computed or dropped")
    seen = trial(server)
    assert (seen.shadow, seen.percent, seen.candidate.requests) == (True, 0, 0)
    compared = seen.shadowed
    assert compared.failed == 0
    assert compared.overlap > 0.99
    # u3 has had every item, so nothing of theirs drifts
    assert compared.score_drift == pytest.approx(0.1, rel=0.01)
    assert 0 < compared.p50_ms <= compared.p99_ms
    labels = (("alias", "production"), ("version", "same"))
    got = scrape(server)
    assert got["gnnrec_shadow_overlap_count", labels] == compared.compared
    assert got["gnnrec_shadow_requests_total", (labels[0], ("result", "compared"), labels[1])] > 0
    assert got["gnnrec_trial_percent", labels] == 0
    store.aliases.rollback(alias="production")
    wait_for(lambda: server.client.get_model().trials == (), "the trial has ended")
    wait_for(
        lambda: not [name for name, has in scrape(server) if has == labels],
        "its series are gone",
    )


def test_a_shadow_computes_scores_too_and_they_have_no_overlap(
    store: ModelStore, server: Running
) -> None:
    export = made.export(made.embeddings(200, 4, 0), 1.1 * made.embeddings(30, 4, 1))
    store.publish(export, version="same")
    try_out(store, server, "same", shadow=True)
    for person in PEOPLE[:20]:
        server.client.score(["i1", "nobody", "i2"], user_id=person)
    wait_for(lambda: trial(server).shadowed.compared == 20, "the shadow has computed")
    only_scores = trial(server).shadowed
    assert (only_scores.scored, only_scores.failed, only_scores.overlap) == (20, 0, 0)
    assert only_scores.score_drift == pytest.approx(0.1, rel=1e-4)
    assert 0 < only_scores.p50_ms <= only_scores.p99_ms
    for person in PEOPLE[10:20]:
        server.client.top_k(person, k=5)
    wait_for(lambda: trial(server).shadowed.compared == 30, "the shadow has computed")
    both = trial(server).shadowed
    assert (both.scored, both.overlap) == (20, 1)
    labels = (("alias", "production"), ("version", "same"))
    got = scrape(server)
    assert got["gnnrec_shadow_overlap_count", labels] == 10
    assert got["gnnrec_shadow_score_drift_count", labels] == 30
    assert got["gnnrec_shadow_duration_seconds_count", labels] == 30


def _computed(server: Running) -> int:
    shadowed = trial(server).shadowed
    return shadowed.compared + shadowed.dropped


def test_a_shadow_that_is_slow_drops_and_holds_nobody_up(
    store: ModelStore, server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    shadow = server.server.shadow
    compute = shadow._compute

    def held(*arguments: Any) -> None:
        assert go_on.wait(20)
        compute(*arguments)

    monkeypatch.setattr(shadow, "_compute", held)
    try_out(store, server, "poor", percent=50, shadow=True)
    try:
        old = [
            person
            for person in PEOPLE
            if not is_in_share(Candidate(version="poor", percent=50), KnownUser(person))
        ]
        for person in [*old, *old, *old, *old]:
            assert server.client.top_k(person, k=1).version == "old"
        assert trial(server).shadowed.dropped == 4 * len(old) - 256
    finally:
        go_on.set()
    wait_for(lambda: trial(server).shadowed.failed > 50, "the rest is computed")
    assert trial(server).shadowed.compared <= 20, "it knows five people"
