"""What becomes of rows: interactions, repeated pairs, and pairs of low weight."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gnnrec_registry import ModelStore, Version
from gnnrec_training.config import Config
from gnnrec_training.data.dataset import Dataset
from gnnrec_training.errors import InvalidData
from gnnrec_training.reporter import Silent
from gnnrec_training.train import train
from tests.training.data.small_files import pairs, read

RATED = {"weight_column": "w", "time_column": "t"}


def load(folder: Path, rows: str, **data: Any) -> Dataset:
    (folder / "x.csv").write_text("user_id,item_id,w,t\n" + rows)
    return read(folder, "x.csv", **{**RATED, **data})


def weighted(dataset: Dataset) -> dict[tuple[str, str], float]:
    return dict(zip(pairs(dataset), dataset.train.weights.tolist(), strict=True))


def seen_only(dataset: Dataset) -> set[tuple[str, str]]:
    part = dataset.seen_only
    return {
        (dataset.user_ids[user], dataset.item_ids[item])
        for user, item in zip(part.user_rows, part.item_rows, strict=True)
        if user < len(dataset.user_ids) and item < len(dataset.item_ids)
    }


def test_repeats_are_merged_and_counted(tmp_path: Path) -> None:
    dataset = load(tmp_path, "u,a,1,100\nu,b,2,101\nu,a,3,102\nu,a,1,103\n")
    assert weighted(dataset) == {("u", "b"): 2, ("u", "a"): 5}
    assert dataset.summary.repeats == 2
    assert any("2 rows repeat a pair; merged: their weights added" in line
               for line in dataset.summary.lines())  # fmt: skip


def test_without_weights_a_repeat_counts_as_one_more(tmp_path: Path) -> None:
    dataset = load(tmp_path, "u,a,,100\nu,a,,101\nu,b,,102\n", weight_column=None)
    assert weighted(dataset) == {("u", "a"): 2, ("u", "b"): 1}


def test_the_last_of_a_pair_is_the_last_by_time(tmp_path: Path) -> None:
    """The last row is that of the latest time, also in an export with the newest rows first."""
    rows = "u,a,5,300\nu,b,1,250\nu,a,2,100\nu,a,4,200\n"
    assert weighted(load(tmp_path, rows, duplicates="last"))["u", "a"] == 5
    untimed = load(tmp_path, rows, duplicates="last", time_column=None)
    assert weighted(untimed)["u", "a"] == 4, "the last row, where nothing tells the time"


def test_the_last_of_several_at_the_same_moment_is_the_last_row(tmp_path: Path) -> None:
    rows = "u,a,5,300\nu,a,2,300\nu,b,1,300\n"
    assert weighted(load(tmp_path, rows, duplicates="last"))["u", "a"] == 2


def test_what_is_held_out_is_not_among_what_was_not_liked(tmp_path: Path) -> None:
    """A pair that stands low in one file and high in the test file is an interaction."""
    (tmp_path / "test.csv").write_text("user_id,item_id,w,t\nu,b,5,3\n")
    rows = "u,a,5,1\nu,b,1,2\nv,b,5,2\nv,a,1,2\n"
    split = {"method": "given", "validation": 0}
    dataset = load(tmp_path, rows, min_weight=3, test="test.csv", split=split)
    assert seen_only(dataset) == {("v", "a")}
    assert len(dataset.test) == 1


def test_what_people_did_not_like_is_seen_and_no_interaction(tmp_path: Path) -> None:
    rows = "u,a,5,1\nu,b,1,2\nv,b,4,3\nv,a,-2,4\n"
    dataset = load(tmp_path, rows, min_weight=3)
    assert weighted(dataset) == {("u", "a"): 5, ("v", "b"): 4}
    assert seen_only(dataset) == {("u", "b"), ("v", "a")}
    assert len(dataset.seen(0.5)) == 4
    assert (dataset.summary.low, dataset.summary.seen_only) == (2, 2)
    dropped = load(tmp_path, rows, min_weight=3, low_weights="drop")
    assert weighted(dropped) == weighted(dataset)
    assert len(dropped.seen(0.5)) == 2


def test_a_later_low_rating_takes_an_earlier_high_one_back(tmp_path: Path) -> None:
    rows = "u,a,5,100\nu,b,5,100\nu,a,1,200\nu,b,1,50\n"
    dataset = load(tmp_path, rows, min_weight=3, duplicates="last")
    assert weighted(dataset) == {("u", "b"): 5}
    assert seen_only(dataset) == set(), "nobody else has the item: it is in no catalogue"
    others = load(tmp_path, rows + "v,a,5,1\n", min_weight=3, duplicates="last")
    assert seen_only(others) == {("u", "a")}
    summed = load(tmp_path, rows, min_weight=3)
    assert weighted(summed) == {("u", "a"): 5, ("u", "b"): 5}, "a low row is no part of a sum"
    assert seen_only(summed) == set()


def test_a_weight_below_zero_needs_a_least_weight(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match=r"line 2, column 'w': -1\.0 is not positive"):
        load(tmp_path, "u,a,-1,1\n")


def test_weights_that_add_up_to_more_than_a_weight_can_be_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="user 'u' and item 'a' add up to"):
        load(tmp_path, "u,a,3e38,1\nu,a,3e38,2\n")


def held_out(dataset: Dataset) -> list[tuple[str, str]]:
    part = dataset.test
    return [
        (dataset.user_ids[user], str(item))
        for user, item in zip(part.user_rows, part.item_rows, strict=True)
    ]


def test_of_a_day_s_last_rows_the_last_is_held_out(tmp_path: Path) -> None:
    """Where times are dates, many rows have the same time; the last row counts."""
    rows = "".join(f"u,i{row},1,2024-01-{1 + row // 3:02}\n" for row in range(9))
    dataset = load(tmp_path, rows, split={"method": "leave_last_out"})
    train = [item for _, item in pairs(dataset)]
    assert train == [f"i{row}" for row in range(7)], "i8 is test, i7 validation"


def test_of_a_day_s_last_rows_a_repeat_moves_a_pair_to_the_end(tmp_path: Path) -> None:
    rows = "u,a,1,2024-01-01\nu,b,1,2024-01-02\nu,c,1,2024-01-02\nu,b,1,2024-01-02\n"
    dataset = load(tmp_path, rows, split={"method": "leave_last_out"})
    assert [item for _, item in pairs(dataset)] == ["a"]
    assert dataset.test.weights.tolist() == [2], "b came last"


def test_every_row_is_accounted_for(tmp_path: Path) -> None:
    rows = "u,a,5,1\n,b,5,2\nu,a,4,3\nv,,3,4\nv,c,1,5\nw,a,5,6\nw,b,4,7\nx,b,5,8\n"
    dataset = load(tmp_path, rows, min_weight=3, missing_ids="drop")
    summary = dataset.summary
    assert summary.rows == 8
    lost = sum(summary.missing.values()) + summary.low + summary.repeats
    assert summary.rows == summary.interactions + lost
    assert summary.record()["rows"] == 8


def test_a_version_says_which_of_the_seen_are_interactions(tmp_path: Path) -> None:
    """A disliked item is not recommended, and a server counts it only where the graph did."""
    rows = "".join(f"u{user},i{item},{1 + (user + item) % 5}\n" for user in range(9)
                   for item in range(9))  # fmt: skip
    (tmp_path / "ratings.csv").write_text("user_id,item_id,rating\n" + rows)
    raw: dict[str, Any] = {
        "name": "toy",
        "data": {"interactions": "ratings.csv", "weight_column": "rating", "min_weight": 4},
        "split": {"method": "random", "validation": 0, "test": 0},
        "spectral": {"embedding_dim": 2},
        "evaluation": {"k": [3]},
    }
    for low, weight, name in (("seen", 0, "both"), ("seen", 0.5, "edges"), ("drop", 0.5, "liked")):
        raw["data"]["low_weights"] = low
        raw["graph"] = {"disliked_weight": weight}
        store = ModelStore(tmp_path / name, "toy")
        train(Config.model_validate(raw), tmp_path, store, Silent())
        (version,) = store.versions()
        assert isinstance(version, Version)
        indptr, items = version.seen
        if name == "edges":
            assert version.liked is None
            assert len(items) == 81
            continue
        if name == "liked":
            assert version.liked is None
            assert len(items) == np.diff(indptr).sum() < 81
            continue
        assert len(items) == 81
        ratings = [1 + (user + item) % 5 for user in range(9) for item in items[9 * user :][:9]]
        assert version.liked is not None
        assert version.liked.tolist() == [rating >= 4 for rating in ratings]
