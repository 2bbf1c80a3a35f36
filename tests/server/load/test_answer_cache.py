"""Ready answers: the same bytes as computed ones, gone with what they were computed from."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gnnrec_protos.v1 import recommender_pb2 as pb
from gnnrec_registry import ModelStore
from tests import made
from tests.server.running import Running, running, scrape
from tests.server.waiting import until

REQUEST = pb.TopKRequest(user_id="u0", k=3)


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    for number in (1, 2):
        made.publish(tmp_path, version=f"v{number}", seed=number)
    ModelStore(tmp_path, "toy").aliases.promote("v1", alias="production")
    return tmp_path


@pytest.fixture
def server(registry: Path) -> Iterator[Running]:
    with running(registry) as here:
        yield here


def lookups(server: Running) -> tuple[float, float]:
    """Return hits and misses."""
    got = scrape(server)
    name = "gnnrec_cache_lookups_total"
    return got[name, (("result", "hit"),)], got[name, (("result", "miss"),)]


def test_a_request_that_comes_again_gets_the_same_answer_and_is_counted_alike(
    server: Running,
) -> None:
    answers = [server.recommender.TopK(REQUEST) for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
    assert lookups(server) == (2, 1)
    got = scrape(server)
    own = (("code", "OK"), ("rpc", "TopK"), ("variant", "lightgcn"), ("version", "v1"))
    assert got["gnnrec_requests_total", own] == 3
    assert got["gnnrec_requested_k_count", ()] == 3
    assert got["gnnrec_cache_bytes", ()] > 0


def test_everything_that_a_request_says_tells_it_from_others(server: Running) -> None:
    others = [
        pb.TopKRequest(user_id="u0", k=4),
        pb.TopKRequest(user_id="u0", k=3, include_seen=True),
        pb.TopKRequest(user_id="u0", k=3, with_probabilities=True),
        pb.TopKRequest(user_id="u0", k=3, exclude_item_ids=["i5"]),
        pb.TopKRequest(user_id="u1", k=3),
        pb.TopKRequest(item_id="i1", k=3),
    ]
    fresh = [server.recommender.TopK(each) for each in (REQUEST, *others)]
    assert lookups(server) == (0, 7)
    assert [server.recommender.TopK(each) for each in (REQUEST, *others)] == fresh
    assert lookups(server) == (7, 7)


def test_a_swap_forgets_every_answer(server: Running, registry: Path) -> None:
    before = server.recommender.TopK(REQUEST)
    assert before == server.recommender.TopK(REQUEST)
    ModelStore(registry, "toy").aliases.promote("v2", alias="production")
    until(lambda: server.recommender.TopK(REQUEST).version == "v2")
    after = server.recommender.TopK(REQUEST)
    assert list(after.scores) != list(before.scores)


def test_what_changes_no_answer_forgets_none(server: Running, registry: Path) -> None:
    """A version that no alias names, an alias that is not served, an alias moved to itself."""
    server.recommender.TopK(REQUEST)
    made.publish(registry, version="v3", seed=3)
    store = ModelStore(registry, "toy")
    store.aliases.promote("v3", alias="private")
    store.aliases.promote("v1", alias="production")
    recommender, rollout = server.server.recommender, server.server.rollout
    until(lambda: "v3" in recommender.serving.known_versions)
    until(lambda: "private" in recommender.serving.known_aliases)
    until(lambda: rollout.moves["production"].generation == 2)
    server.recommender.TopK(REQUEST)
    assert lookups(server) == (1, 1)


def test_errors_newcomers_and_unknown_ids_are_never_kept(server: Running) -> None:
    """Every one is computed, so that the metrics count it."""
    request = pb.TopKRequest(user_id="u0", k=3, exclude_item_ids=["nope"])
    for _ in range(2):
        server.recommender.TopK(request)
    assert lookups(server) == (0, 2)
    assert scrape(server)["gnnrec_unknown_ids_total", (("kind", "listed_item"),)] == 2


def test_it_stays_within_its_size(registry: Path) -> None:
    with running(registry, cache_bytes=1200) as server:
        for k in range(1, 8):
            server.recommender.TopK(pb.TopKRequest(user_id="u0", k=k))
        assert 0 < scrape(server)["gnnrec_cache_bytes", ()] <= 1200
        server.recommender.TopK(pb.TopKRequest(user_id="u0", k=7))  # the last is there
        server.recommender.TopK(pb.TopKRequest(user_id="u0", k=1))  # the first is not
        assert lookups(server) == (1, 8)


def test_it_can_be_switched_off(registry: Path) -> None:
    with running(registry, cache_bytes=0) as server:
        assert server.recommender.TopK(REQUEST) == server.recommender.TopK(REQUEST)
        assert lookups(server) == (0, 0)
