import gzip
from pathlib import Path

import polars as pl
import pytest

from gnnrec_training.errors import InvalidData
from tests.training.data.small_files import pairs, read, read_table

HEAD = "user_id,item_id,rating\n"
ROWS = {"user_id": ["ann", "Žofie 猫"], "item_id": ["a b", "c"], "rating": ["4.5", "3"]}


def write(path: Path, kind: str) -> Path:
    table = pl.DataFrame(ROWS)
    path = path / f"data.{kind}"
    if kind == "parquet":
        table.with_columns(pl.col("rating").cast(pl.Float32)).write_parquet(path)
    elif kind == "jsonl":
        table.write_ndjson(path)
    else:
        table.write_csv(path, separator="\t" if kind == "tsv" else ",")
    return path


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
@pytest.mark.parametrize("packed", [False, True])
def test_every_format_reads_alike_gzipped_or_not(tmp_path: Path, kind: str, packed: bool) -> None:
    path = write(tmp_path, kind)
    if packed:
        content = path.read_bytes()
        path = path.with_name(path.name + ".gz")
        path.write_bytes(gzip.compress(content))
    table = read_table(path, ["user_id", "item_id"], ["rating"])
    assert table.rows() == [("ann", "a b", 4.5), ("Žofie 猫", "c", 3.0)]


def test_ids_stay_texts_whatever_they_look_like(tmp_path: Path) -> None:
    """Ids keep leading zeros, and are not read as numbers."""
    path = tmp_path / "data.csv"
    path.write_text("user_id,item_id\n007,1e3\n")
    assert read_table(path, ["user_id", "item_id"], []).rows() == [("007", "1e3")]


def test_the_lightgcn_format_is_a_user_and_their_items_a_line(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_text("0 5 6\n1\n\n2 5\n")
    assert pairs(read(tmp_path, "train.txt")) == [("0", "5"), ("0", "6"), ("2", "5")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("d.csv", "", "d.csv is empty"),
        ("d.csv", HEAD + "", "d.csv has no rows"),
        ("d.csv", "user_id,rating\na,1\n", "has no column 'item_id'; its columns: user_id, rating"),
        (
            "d.csv",
            HEAD + "a,b,1\na,c,x\n",
            "line 3, column 'rating': 'x' is not a n",
        ),
        (
            "d.csv",
            HEAD + "a,b,NaN\n",
            "line 2, column 'rating': 'NaN' is not a fin",
        ),
        (
            "d.csv",
            HEAD + "a,b,inf\n",
            "line 2, column 'rating': 'inf' is not a fin",
        ),
        ("d.csv", HEAD + "a,b,\n", "line 2, column 'rating' is empty"),
        ("d.csv", HEAD + "a,b,1\n,c,2\n", "line 3, column 'user_id' is empty"),
        (
            "d.csv",
            HEAD + '"a\nb",c,1\n',
            "line 2, column 'user_id': 'a\\nb' holds",
        ),
        ("d.csv", HEAD + "a,b,1,2,3\n", "d.csv line 2 has 5 fields in place of 3"),
        (
            "d.jsonl",
            '{"user_id":"a","item_id":"b","rating":1}\n{"user',
            "d.jsonl line 2 is no JSON",
        ),
        ("d.jsonl", '{"user_id":["a"],"item_id":"b","rating":1}\n', "column 'user_id'"),
        ("d.parquet", "PAR1nonsense", "is not readable as parquet"),
        ("d.xlsx", "x", "is of an unknown format"),
        ("d.csv.gz", "\x1f", "d.csv.gz"),
    ],
)
def test_a_bad_file_is_named_with_line_and_column(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InvalidData) as caught:
        read_table(tmp_path / name, ["user_id", "item_id"], ["rating"])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_cut_gzip_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "d.csv.gz"
    path.write_bytes(gzip.compress(b"user_id,item_id\n" * 1000)[:-12])
    with pytest.raises(InvalidData, match=r"d\.csv\.gz cannot be read"):
        read_table(path, ["user_id", "item_id"], [])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="no file"):
        read(tmp_path, "none.txt")
