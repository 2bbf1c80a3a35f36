import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnnrec_registry.scoring.metrics import Hits, narrow

LISTS = st.lists(st.sets(st.integers(1, 300), max_size=6), min_size=1, max_size=30)


def hits(lists: list[set[int]]) -> Hits:
    """Return hits at these ranks of each user, who has one more held-out item than hits."""
    places = [place for place, ranks in enumerate(lists) for _ in ranks]
    ranks = [rank for each in lists for rank in sorted(each)]
    sizes = [len(each) + 1 for each in lists]
    return Hits(*(np.array(part, np.int64) for part in (places, ranks, sizes)))


@given(LISTS)
def test_hits_survive_packing(lists: list[set[int]]) -> None:
    made = hits(lists)
    packed = made.packed()
    assert packed.dtype == (np.uint16 if made.ranks.max(initial=0) > 255 else np.uint8)
    again = Hits.unpacked(packed, narrow(made.held_out))
    for field in ("places", "ranks", "held_out"):
        np.testing.assert_array_equal(getattr(again, field), getattr(made, field))


def test_metrics_of_known_hits() -> None:
    """The users find two of three items at ranks 1 and 4, the only item at rank 2, and nothing."""
    found = hits([{1, 4}, {2}, set()])
    found.held_out[1] = 1
    at_3, at_4 = found.metrics(3), found.metrics(4)
    np.testing.assert_allclose(at_3["recall@3"], [1 / 3, 1, 0])
    np.testing.assert_allclose(at_4["recall@4"], [2 / 3, 1, 0])
    np.testing.assert_allclose(at_4["precision@4"], [0.5, 0.25, 0])
    np.testing.assert_allclose(at_4["hit_rate@4"], [1, 1, 0])
    np.testing.assert_allclose(at_4["mrr@4"], [1, 0.5, 0])
    ideal = 1 + 1 / np.log2(3) + 1 / 2
    second = 1 / np.log2(3)
    np.testing.assert_allclose(at_4["ndcg@4"], [(1 + 1 / np.log2(5)) / ideal, second, 0])


def test_hits_of_other_users_are_refused() -> None:
    with pytest.raises(ValueError, match="3 lists of hits for 2 users"):
        Hits.unpacked(hits([{1}, {2}, set()]).packed(), np.array([1, 1]))
