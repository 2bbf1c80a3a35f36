"""The same interactions, however they are written."""

import gzip
import json
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.data.small_files import pairs, read

Moment = Callable[[int], Any]
Source = str | dict[str, str]

IDS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp", "Zs"]), max_size=6
)
MOMENTS: dict[str, Moment] = {
    "seconds": lambda second: second,
    "milliseconds": lambda second: 1000 * second,
    "microseconds": lambda second: 1_000_000 * second,
    "iso": lambda second: datetime.fromtimestamp(second, UTC).isoformat(),
    "no zone": lambda second: f"{datetime.fromtimestamp(second, UTC):%Y-%m-%d %H:%M:%S}",
}


def delimited(separator: str, suffix: str, quote: str) -> Callable[[Path, pl.DataFrame], Source]:
    def write(folder: Path, frame: pl.DataFrame) -> Source:
        style: Any = quote
        frame.write_csv(folder / f"x.{suffix}", separator=separator, quote_style=style)
        return f"x.{suffix}"

    return write


def packed(folder: Path, frame: pl.DataFrame) -> Source:
    (folder / "x.csv.gz").write_bytes(gzip.compress(frame.write_csv().encode()))
    return "x.csv.gz"


def parts(folder: Path, frame: pl.DataFrame) -> Source:
    half = len(frame) // 2
    for number, part in enumerate((frame[:half], frame[half:half], frame[half:])):
        part.write_parquet(folder / f"x-{number}.parquet")
    return "x-*.parquet"


def lines(folder: Path, frame: pl.DataFrame) -> Source:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in frame.to_dicts())
    (folder / "x.jsonl").write_text(text, encoding="utf-8")
    return "x.jsonl"


def array(folder: Path, frame: pl.DataFrame) -> Source:
    (folder / "x.json").write_text(json.dumps(frame.to_dicts()))
    return "x.json"


def database(folder: Path, frame: pl.DataFrame) -> Source:
    with sqlite3.connect(folder / "x.db") as rows:
        rows.execute("CREATE TABLE x (who, what, w, t)")
        rows.executemany("INSERT INTO x VALUES (?, ?, ?, ?)", frame.rows())
    rows.close()
    return {"sql": "sqlite:///x.db", "query": "SELECT * FROM x"}


FORMATS: dict[str, Callable[[Path, pl.DataFrame], Source]] = {
    "comma": delimited(",", "csv", "necessary"),
    "semicolon": delimited(";", "csv", "always"),
    "tab": delimited("\t", "tsv", "non_numeric"),
    "bar": delimited("|", "txt", "necessary"),
    "packed": packed,
    "parts": parts,
    "lines": lines,
    "array": array,
    "database": database,
}


@settings(max_examples=15)
@pytest.mark.parametrize("form", FORMATS)
@given(
    ids=st.lists(st.tuples(IDS, IDS), min_size=2, max_size=25, unique=True),
    weights=st.lists(st.floats(2**-10, 2**20, width=32), min_size=25, max_size=25),
    seconds=st.lists(st.integers(10**9, 2 * 10**9), min_size=25, max_size=25),
    moment=st.sampled_from(sorted(MOMENTS)),
)
def test_any_interactions_in_any_format_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    form: str,
    ids: list[tuple[str, str]],
    weights: list[float],
    seconds: list[int],
    moment: str,
) -> None:
    folder = tmp_path_factory.mktemp("x")
    named = [(f"u{user}", f"i{item}") for user, item in ids]
    frame = pl.DataFrame(
        {
            "who": [user for user, _ in named],
            "what": [item for _, item in named],
            "w": weights[: len(ids)],
            "t": [MOMENTS[moment](second) for second in seconds[: len(ids)]],
        }
    )
    columns = {"user_column": "who", "item_column": "what"}
    columns |= {"weight_column": "w", "time_column": "t"}
    dataset = read(folder, FORMATS[form](folder, frame), **columns)
    times = dataset.train.times
    assert times is not None
    found = zip(pairs(dataset), dataset.train.weights.tolist(), times.tolist(), strict=True)
    assert sorted(found) == sorted(zip(named, weights, map(float, seconds), strict=False))
