import numpy as np

from gnnrec_training.evaluation.slices import by_activity, slices
from gnnrec_training.graph.sparse import by_user
from tests.training.boards import interactions


def test_slices_part_users_by_activity_and_items_by_interactions() -> None:
    """Nine users with 1..9 of nine items; item i is had by 9 - i of them."""
    pairs = [(user, item) for user in range(9) for item in range(user + 1)]
    parts = slices(by_user(interactions(pairs), 9), 9)
    assert np.bincount(parts.user_slice).tolist() == [3, 3, 3]
    assert parts.user_names == ["1 to 3 interactions", "4 to 6 interactions", "7 to 9 interactions"]
    mass = [sum(9 - item for item in np.flatnonzero(parts.item_slice == part)) for part in range(3)]
    assert sum(mass) == 45
    assert max(mass) - min(mass) <= 9
    rows = by_activity(np.arange(9), {"recall@1": np.arange(9.0)}, parts)
    assert [row["metrics"]["recall@1"] for row in rows] == [1, 4, 7]
