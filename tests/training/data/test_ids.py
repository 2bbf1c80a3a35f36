"""One node is one id, through every reader and every type."""

import gzip
import json
import sqlite3
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import mongomock
import numpy as np
import polars as pl
import pymongo
import pytest

from gnnrec_training.errors import InvalidData
from tests.training.data.small_files import pairs, read

LARGE = 2**60 + 1
WHOLE = [LARGE, 3, 7, 3, 2**53, 0]
WHOLE_IDS = [str(LARGE), "3", "7", str(2**53), "0"]
TEXTS = ["007", "7", "a b", "Žofie 猫", "3.0.1", "1e3", "user@example.com", "7"]
TEXT_IDS = ["007", "7", "a b", "Žofie 猫", "3.0.1", "1e3", "user@example.com"]


def frame(ids: Sequence[Any]) -> dict[str, list[Any]]:
    return {"user_id": list(ids), "item_id": [f"i{row}" for row in range(len(ids))]}


def csv(folder: Path, ids: Sequence[Any], separator: str = ",", suffix: str = "csv") -> str:
    columns = frame(ids)
    lines = [separator.join(columns)]
    lines += [separator.join(map(str, row)) for row in zip(*columns.values(), strict=True)]
    (folder / f"x.{suffix}").write_text("\n".join(lines) + "\n")
    return f"x.{suffix}"


def padded(folder: Path, ids: Sequence[Any]) -> str:
    return csv(folder, [f" {each}\t" if row % 2 else each for row, each in enumerate(ids)])


def zipped(folder: Path, ids: Sequence[Any]) -> str:
    path = folder / csv(folder, ids)
    (folder / "x.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    return "x.csv.gz"


def recbole(folder: Path, ids: Sequence[Any]) -> str:
    lines = ["user_id:token\titem_id:token", *(f"{each}\ti{row}" for row, each in enumerate(ids))]
    (folder / "x.inter").write_text("\n".join(lines) + "\n")
    return "x.inter"


def jsonl(folder: Path, ids: Sequence[Any]) -> str:
    rows = [{"user_id": each, "item_id": f"i{row}"} for row, each in enumerate(ids)]
    (folder / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return "x.jsonl"


def json_array(folder: Path, ids: Sequence[Any]) -> str:
    rows = [{"user_id": each, "item_id": f"i{row}"} for row, each in enumerate(ids)]
    (folder / "x.json").write_text(json.dumps(rows, indent=1))
    return "x.json"


def parquet(folder: Path, ids: Sequence[Any]) -> str:
    pl.DataFrame(frame(ids)).write_parquet(folder / "x.parquet")
    return "x.parquet"


def sqlite(folder: Path, ids: Sequence[Any]) -> dict[str, str]:
    with sqlite3.connect(folder / "x.db") as database:
        database.execute("CREATE TABLE x (user_id, item_id)")
        database.executemany(
            "INSERT INTO x VALUES (?, ?)", [(each, f"i{row}") for row, each in enumerate(ids)]
        )
    database.close()
    return {"sql": "sqlite:///x.db", "query": "SELECT * FROM x ORDER BY rowid"}


TEXT_READERS: dict[str, Callable[[Path, Sequence[Any]], Any]] = {
    "csv": csv,
    "semicolons": lambda folder, ids: csv(folder, ids, ";"),
    "tabs": lambda folder, ids: csv(folder, ids, "\t", "tsv"),
    "bars": lambda folder, ids: csv(folder, ids, "|", "dat"),
    "double colons": lambda folder, ids: csv(folder, ids, "::", "dat"),
    "spaces around": padded,
    "gzip": zipped,
    "recbole": recbole,
    "jsonl": jsonl,
    "json": json_array,
    "parquet": parquet,
    "sqlite": sqlite,
}


@pytest.mark.parametrize("reader", TEXT_READERS)
def test_texts_are_ids_exactly_as_they_are_written(tmp_path: Path, reader: str) -> None:
    dataset = read(tmp_path, TEXT_READERS[reader](tmp_path, TEXTS))
    assert dataset.user_ids == TEXT_IDS


@pytest.mark.parametrize("reader", TEXT_READERS)
def test_whole_numbers_are_ids_to_their_last_digit(tmp_path: Path, reader: str) -> None:
    dataset = read(tmp_path, TEXT_READERS[reader](tmp_path, WHOLE))
    assert dataset.user_ids == WHOLE_IDS


@pytest.mark.parametrize("reader", ["csv", "jsonl", "json", "parquet", "sqlite", "gzip"])
def test_a_whole_number_with_a_decimal_point_is_that_number(tmp_path: Path, reader: str) -> None:
    dataset = read(tmp_path, TEXT_READERS[reader](tmp_path, [3.0, 7.0, 3.0, 12.0]))
    assert dataset.user_ids == ["3", "7", "12"]


@pytest.mark.parametrize("reader", ["csv", "jsonl", "json", "sqlite"])
def test_integers_beside_floating_point_numbers_lose_nothing(tmp_path: Path, reader: str) -> None:
    dataset = read(tmp_path, TEXT_READERS[reader](tmp_path, [LARGE, 3.0, LARGE + 1, 7]))
    assert dataset.user_ids == [str(LARGE), "3", str(LARGE + 1), "7"]


@pytest.mark.parametrize("reader", ["csv", "jsonl", "json", "sqlite", "parquet", "recbole"])
def test_a_number_that_is_not_whole_among_whole_ones_is_named(tmp_path: Path, reader: str) -> None:
    ids = [3.0, 4.0, 3.5] if reader == "parquet" else [LARGE, 4, 3.5]
    with pytest.raises(InvalidData) as caught:
        read(tmp_path, TEXT_READERS[reader](tmp_path, ids))
    place = {"csv": "line 4", "recbole": "line 4", "jsonl": "line 3", "json": "object 3"}
    assert f" {place.get(reader, 'row 3')}, column 'user_id': " in str(caught.value)
    assert "3.5" in str(caught.value)
    assert "whole" in str(caught.value)


def test_numbers_are_texts_where_that_is_asked_for(tmp_path: Path) -> None:
    name = csv(tmp_path, ["3.0", "3", "3.5"])
    assert read(tmp_path, name, ids="text").user_ids == ["3.0", "3", "3.5"]


def test_texts_with_points_are_no_numbers_where_others_are_words(tmp_path: Path) -> None:
    assert read(tmp_path, csv(tmp_path, ["3.0", "3", "x"])).user_ids == ["3.0", "3", "x"]
    assert read(tmp_path, csv(tmp_path, ["1.1", "1.2", "2.1"])).user_ids == ["1.1", "1.2", "2.1"]


@pytest.mark.parametrize("value", [2.0**53 + 2, 1e300])
def test_a_floating_point_number_too_large_to_be_exact_is_refused(
    tmp_path: Path, value: float
) -> None:
    pl.DataFrame(frame([value, 1.0])).write_parquet(tmp_path / "x.parquet")
    with pytest.raises(InvalidData, match=r"row 1, column 'user_id': .* export ids as integers"):
        read(tmp_path, "x.parquet")


def test_parts_of_different_types_name_the_same_people(tmp_path: Path) -> None:
    """Pandas writes ids as floating-point numbers in a file in which one is missing."""
    types: list[Any] = [pl.Int64, pl.Float64, pl.String, pl.Int32, pl.UInt64]
    for part, kind in enumerate(types):
        rows = pl.DataFrame({"user_id": [1, 2, 3], "item_id": [10 + part, 20, 30]})
        rows.cast({"user_id": kind, "item_id": kind}).write_parquet(tmp_path / f"p-{part}.parquet")
    dataset = read(tmp_path, "p-*.parquet")
    assert dataset.user_ids == ["1", "2", "3"]
    assert dataset.item_ids == ["10", "20", "30", "11", "12", "13", "14"]


def test_uuids_are_their_texts_whether_16_bytes_or_text(tmp_path: Path) -> None:
    known = [uuid.UUID(int=2**127 + row) for row in range(3)]
    binary = {"user_id": [each.bytes for each in known], "item_id": ["a", "b", "c"]}
    pl.DataFrame(binary).write_parquet(tmp_path / "p-1.parquet")
    text = {"user_id": [str(each) for each in known], "item_id": ["d", "e", "f"]}
    pl.DataFrame(text).write_parquet(tmp_path / "p-2.parquet")
    assert read(tmp_path, "p-*.parquet").user_ids == [str(each) for each in known]
    source = sqlite(tmp_path, [each.bytes for each in known])
    assert read(tmp_path, source).user_ids == [str(each) for each in known]


def test_texts_stored_as_bytes_are_texts(tmp_path: Path) -> None:
    binary = {"user_id": [b"exactly-16-bytes", b"x"], "item_id": [b"a", b"b"]}
    pl.DataFrame(binary).write_parquet(tmp_path / "x.parquet")
    assert read(tmp_path, "x.parquet").user_ids == ["exactly-16-bytes", "x"]


def test_numbers_of_mongodb_are_the_numbers_of_other_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bson.decimal128 import Decimal128
    from bson.int64 import Int64

    client: Any = mongomock.MongoClient()
    values = [Int64(LARGE), 3, 3.0, Int64(7), 7.0, Decimal128("12"), 12]
    for row, value in enumerate(values):
        client.shop.x.insert_one({"_id": row, "user_id": value, "item_id": f"i{row}"})
    monkeypatch.setattr(pymongo, "MongoClient", lambda *_, **__: client)
    source = {"mongo": "mongodb://h/", "database": "shop", "collection": "x"}
    assert read(tmp_path, source).user_ids == [str(LARGE), "3", "7", "12"]


MISSING = ["u", "", " ", "nan", "NaN", "NULL", "null", "None", "<NA>", "\\N", "NaT", "v"]


def test_missing_ids_are_refused_with_their_place(tmp_path: Path) -> None:
    for value in MISSING[1:-1]:
        name = csv(tmp_path, ["u", value, "v"])
        with pytest.raises(InvalidData, match="line 3, column 'user_id'") as caught:
            read(tmp_path, name)
        assert 'data.missing_ids = "drop"' in str(caught.value)


def test_missing_ids_are_left_out_and_counted_where_that_is_asked_for(tmp_path: Path) -> None:
    ids = [*MISSING, *(f"w{row}" for row in range(20))]
    dataset = read(tmp_path, csv(tmp_path, ids), missing_ids="drop")
    assert dataset.user_ids == ["u", "v", *(f"w{row}" for row in range(20))]
    assert dataset.summary.missing["user_id"] == 10
    (warning,) = dataset.summary.warnings
    assert "10 of 32 rows are left out" in warning
    assert "line 3" in warning


def test_missing_values_of_types_are_missing_ids(tmp_path: Path) -> None:
    rows = pl.DataFrame(
        {"user_id": [1.0, None, float("nan"), 2.0, 3.0], "item_id": [1, 2, 3, 4, 5]}
    )
    rows.write_parquet(tmp_path / "x.parquet")
    dataset = read(tmp_path, "x.parquet", missing_ids="drop")
    assert pairs(dataset) == [("1", "1"), ("2", "4"), ("3", "5")]
    assert dataset.summary.missing["user_id"] == 2


def test_words_that_may_be_missing_are_ids_where_that_is_asked_for(tmp_path: Path) -> None:
    dataset = read(tmp_path, csv(tmp_path, ["None", "nan", "u"]), missing_ids="keep")
    assert dataset.user_ids == ["None", "nan", "u"]


def test_a_source_of_which_most_rows_have_no_id_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="more than half of the rows have no id"):
        read(tmp_path, csv(tmp_path, ["u", "", ""]), missing_ids="drop")


@pytest.mark.parametrize("odd", ["a\x07b", "a\x85b", "a\u2028b"])
def test_an_id_with_a_control_character_is_named(tmp_path: Path, odd: str) -> None:
    pl.DataFrame(frame(["u", odd])).write_parquet(tmp_path / "x.parquet")
    with pytest.raises(
        InvalidData, match=r"row 2, column 'user_id': .* control character"
    ) as caught:
        read(tmp_path, "x.parquet")
    assert str(caught.value).isprintable()


def test_many_batches_number_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    ids = [f"u{number}" for number in generator.integers(0, 500, 5000)]
    name = csv(tmp_path, [f" {each} " if row % 3 else each for row, each in enumerate(ids)])
    whole = read(tmp_path, name)
    monkeypatch.setattr("gnnrec_training.data.reading.delimited.BATCH_ROWS", 97)
    parts = read(tmp_path, name)
    assert whole.user_ids == parts.user_ids == list(dict.fromkeys(ids))
    assert whole.fingerprint() == parts.fingerprint()
    assert whole.summary.joined_ids["users"] > 400


def test_tables_and_interactions_have_one_rule(tmp_path: Path) -> None:
    """3.0 in one table is 3 in another, and spaces around an id do not count."""
    (tmp_path / "items.csv").write_text("item_id,title\n 1 ,One\n2,Two\n")
    pl.DataFrame({"user_id": ["u", "v"], "item_id": [1.0, 2.0]}).write_parquet(
        tmp_path / "x.parquet"
    )
    dataset = read(tmp_path, "x.parquet", items={"file": "items.csv"})
    assert (dataset.item_ids, dataset.item_titles) == (["1", "2"], ["One", "Two"])
    (tmp_path / "items.csv").write_text("item_id,title\n1.0,One\n2.0,Two\n")
    dataset = read(tmp_path, "x.parquet", items={"file": "items.csv"})
    assert dataset.item_titles == ["One", "Two"]
    assert dataset.summary.known["items"] == (2, 2)


def test_a_table_that_knows_none_is_warned_of_with_examples(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id,title\n001,One\n002,Two\n")
    (tmp_path / "x.csv").write_text("user_id,item_id\nu,1\nv,2\n")
    (warning,) = read(tmp_path, "x.csv", items={"file": "items.csv"}).summary.warnings
    assert "knows none of the items" in warning
    assert "'001', '002'" in warning
    assert "'1', '2'" in warning
