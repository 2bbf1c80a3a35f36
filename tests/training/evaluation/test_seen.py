"""What people did not like is not ranked for them, in measurements as in answers."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from gnnrec_training.config import Config
from gnnrec_training.data.dataset import Dataset, Interactions
from gnnrec_training.evaluation.measurement import measure
from gnnrec_training.evaluation.seen import Split, seen_before
from gnnrec_training.evaluation.validation import validation
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


def test_a_disliked_item_takes_no_place_in_a_measured_list() -> None:
    measured = measure(RANDOM, DISLIKED, {"spectral": (USERS, ITEMS)}, {}, Silent())
    validate = validation(RANDOM, DISLIKED)
    assert validate is not None
    pair = torch.from_numpy(USERS), torch.from_numpy(ITEMS)
    assert validate(pair) == 1
    for split in ("validation", "test"):
        assert measured.metrics["spectral"][split]["recall@1"] == 1
    liked = replace(DISLIKED, seen_only=interactions([]))
    measured = measure(RANDOM, liked, {"spectral": (USERS, ITEMS)}, {}, Silent())
    assert measured.metrics["spectral"]["test"]["recall@1"] == 0


def test_a_disliked_item_makes_nobody_more_active() -> None:
    measured = measure(RANDOM, DISLIKED, {"spectral": (USERS, ITEMS)}, {}, Silent())
    (by_activity,) = measured.slices["spectral"]["test"]["by_activity"]
    assert by_activity["users_with"] == "2 to 2 interactions"


@pytest.mark.parametrize("method", ["time", "leave_last_out"])
@pytest.mark.parametrize(
    ("split", "disliked_at", "seen"),
    [
        ("validation", 15, [0, 1]),
        ("validation", 20, [0]),
        ("test", 25, [0, 1, 2]),
        ("test", 30, [0, 2]),
    ],
)
def test_a_split_by_time_does_not_know_what_is_disliked_later(
    method: str, split: Split, disliked_at: float, seen: list[int]
) -> None:
    def at(part: Interactions, moment: float) -> Interactions:
        return replace(part, times=np.array([moment]))

    dataset = replace(
        DISLIKED,
        train=at(DISLIKED.train, 10),
        validation=at(DISLIKED.validation, 20),
        test=at(DISLIKED.test, 30),
        seen_only=at(DISLIKED.seen_only, disliked_at),
    )
    assert seen_before(config({"method": method}), dataset, split).columns.tolist() == seen
    everything = [0, 1] if split == "validation" else [0, 1, 2]
    assert seen_before(RANDOM, dataset, split).columns.tolist() == everything


def test_what_is_later_is_by_the_moment_that_the_split_goes_by() -> None:
    """Another user's test part begins at 12, and the dislike is of 15."""
    two = Dataset(
        name="x",
        user_ids=["u", "v"],
        item_ids=["a", "b", "c"],
        train=replace(interactions([(0, 0), (1, 0)]), times=np.array([1.0, 2.0])),
        test=replace(interactions([(0, 2), (1, 2)]), times=np.array([20.0, 12.0])),
        seen_only=replace(interactions([(0, 1)]), times=np.array([15.0])),
    )
    own = seen_before(config({"method": "leave_last_out"}), two, "test")
    assert own.columns.tolist() == [0, 1, 0]
    everybodys = seen_before(config({"method": "time"}), two, "test")
    assert everybodys.columns.tolist() == [0, 0]
