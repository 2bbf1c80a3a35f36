"""Three versions for trials, and helpers that read what a running server counts of a trial."""

from pathlib import Path
from typing import Any

from gnnrec import Error, Query
from gnnrec.client.answers import Trial
from gnnrec_registry import ModelStore
from tests import made
from tests.server.rollout.test_aliases import wait_for
from tests.server.running import Running

PEOPLE = [f"u{row}" for row in range(200)]


def publish_three(root: Path) -> ModelStore:
    """Publish two versions that know 200 people, and one that knows five of them."""
    for seed, (version, people) in enumerate((("old", 200), ("new", 200), ("poor", 5))):
        made.publish(root, version=version, seed=seed, people=people)
    store = ModelStore(root, "toy")
    store.aliases.promote("old", alias="production")
    return store


def try_out(store: ModelStore, server: Running, version: str, **how: Any) -> None:
    """Begin or change a trial, and wait until the server takes part in it."""
    move = store.aliases.try_out(version, alias="production", **how)
    serving = server.server.recommender
    wait_for(lambda: serving.serving.candidates.get("production") == move.candidate, "it is tried")


def sides(server: Running) -> dict[str, str]:
    """Return the version that answers each person."""
    answers = server.client.batch_top_k([Query(person, k=1) for person in PEOPLE])
    return {
        person: "" if isinstance(answer, Error) else answer.version
        for person, answer in zip(PEOPLE, answers, strict=True)
    }


def trial(server: Running) -> Trial:
    (found,) = server.client.get_model().trials
    return found


def settle(server: Running) -> None:
    """Return once every request that has ended is counted, recomputed ones included."""
    server.client.get_model()
    wait_for(lambda: server.server.faults.waiting == 0, "failures are looked into")
