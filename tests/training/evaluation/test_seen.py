"""What people did not like is not ranked for them, in measurements as in answers."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from gnnrec_registry import VariantExport
from gnnrec_training.config import Config, GraphConfig, SplitConfig
from gnnrec_training.data.dataset import Dataset, Interactions
from gnnrec_training.data.split import foreseen
from gnnrec_training.evaluation.measurement import measure
from gnnrec_training.evaluation.seen import Split, history, seen_before
from gnnrec_training.evaluation.validation import validation
from gnnrec_training.graph.sparse import by_user
from gnnrec_training.reporter import Silent
from tests.training.boards import interactions


def config(split: dict[str, Any]) -> Config:
    data = {"interactions": "none.csv", "time_column": "t"}
    raw = {"name": "x", "data": data, "split": split, "spectral": {}, "evaluation": {"k": [1]}}
    return Config.model_validate(raw)


RANDOM = config({})

# One user, who had item 0, did not like item 1, and then had items 2 and 3.
DISLIKED = Dataset(
    name="x",
    user_ids=["u"],
    item_ids=["a", "b", "c", "d"],
    train=interactions([(0, 0)]),
    validation=interactions([(0, 2)]),
    test=interactions([(0, 3)]),
    seen_only=interactions([(0, 1)]),
)
# the scores are those of item 1, then 2, 3 and 0
USERS, ITEMS = np.ones((1, 1), np.float32), np.array([[0], [3], [2], [1]], np.float32)
MODEL = VariantExport(USERS, ITEMS)


def test_a_disliked_item_takes_no_place_in_a_measured_list() -> None:
    measured = measure(RANDOM, DISLIKED, {"spectral": MODEL}, Silent())
    validate = validation(RANDOM, DISLIKED)
    assert validate is not None
    pair = torch.from_numpy(USERS), torch.from_numpy(ITEMS)
    assert validate(pair) == 1
    for split in ("validation", "test"):
        assert measured.metrics["spectral"][split]["recall@1"] == 1
    liked = replace(DISLIKED, seen_only=interactions([]))
    measured = measure(RANDOM, liked, {"spectral": MODEL}, Silent())
    assert measured.metrics["spectral"]["test"]["recall@1"] == 0


def test_a_disliked_item_makes_nobody_more_active() -> None:
    measured = measure(RANDOM, DISLIKED, {"spectral": MODEL}, Silent())
    (by_activity,) = measured.slices["spectral"]["test"]["by_activity"]
    assert by_activity["users_with"] == "2 to 2 interactions"


@pytest.mark.parametrize(("split", "before"), [("validation", [0]), ("test", [0, 2])])
def test_what_is_disliked_later_is_ranked_before_and_never_recommended_after(
    split: Split, before: list[int]
) -> None:
    assert seen_before(DISLIKED, split).columns.tolist() == sorted([1, *before])
    later = replace(DISLIKED, seen_only=interactions([]), seen_later=interactions([(0, 1)]))
    assert seen_before(later, split).columns.tolist() == before
    for weight in (0, 0.5):
        assert by_user(later.seen(weight), 1).columns.tolist() == [0, 1, 2]


def test_disliked_items_are_history_only_where_the_graph_counts_them() -> None:
    assert history(RANDOM, DISLIKED).columns.tolist() == [0, 1]
    without = RANDOM.model_copy(update={"graph": GraphConfig(disliked_weight=0)})
    assert history(without, DISLIKED).columns.tolist() == [0]


@pytest.mark.parametrize(
    ("method", "later"),
    [
        ("leave_last_out", [False, True, False]),
        ("time", [False, True, True]),
        ("random", [False, False, False]),
    ],
)
def test_a_split_by_time_does_not_know_what_is_disliked_later(
    method: Any, later: list[bool]
) -> None:
    """Held out from 20 on for user 0, and from 40 on for user 1, whose dislike is of 30."""

    def at(pairs: list[tuple[int, int]], *moments: float) -> Interactions:
        return replace(interactions(pairs), times=np.array(moments))

    parts = at([(0, 0), (1, 0)], 1, 1), at([(0, 2)], 20), at([(0, 3), (1, 3)], 50, 40)
    disliked = at([(0, 1), (0, 4), (1, 1)], 15, 20, 30)
    assert foreseen(disliked, parts, SplitConfig(method=method)).tolist() == later
