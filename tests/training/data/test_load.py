import gzip
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from gnnrec_registry.features.encoders import CategoricalEncoding
from gnnrec_training.config import Config
from gnnrec_training.config import load as load_config
from gnnrec_training.data.dataset import Dataset, Interactions
from gnnrec_training.data.load import Data, load_dataset, read_data
from gnnrec_training.data.samples import sample
from gnnrec_training.data.samples.courses import sample_courses
from gnnrec_training.errors import InvalidConfig, InvalidData

DATA = os.environ.get("GNNREC_DATA", "")


def load(folder: Path, text: str, data: dict[str, Any] | None = None, **rest: Any) -> Dataset:
    (folder / "data.csv").write_text(text)
    raw = {"name": "toy", "data": {"interactions": "data.csv", **(data or {})}, **rest}
    raw.setdefault("split", {"test": 0, "validation": 0})
    return load_dataset(Config.model_validate(raw), folder)


def pairs(dataset: Dataset) -> list[tuple[str, str, float]]:
    part = dataset.train
    return [
        (dataset.user_ids[u], dataset.item_ids[i], float(w))
        for u, i, w in zip(part.user_rows, part.item_rows, part.weights, strict=True)
    ]


def test_ids_are_numbered_in_the_order_of_the_file(tmp_path: Path) -> None:
    dataset = load(tmp_path, "user_id,item_id\nzoë,b\nann,a\nzoë,a\n")
    assert dataset.user_ids == ["zoë", "ann"]
    assert dataset.item_ids == ["b", "a"]
    assert pairs(dataset) == [("zoë", "b", 1), ("ann", "a", 1), ("zoë", "a", 1)]


WEIGHTED = {"weight_column": "w"}


@pytest.mark.parametrize(("rule", "weight"), [("sum", 5), ("max", 3), ("last", 2)])
def test_a_pair_that_stands_twice_is_merged_as_told(
    tmp_path: Path, rule: str, weight: float
) -> None:
    text = "user_id,item_id,w\nu,a,3\nu,b,1\nu,a,2\n"
    dataset = load(tmp_path, text, WEIGHTED | {"duplicates": rule})
    assert pairs(dataset) == [("u", "b", 1), ("u", "a", weight)], "it stands where its last row did"


def test_a_pair_that_stands_twice_is_refused_if_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match=r"user 'u' and item 'a' stand twice.*data\.duplicates"):
        load(tmp_path, "user_id,item_id\nu,a\nu,a\n", {"duplicates": "error"})


@pytest.mark.parametrize("weight", ["-1", "0"])
def test_a_weight_that_is_not_positive_is_refused(tmp_path: Path, weight: str) -> None:
    with pytest.raises(InvalidData, match=rf"line 2, column 'w': {weight}\.0 is not positive"):
        load(tmp_path, f"user_id,item_id,w\nu,a,{weight}\n", WEIGHTED)


def test_small_weights_are_dropped_as_told(tmp_path: Path) -> None:
    text = "user_id,item_id,w\nu,a,3.5\nv,b,3\n"
    assert pairs(load(tmp_path, text, WEIGHTED | {"min_weight": 3.5})) == [("u", "a", 3.5)]
    with pytest.raises(InvalidData, match="no interaction is left to train on"):
        load(tmp_path, text, WEIGHTED | {"min_weight": 5})


def test_titles_join_by_id_and_may_be_missing(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id,title\nb,The B\nnever,Touched\n")
    data = {"items": {"file": "items.csv"}}
    dataset = load(tmp_path, "user_id,item_id\nu,a\nu,b\n", data)
    assert dataset.item_titles == ["", "The B"], "an item nobody touched has no row"


def test_an_item_described_twice_is_named(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id,title\nb,One\nb,Two\n")
    with pytest.raises(
        InvalidData, match=r"items\.csv lines 2 and 3, column 'item_id': 'b' stands twice"
    ):
        load(tmp_path, "user_id,item_id\nu,b\n", {"items": {"file": "items.csv"}})


def given(tmp_path: Path, train: str, test: str) -> Dataset:
    (tmp_path / "test.txt").write_text(test)
    (tmp_path / "data.txt").write_text(train)
    data = {"interactions": "data.txt", "test": "test.txt"}
    return load(tmp_path, "", data, split={"method": "given", "validation": 0})


def test_test_ids_unknown_to_training_get_no_id_but_count(tmp_path: Path) -> None:
    dataset = given(tmp_path, "u a b\nv a\n", "u new\nghost a b\n")
    assert dataset.user_ids == ["u", "v"]
    assert dataset.item_ids == ["a", "b"]
    assert dataset.test.user_rows.tolist() == [0, 2, 2]
    assert dataset.test.item_rows.tolist() == [2, 0, 1]


def test_a_pair_in_both_parts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="user 'u' and item 'b' are in the training part as well"):
        given(tmp_path, "u a b\n", "u b\n")


def test_the_fingerprint_tells_data_apart(tmp_path: Path) -> None:
    first = load(tmp_path, "user_id,item_id\nu,a\nv,b\n").fingerprint()
    assert load(tmp_path, "user_id,item_id\nu,a\nv,b\n").fingerprint() == first
    assert load(tmp_path, "user_id,item_id\nu,a\nv,a\n").fingerprint() != first


def test_an_unset_variable_in_the_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOWHERE", raising=False)
    with pytest.raises(InvalidConfig, match=r"\$NOWHERE is not set"):
        load(tmp_path, "", {"folder": "$NOWHERE/x"})


def test_the_sample_world_is_described(tmp_path: Path) -> None:
    """Every person and course gets a row, also those without an enrolment in training."""
    sample.write(sample_courses(80, 60, 300, 0), tmp_path)
    data = load_dataset(load_config(tmp_path / sample.CONFIG), tmp_path)
    assert len(data.user_ids) == 80
    assert len(data.item_ids) == 60
    assert len(np.unique(data.train.item_rows)) < 60
    assert data.features is not None
    users, items = data.features.encoding.users, data.features.encoding.items
    assert [column.name for column in users.columns] == ["age", "goal", "interests"]
    assert [column.name for column in items.columns] == ["topics", "tags", "level", "hours"]


@pytest.mark.skipif(not DATA and not os.environ.get("CI"), reason="GNNREC_DATA is not set")
def test_movielens_is_described_by_genres_years_and_tags(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(
        Path("benchmarks/recipes/movielens.toml").read_text()
        + r"""
[[data.items.features]]
name = "genres"
kind = "multi"

[[data.items.features]]
name = "year"
kind = "numeric"
column = "title"
pattern = '\((\d{4})\)'
centres = 16

[[data.items.features]]
name = "tags"
kind = "tags"
file = "tags.csv.gz"
column = "tag"
min_count = 3
"""
    )
    data = load_dataset(load_config(tmp_path / "m.toml"), tmp_path)
    folder = Path(DATA) / "ml-latest-small"
    movies = pl.read_csv(gzip.decompress((folder / "movies.csv.gz").read_bytes()))
    assert len(data.item_ids) == len(set(data.item_ids)) == movies.height == 9742
    assert data.test.item_rows.max() < 9742
    trained = set(data.item_ids[: data.train.item_rows.max() + 1])

    # the expected weights of the tags, from counts of the file
    owners: dict[str, set[str]] = {}
    for owner, tag in (
        pl.read_csv(gzip.decompress((folder / "tags.csv.gz").read_bytes()))
        .select("movieId", "tag")
        .iter_rows()
    ):
        if str(owner) in trained:
            owners.setdefault(tag.strip().lower(), set()).add(str(owner))
    frequent = {tag for tag, movies_of in owners.items() if len(movies_of) >= 3}
    assert data.features is not None
    genres, year, tags = data.features.encoding.items.columns
    assert isinstance(tags, CategoricalEncoding)
    assert set(tags.categories) == frequent
    assert (genres.width, year.width) == (20, 17)
    matrix = data.features.items
    assert matrix.shape == (9742, 20 + 17 + len(frequent))

    titles = dict(movies.select(pl.col("movieId").cast(pl.String), "title").iter_rows())
    has_year = [bool(re.search(r"\(\d{4}\)", titles[identity])) for identity in data.item_ids]
    np.testing.assert_allclose(matrix[:, 21:37].sum(1), has_year, atol=1e-5)
    assert matrix[:, :20].any(1).all(), "every film has a genre, if only '(no genres listed)'"


ROWS = [(f"u{user}", f"i{item}", 1 + (user * item) % 5, 10 * user + item)
        for user in range(8) for item in range(8) if (user + item) % 3]  # fmt: skip
RATED = "user_id,item_id,rating,at\n" + "".join(
    f"{user},{item},{rating},{moment}\n" for user, item, rating, moment in ROWS
)


def read(folder: Path, split: dict[str, Any], **data: Any) -> Data:
    (folder / "rated.csv").write_text(RATED)
    (folder / "items.csv").write_text("item_id,kind\ni0,k\ni7,k\nnew,k\n")
    raw = {
        "name": "toy",
        "data": {
            "interactions": "rated.csv", "weight_column": "rating", "time_column": "at",
            "items": {"file": "items.csv", "features": [{"name": "kind", "kind": "categorical"}]},
            **data,
        },
        "split": split,
    }  # fmt: skip
    return read_data(Config.model_validate(raw), folder)


def named(dataset: Dataset, part: Interactions) -> set[tuple[str, str, float]]:
    rows = zip(part.user_rows, part.item_rows, part.weights, strict=True)
    return {(dataset.user_ids[u], dataset.item_ids[i], float(w)) for u, i, w in rows}


@pytest.mark.parametrize(
    "split",
    [
        {"method": "random", "test": 0.3, "validation": 0.3},
        {"method": "leave_last_out"},
        {"method": "time", "test": 0.4, "validation": 0.3},
    ],
    ids=lambda split: split["method"],
)
def test_the_whole_is_all_interactions_whatever_the_split(
    tmp_path: Path, split: dict[str, Any]
) -> None:
    """One training part, in which pairs below min_weight are seen, later ones too."""
    data = read(tmp_path, split, min_weight=3)
    whole = data.whole()
    assert named(whole, whole.train) == {
        (user, item, rating) for user, item, rating, _ in ROWS if rating >= 3
    }
    low = {(user, item, float(rating)) for user, item, rating, _ in ROWS if rating < 3}
    liked = [(user, item) for user, item, rating, _ in ROWS if rating >= 3]
    users, items = {user for user, _ in liked}, {item for _, item in liked} | {"i0", "i7", "new"}
    assert (set(whole.user_ids), set(whole.item_ids)) == (users, items)
    assert named(whole, whole.disliked) == {
        row for row in low if row[0] in users and row[1] in items
    }
    assert not len(whole.validation)
    assert not len(whole.test)
    assert not len(whole.seen_later)
    assert whole.new_user_ids == ["u0", "u5"], "they liked nothing"
    assert whole.features is not None
    assert len(whole.features.items) == len(whole.item_ids)
    assert "new" in whole.item_ids


def test_the_whole_is_the_same_before_and_after_a_split(tmp_path: Path) -> None:
    split = {"method": "random", "test": 0.3, "validation": 0.3}
    data, again = read(tmp_path, split), read(tmp_path, split)
    before = again.whole().fingerprint()
    parts = data.split()
    assert data.whole().fingerprint() == before
    assert again.split().fingerprint() == parts.fingerprint()
    assert sum(parts.counts().values()) == len(ROWS) == len(data.whole().train)
    assert set(parts.user_ids) <= set(data.whole().user_ids)


def test_the_whole_has_the_given_test_part_too(tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text("user_id,item_id,rating,at\nstranger,i1,5,1\nu1,never,4,2\n")
    data = read(tmp_path, {"method": "given", "validation": 0.2}, test="test.csv")
    parts, whole = data.split(), data.whole()
    assert "stranger" not in parts.user_ids
    assert {("stranger", "i1", 5), ("u1", "never", 4)} <= named(whole, whole.train)


def test_what_is_disliked_after_the_moment_of_a_split_by_time_comes_later(tmp_path: Path) -> None:
    split = {"method": "time", "test": 0.4, "validation": 0.3}
    data = read(tmp_path, split, min_weight=3)
    parts = data.split()
    whole = data.whole()
    moments = {(user, item): moment for user, item, _, moment in ROWS}
    held_out = [*zip(parts.validation.user_rows, parts.validation.item_rows, strict=True)]
    assert held_out
    assert parts.validation.times is not None
    first = parts.validation.times.min()
    seen = {(u, i) for u, i, _ in named(parts, parts.disliked)}
    assert seen
    assert all(moments[pair] < first for pair in seen)
    assert len(parts.seen_only) + len(parts.seen_later) == len(whole.seen_only)
    assert parts.seen_later.times is not None
    assert (parts.seen_later.times >= first).all()
