from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gnnrec_training.config.defaults import Figures
from gnnrec_training.data.dataset import Dataset, Interactions
from tests.training.boards import interactions

# users and items 0 to 2 have ids; rows from 3 on are those of nodes that training does not know
DATASET = Dataset(
    "toy", ["a", "b", "c"], ["x", "y", "z"],
    train=interactions([(0, 0), (1, 1)], [3, 4]),
    validation=interactions([(0, 1), (1, 3), (3, 0)], [5, 5, 5]),
    test=interactions([(0, 2)]),
    seen_only=interactions([(1, 2), (3, 1), (2, 4)], [2, 2, 2]),
    seen_later=interactions([(2, 0), (4, 0)], [1, 1]),
)  # fmt: skip


def pairs(part: Interactions) -> list[tuple[int, int, float]]:
    rows = zip(part.user_rows, part.item_rows, part.weights, strict=True)
    return [(int(user), int(item), float(weight)) for user, item, weight in rows]


def test_known_and_disliked_are_between_nodes_that_have_ids() -> None:
    assert pairs(DATASET.known) == [(0, 0, 3), (1, 1, 4), (0, 1, 5)]
    assert pairs(DATASET.disliked) == [(1, 2, 2)]


@pytest.mark.parametrize(("weight", "disliked"), [(0.0, 0), (0.1, 1), (1.0, 1)])
def test_seen_is_all_but_the_test_part_and_marks_the_edges_of_the_graph(
    weight: float, disliked: float
) -> None:
    assert sorted(pairs(DATASET.seen(weight))) == [
        (0, 0, 1), (0, 1, 0), (1, 1, 1), (1, 2, disliked), (2, 0, 0),
    ]  # fmt: skip


def test_figures_are_those_of_training_and_the_catalogue() -> None:
    assert DATASET.figures == Figures(users=2, items=2, catalogue=3, interactions=2)
    assert DATASET.figures.smaller == 2


def test_the_fingerprint_tells_each_part_apart() -> None:
    found = {DATASET.fingerprint()}
    for part in ("train", "validation", "test", "seen_only", "seen_later"):
        changed: dict[str, Any] = {part: getattr(DATASET, part).take(np.arange(1))}
        found.add(replace(DATASET, **changed).fingerprint())
    assert len(found) == 5, "of test there was one, which is left as it is"
