import gzip
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from gnnrec_registry.features.encoders import CategoricalEncoding, NumericEncoding
from gnnrec_training.errors import InvalidData
from tests.training.data.described import ITEMS, dataset, described

YEAR = {"name": "year", "kind": "numeric"}
LEVEL = {"name": "level", "kind": "categorical"}
TOPICS = {"name": "topics", "kind": "multi"}


def test_nodes_of_the_table_without_interactions_join_the_catalogue(tmp_path: Path) -> None:
    """Items of train come first; a test interaction with an item that only the table has counts."""
    items = ITEMS + "z,Z,1,,\nc,C,2,,\nd,D,3,,\nb,B,4,,\n"
    data = dataset(tmp_path, [YEAR], items, test="u d ghost\nv z\nw a\n")
    assert data.user_ids == ["u", "v"]
    assert data.item_ids == ["a", "b", "c", "z", "d"]
    assert data.item_titles == ["", "B", "C", "Z", "D"]
    assert data.test.item_rows.tolist() == [4, 5, 3, 0], "ghost is in neither and past the end"
    assert data.test.user_rows.tolist() == [0, 0, 1, 2]
    features = described(data)
    # of the items of train, b and c have a value: mean 3, deviation 1; a takes the mean
    assert features.items.tolist() == [[0], [1], [-1], [-2], [0]]
    assert features.users.shape == (2, 0)
    assert features.encoding.users.width == 0


def test_a_table_of_users_extends_the_users(tmp_path: Path) -> None:
    (tmp_path / "people.jsonl").write_text(
        '{"person": "w", "likes": ["x"]}\n{"person": "v", "likes": ["x", "y"]}\n'
        '{"person": "u", "likes": null}\n'
    )
    users = {
        "file": "people.jsonl",
        "id_column": "person",
        "features": [{"name": "likes", "kind": "multi"}],
    }
    data = dataset(tmp_path, [], ITEMS + "z,Z,,,\n", test="w c\nx a\n", users=users)
    assert data.user_ids == ["u", "v", "w"]
    assert data.item_ids == ["a", "b", "c"], "a table without features adds no items"
    assert data.test.user_rows.tolist() == [2, 3]
    assert described(data).users.tolist() == [[0, 0], [1, 1], [1, 0]]
    assert described(data).items.shape == (3, 0)


def test_statistics_and_categories_are_those_of_the_nodes_of_train(tmp_path: Path) -> None:
    """Encodings are fitted without z, which is not in train; its unknown texts are counted."""
    items = ITEMS + "a,A,1,low,s|t\nb,B,3,high, t \nc,C,,low,\nz,Z,1000,new,t|q|r\n"
    data = dataset(tmp_path, [YEAR, LEVEL, TOPICS], items)
    year, level, topics = described(data).encoding.items.columns
    assert isinstance(year, NumericEncoding)
    assert isinstance(level, CategoricalEncoding)
    assert isinstance(topics, CategoricalEncoding)
    assert (year.mean, year.std, year.centres) == (2, 1, ())
    assert level.categories == ("low", "high"), "by frequency"
    assert topics.categories == ("t", "s")
    assert topics.weights == ()
    assert described(data).items.tolist() == [
        [-1, 1, 0, 1, 1],
        [1, 0, 1, 1, 0],
        [0, 1, 0, 0, 0],
        [10, 0, 0, 1, 0],
    ]
    assert data.unknown_texts == {"items.level": 1, "items.topics": 2}


def test_a_constant_number_has_the_deviation_one(tmp_path: Path) -> None:
    items = ITEMS + "a,A,0.1,,\nb,B,0.1,,\nc,C,0.1,,\nz,Z,1.1,,\n"
    (year,) = described(dataset(tmp_path, [YEAR | {"centres": 3}], items)).encoding.items.columns
    assert isinstance(year, NumericEncoding)
    assert year.std == 1
    assert year.spread == 1


def test_centres_stand_evenly_between_the_outer_percentiles(tmp_path: Path) -> None:
    items = ITEMS + "a,A,0,,\nb,B,100,,\nc,C,200,,\nz,Z,9999,,\n"
    (year,) = described(dataset(tmp_path, [YEAR | {"centres": 3}], items)).encoding.items.columns
    assert isinstance(year, NumericEncoding)
    assert year.centres == pytest.approx((2, 100, 198))
    assert year.spread == pytest.approx(98)
    assert year.width == 4


@pytest.mark.parametrize(
    ("limits", "categories"),
    [
        ({}, ("s", "q", "r", "t")),
        ({"min_count": 2}, ("s",)),
        ({"max_categories": 2}, ("s", "q")),
    ],
)
def test_the_most_frequent_texts_are_kept_ties_by_text(
    tmp_path: Path, limits: dict[str, int], categories: tuple[str, ...]
) -> None:
    """A text counts once for each node, however often the node has it."""
    items = ITEMS + "a,A,,,t|t|t|s\nb,B,,,r|s\nc,C,,,q\n"
    (topics,) = described(dataset(tmp_path, [TOPICS | limits], items)).encoding.items.columns
    assert isinstance(topics, CategoricalEncoding)
    assert topics.categories == categories


def test_buckets_hash_instead_of_listing(tmp_path: Path) -> None:
    items = ITEMS + "a,A,,,t|s\nz,Z,,,new\n"
    data = dataset(tmp_path, [TOPICS | {"buckets": 64}], items)
    assert described(data).items.sum(1).tolist() == [2, 0, 0, 1]
    assert data.unknown_texts == {}


def test_a_pattern_takes_the_value_from_a_longer_text(tmp_path: Path) -> None:
    """Two features may read the same column; a text that the pattern does not match is missing."""
    items = 'item_id,title\na,"One, (1990) Two (2000)"\nb,One (2010)\nc,None\n'
    year = YEAR | {"column": "title", "pattern": r"\((\d{4})\)$"}
    word = {"name": "word", "kind": "categorical", "column": "title", "pattern": r"^(One|Two)?"}
    data = dataset(tmp_path, [year, word], items)
    assert described(data).items.tolist() == [[-1, 1], [1, 1], [0, 0]]
    assert data.item_titles == ["One, (1990) Two (2000)", "One (2010)", "None"]


def test_tags_come_from_a_file_of_their_own(tmp_path: Path) -> None:
    """Rarer tags count more; items that only the file of tags has are not added."""
    rows = ["who,word", "b,Fun", "b,fun ", "b,dark", "c,fun", "z,fun", "z,odd", "b,", "ghost,fun"]
    (tmp_path / "tags.csv.gz").write_bytes(gzip.compress("\n".join(rows).encode()))
    tags = {"name": "tags", "kind": "tags", "column": "word"}
    tags |= {"file": "tags.csv.gz", "id_column": "who"}
    data = dataset(tmp_path, [tags], ITEMS + "a,A,,,\nb,B,,,\nc,C,,,\nz,Z,,,\n")
    assert data.item_ids == ["a", "b", "c", "z"]
    (encoding,) = described(data).encoding.items.columns
    assert isinstance(encoding, CategoricalEncoding)
    assert encoding.categories == ("fun", "dark")
    # two items of train have tags: both have fun, one has dark
    fun, dark = encoding.weights
    assert (fun, dark) == pytest.approx((1, math.log(3 / 2) + 1))
    length = math.hypot(fun, dark)
    expected = np.array([[0, 0], [fun / length, dark / length], [1, 0], [1, 0]])
    np.testing.assert_allclose(described(data).items, expected, rtol=1e-6)
    assert data.unknown_texts == {"items.tags": 1}


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_every_format_describes_alike(tmp_path: Path, kind: str) -> None:
    """JSON and Parquet hold numbers, nulls and lists; CSV holds texts."""
    rows = {"item_id": ["a", "b", "c"], "year": [1, None, 3], "level": ["x", None, "x"]}
    topics = [["s", "t"], None, ["t"]]
    path = tmp_path / f"table.{kind}"
    if kind == "csv":
        texts = ["|".join(texts or []) for texts in topics]
        pl.DataFrame(rows | {"topics": texts}).write_csv(path)
    elif kind == "jsonl":
        pl.DataFrame(rows | {"topics": topics}).write_ndjson(path)
    else:
        pl.DataFrame(rows | {"topics": topics}).write_parquet(path)
    data = dataset(tmp_path, [YEAR, LEVEL, TOPICS], "unused", file=path.name)
    assert described(data).items.tolist() == [[-1, 1, 1, 1], [0, 0, 0, 0], [1, 1, 1, 0]]
    assert data.item_titles is None, "there is no such column, and none was asked for"


@pytest.mark.parametrize(
    ("features", "items", "message"),
    [
        ([{"name": "size", "kind": "numeric"}], ITEMS, "items.csv has no rows"),
        (
            [{"name": "size", "kind": "numeric"}],
            ITEMS + "a,A,1,,\n",
            "items.csv has no column 'size'; its columns: item_id, title, year",
        ),
        (
            [LEVEL | {"column": "grade"}],
            ITEMS + "a,A,1,,\n",
            "items.csv has no column 'grade'",
        ),
        (
            [YEAR],
            ITEMS + "a,A,1,,\nb,B,MM,,\n",
            "items.csv line 3, column 'year': 'MM' is not a number",
        ),
        ([YEAR], ITEMS + "a,A,nan,,\n", "line 2, column 'year': 'nan' is not a finite number"),
        ([YEAR], ITEMS + "a,A,-inf,,\n", "line 2, column 'year': '-inf' is not a finite number"),
        (
            [YEAR | {"column": "title", "pattern": "(.)$"}],
            ITEMS + "a,A1,,,\nb,Bx,,,\n",
            "line 3, column 'title': 'x' is not a number",
        ),
        ([YEAR], ITEMS + "a,A,1,,\na,B,2,,\n", "column 'item_id': 'a' stands twice"),
        ([YEAR], ITEMS + "a,A,1,,\n,B,2,,\n", "line 3, column 'item_id' is empty"),
        (
            [YEAR],
            ITEMS + "a,A,,,\nz,Z,1,,\n",
            "items.csv: none of the 3 items with training interactions has a value of feature "
            "'year'",
        ),
        ([TOPICS | {"min_count": 2}], ITEMS + "a,A,,,s\n", "'topics': no text is that of 2 nodes"),
        ([YEAR], ITEMS + "a,A,1e300,,\nb,B,2,,\n", "'year': its values are too large"),
    ],
)
def test_a_bad_table_is_named_in_one_line(
    tmp_path: Path, features: list[dict[str, Any]], items: str, message: str
) -> None:
    with pytest.raises(InvalidData) as caught:
        dataset(tmp_path, features, items)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_title_column_that_was_asked_for_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="has no column 'title'"):
        dataset(tmp_path, [YEAR], "item_id,year\na,1\n", title_column="title")
    with pytest.raises(InvalidData, match="has no column 'title'"):
        dataset(tmp_path, [], "item_id,year\na,1\n")


def test_the_fingerprint_covers_features(tmp_path: Path) -> None:
    first = dataset(tmp_path, [YEAR], ITEMS + "a,A,1,,\nb,B,2,,\n").fingerprint()
    assert dataset(tmp_path, [YEAR], ITEMS + "a,A,1,,\nb,B,2,,\n").fingerprint() == first
    others = [
        dataset(tmp_path, [YEAR], ITEMS + "a,A,2,,\nb,B,1,,\n"),
        dataset(tmp_path, [YEAR], ITEMS + "a,A,2,,\nb,B,4,,\n"),
        dataset(tmp_path, [YEAR | {"name": "y", "column": "year"}], ITEMS + "a,A,1,,\nb,B,2,,\n"),
        dataset(tmp_path, [], ITEMS + "a,A,1,,\nb,B,2,,\n"),
    ]
    assert len({first, *(other.fingerprint() for other in others)}) == 5


def test_a_server_reads_a_raw_value_as_training_did(tmp_path: Path) -> None:
    """The encoding applies pattern and strips spaces: a request may send the table's text."""
    titles = {"a": " One (1990)", "b": "Two (2010) ", "c": "None"}
    items = "item_id,title\n" + "".join(f'{each},"{text}"\n' for each, text in titles.items())
    year = YEAR | {"column": "title", "pattern": r"\((\d{4})\)"}
    word = {"name": "word", "kind": "categorical", "column": "title", "pattern": r"^\s*(One|Two)?"}
    features = described(dataset(tmp_path, [year, word], items))
    for row, text in enumerate(titles.values()):
        asked = features.encoding.items.encode_one({"year": text, "word": text}, Counter())
        assert asked[0].tolist() == features.items[row].tolist()
