"""What is held out where a training starts from a version that knew a part of the data."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from gnnrec_registry import ModelStore, Version
from gnnrec_training.config import SplitConfig
from gnnrec_training.data.dataset import Interactions
from gnnrec_training.data.news import Known, hold_out_news
from tests.made import embeddings, export

USERS, ITEMS = ["new", "u0", "u1"], ["i2", "i1", "i0", "other"]


def version(folder: Path, liked: list[bool] | None = None) -> Version:
    """Publish a version in which u0 had i0 and i1, and u1 had i2."""
    made = export(embeddings(2, 4), embeddings(3, 4), seen=[[0, 1], [2]])
    if liked is not None:
        made = replace(made, seen_liked=np.array(liked))
    return ModelStore(folder, "toy").publish(made)


def part(*rows: tuple[int, int, float]) -> Interactions:
    users, items, times = np.array(rows).reshape(-1, 3).T
    count = np.ones(len(rows), np.float32)
    return Interactions(users.astype(np.int32), items.astype(np.int32), count, times)


def pairs(interactions: Interactions) -> list[tuple[str, str]]:
    rows = zip(interactions.user_rows, interactions.item_rows, strict=True)
    return [(USERS[user], ITEMS[item]) for user, item in rows]


def test_what_a_version_knew_is_trained_on(tmp_path: Path) -> None:
    known = Known(version(tmp_path), USERS, ITEMS)
    parts = part((0, 0, 1)), part((1, 2, 2), (1, 0, 3)), part((2, 0, 4), (2, 3, 5), (0, 1, 6))
    train, validation, test = hold_out_news(parts, known, SplitConfig())
    assert pairs(train) == [("new", "i2"), ("u0", "i0"), ("u1", "i2")]
    assert pairs(validation) == [("u0", "i2")]
    assert pairs(test) == [("u1", "other"), ("new", "i1")]


def test_what_it_had_seen_and_was_not_fitted_on_may_be_held_out(tmp_path: Path) -> None:
    """Such as its validation part, where it was published without a second fit."""
    known = Known(version(tmp_path, [True, False, True]), USERS, ITEMS)
    assert known.has(part((1, 2, 0), (1, 1, 0), (2, 0, 0))).tolist() == [True, False, True]


def test_where_all_that_is_new_is_in_the_test_part_its_earlier_half_validates(
    tmp_path: Path,
) -> None:
    known = Known(version(tmp_path), USERS, ITEMS)
    new = part((0, 0, 9), (0, 1, 8), (0, 2, 7), (0, 3, 6))
    parts = part((2, 1, 1)), part((1, 2, 2)), new
    by_time = SplitConfig(method="time")
    train, validation, test = hold_out_news(parts, known, by_time)
    assert pairs(train) == [("u1", "i1"), ("u0", "i0")]
    assert pairs(validation) == [("new", "i0"), ("new", "other")]
    assert pairs(test) == [("new", "i2"), ("new", "i1")]
    _, nothing, test = hold_out_news(parts, known, SplitConfig(method="time", validation=0))
    assert (len(nothing), len(test)) == (0, 4)
