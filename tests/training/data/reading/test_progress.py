import gzip
import sqlite3
from pathlib import Path

import fsspec
import mongomock
import polars as pl
import pymongo
import pytest

from gnnrec_training.config import FileFormat, MongoSource, ReadOptions, Source, SqlSource
from gnnrec_training.data.reading.progress import ReadProgress, estimate_rows
from gnnrec_training.data.reading.sources import open_table

ROWS = 120_000


class Heard:
    """A reporter that records the steps, and the done, total and note of each count."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.counts: list[tuple[float, float | None, str]] = []

    def start(self, step: str, total: float) -> None:
        self.steps.append(step)

    def advance(self, done: float, note: str = "") -> None: ...

    def tell(self, line: str) -> None: ...

    def count(self, done: float, total: float | None, note: str = "") -> None:
        self.counts.append((done, total, note))


def rows(count: int = ROWS, first: int = 0) -> pl.DataFrame:
    return pl.DataFrame({"user_id": [f"user-{n}" for n in range(first, first + count)], "n": 1.5})


def heard(source: Source | Path, folder: object = "", format: FileFormat | None = None) -> Heard:
    reporter = Heard()
    found = open_table(
        source, str(folder), None, ReadOptions(format=format), ReadProgress(reporter, "it")
    )
    done, total, note = reporter.counts[-1]
    assert done == found.rows.height
    assert note == f"{found.rows.height:,} rows"
    assert total is None or total >= done
    return reporter


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet"])
def test_the_rows_of_a_file_are_known_before_they_are_read(
    tmp_path: Path, form: FileFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("parquet", "delimited", "jsonlines"):
        monkeypatch.setattr(f"gnnrec_training.data.reading.{module}.BATCH_ROWS", 10_000)
    path = tmp_path / f"rows.{form}"
    table = rows()
    if form == "parquet":
        table.write_parquet(path)
    elif form == "jsonl":
        table.write_ndjson(path)
    else:
        table.write_csv(path, separator="\t" if form == "tsv" else ",")
    reporter = heard(path)
    assert reporter.steps == ["reading it"]
    done, total, _ = reporter.counts[0]
    assert 0 < done < ROWS
    assert total == pytest.approx(ROWS, rel=0 if form == "parquet" else 0.1)


def test_pairs_are_counted_and_not_lines(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_text("".join(f"u{n} a b c\n" for n in range(1000)))
    assert estimate_rows(path, "lightgcn") == 3000
    (tmp_path / "one").write_text("no line ends")
    assert estimate_rows(tmp_path / "one", "csv") is None


def test_what_is_packed_or_far_is_fetched_in_a_step_of_its_own(tmp_path: Path) -> None:
    content = rows().write_csv().encode()
    packed = gzip.compress(content)
    (tmp_path / "rows.csv.gz").write_bytes(packed)
    size = len(packed) / 1e6
    fsspec.filesystem("memory").pipe("/watched/rows.csv", content)
    for place, megabytes in (
        (tmp_path / "rows.csv.gz", size),
        ("memory://watched/rows.csv", len(content) / 1e6),
    ):
        reporter = heard(place)
        assert reporter.steps == ["reading it", "fetching it (MB)", "reading it"]
        fetched = [count for count in reporter.counts if not count[2]]
        assert list(fetched[-1][:2]) == pytest.approx([megabytes, megabytes])
        assert fetched == sorted(fetched)


def test_the_rows_of_many_files_follow_from_the_first_and_the_sizes(tmp_path: Path) -> None:
    for name, count in (("a", 30_000), ("b", 10_000), ("c", 50_000)):
        rows(count, 100_000).write_csv(tmp_path / f"{name}.csv")
        with fsspec.open(f"memory://watched/many/{name}.csv", "wb") as file:
            file.write(rows(count, 100_000).write_csv().encode())
    reporter = heard(Path("*.csv"), tmp_path)
    assert reporter.steps == ["reading it"]
    assert [total for _, total, _ in reporter.counts] == pytest.approx([90_000] * 3, rel=0.05)
    reporter = heard("memory://watched/many/*.csv")
    assert reporter.steps == ["reading it"], "a bar each would fill the screen"
    assert any(note == "fetching file 2 of 3, 0 MB" for _, _, note in reporter.counts)


def test_a_query_has_no_total_and_a_collection_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sqlite3.connect(tmp_path / "some.db") as connection:
        connection.execute("CREATE TABLE t (user_id)")
        connection.executemany("INSERT INTO t VALUES (?)", [(str(n),) for n in range(500)])
    connection.close()
    query = SqlSource(sql="sqlite:///some.db", query="SELECT user_id FROM t")
    assert {total for _, total, _ in heard(query, tmp_path).counts} == {None}
    monkeypatch.setattr("gnnrec_training.data.reading.mongo._BATCH_DOCUMENTS", 100)
    place = "mongodb://127.0.0.1:27017/shop"
    with mongomock.patch(servers=(("127.0.0.1", 27017),)):
        client: pymongo.MongoClient[dict[str, str]] = pymongo.MongoClient(place)
        client["shop"]["clicks"].insert_many([{"user_id": str(n)} for n in range(250)])
        clicks = MongoSource(mongo=place, collection="clicks")
        assert {total for _, total, _ in heard(clicks).counts} == {250}
        some = clicks.model_copy(update={"filter": {"user_id": {"$gte": "2"}}})
        assert {total for _, total, _ in heard(some).counts} == {None}
