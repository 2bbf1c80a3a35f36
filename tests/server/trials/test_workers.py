"""A trial on a server of several processes, whose counts are added up and judged together."""

from pathlib import Path

from gnnrec import Client, Query
from gnnrec.client.answers import Trial
from gnnrec_registry import Candidate, Guard, ModelStore
from gnnrec_server.query.queries import KnownUser
from gnnrec_server.query.routing import is_in_share
from tests import made
from tests.server.scraping import key, parse, scraped_text
from tests.server.test_workers import serving
from tests.server.waiting import until

CONNECTIONS = 24
POOR = Candidate(version="poor", percent=50)
MINE = [f"u{row}" for row in range(5, 200) if is_in_share(POOR, KnownUser(f"u{row}"))]
OTHERS = [f"u{row}" for row in range(5, 200) if not is_in_share(POOR, KnownUser(f"u{row}"))]


def trials(address: str) -> list[Trial]:
    """Return the trial as connections of their own, which fall to either worker, are told of it."""
    found: list[Trial] = []
    for _ in range(CONNECTIONS):
        with Client(address, timeout_s=10) as client:
            found += client.get_model().trials
    return found


def test_a_trial_is_counted_and_judged_over_all_workers(tmp_path: Path) -> None:
    made.publish(tmp_path, version="old", people=200)
    made.publish(tmp_path, version="poor", people=5)
    aliases = ModelStore(tmp_path, "toy").aliases
    aliases.promote("old", alias="production")
    guard = Guard(max_errors=0.1, min_requests=CONNECTIONS)
    with serving(tmp_path, "--workers", "2", "--poll-interval", "0.1") as (_, address, metrics):
        aliases.try_out("poor", alias="production", percent=50, shadow=True, guard=guard)
        until(lambda: [each.problem for each in trials(address)] == [""] * CONNECTIONS, 20)
        for person in OTHERS[:CONNECTIONS]:
            with Client(address, timeout_s=10) as client:
                client.top_k(person, k=2)
                client.score(["i1"], user_id=person)
        told = {
            (each.stable.requests, each.stable.errors, each.candidate.requests, each.began_at)
            for each in trials(address)
        }
        ((requests, *nothing, _),) = told  # whichever worker is asked
        assert (requests, nothing) == (2 * CONNECTIONS, [0, 0])
        until(lambda: trials(address)[0].shadowed.failed == 2 * CONNECTIONS)

        # Each worker has seen less than the guard wants; together they have seen enough.
        for person in MINE[:CONNECTIONS]:
            with Client(address, timeout_s=10) as client:
                client.batch_top_k([Query(person, k=1)])
        until(lambda: aliases.get("production").candidate is None, 20)
        move = aliases.history("production")[-1]
        assert (move.generation, move.updated_by) == (3, "gnnrec serve (guard)")
        assert f"100.0% of its last {CONNECTIONS} requests failed" in move.why
        until(lambda: not trials(address), 20)
        got = parse(scraped_text(metrics))
        failed = key(
            "gnnrec_trial_requests_total",
            alias="production", version="poor", side="candidate", result="failed",
        )  # fmt: skip
        assert got[failed] == CONNECTIONS
        returned = key("gnnrec_guard_returns_total", alias="production", result="returned")
        assert got[returned] == 1
