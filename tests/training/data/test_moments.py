"""Moments, however they are written, are the same moments."""

import sqlite3
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnnrec_training.data.dataset import Dataset
from gnnrec_training.data.moments import TimeReader
from gnnrec_training.data.tables.origins import Origin
from gnnrec_training.data.tables.table import Table
from gnnrec_training.errors import InvalidData
from tests.training.data.small_files import read

MOMENTS = [
    datetime(2024, 1, 31, 10, 0, 5, tzinfo=UTC),
    datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC),
    datetime(2031, 6, 1, tzinfo=UTC),
]
ABROAD = timezone(timedelta(hours=2))
SECONDS = [moment.timestamp() for moment in MOMENTS]
TIMED = {"time_column": "t"}


def load(folder: Path, texts: list[Any], **data: Any) -> Dataset:
    lines = [f"u{row},i{row},{text}" for row, text in enumerate(texts)]
    (folder / "x.csv").write_text("user_id,item_id,t\n" + "\n".join(lines) + "\n")
    return read(folder, "x.csv", **TIMED, **data)


def times(dataset: Dataset) -> list[float]:
    assert dataset.train.times is not None
    return list(dataset.train.times)


def column(values: list[Any], dtype: Any = None) -> Table:
    rows = pl.DataFrame({"t": pl.Series(values, dtype=dtype)})
    return Table("x", rows, ("t",), (Origin("x", 1),))


WRITTEN = {
    "seconds": [f"{each:.0f}" for each in SECONDS],
    "fractions": [f"{each:.3f}" for each in SECONDS],
    "milliseconds": [f"{1e3 * each:.0f}" for each in SECONDS],
    "microseconds": [f"{1e6 * each:.0f}" for each in SECONDS],
    "nanoseconds": [f"{1e9 * each:.0f}" for each in SECONDS],
    "ISO with Z": [f"{each:%Y-%m-%dT%H:%M:%SZ}" for each in MOMENTS],
    "ISO with an offset": [each.astimezone(ABROAD).isoformat() for each in MOMENTS],
    "ISO without zone": [f"{each:%Y-%m-%dT%H:%M:%S}" for each in MOMENTS],
    "ISO with a space": [f"{each:%Y-%m-%d %H:%M:%S}" for each in MOMENTS],
    "a space and UTC": [f"{each:%Y-%m-%d %H:%M:%S} UTC" for each in MOMENTS],
    "a space and an offset": [f"{each:%Y-%m-%d %H:%M:%S} +0000" for each in MOMENTS],
    "fractions of seconds": [f"{each:%Y-%m-%d %H:%M:%S}.000000" for each in MOMENTS],
    "spaces around": [f"  {each:%Y-%m-%d %H:%M:%S} " for each in MOMENTS],
    "basic": [f"{each:%Y%m%dT%H%M%SZ}" for each in MOMENTS],
    "14 digits": [f"{each:%Y%m%d%H%M%S}" for each in MOMENTS],
}


@pytest.mark.parametrize("form", WRITTEN)
def test_every_form_is_the_same_moments(tmp_path: Path, form: str) -> None:
    assert times(load(tmp_path, WRITTEN[form])) == pytest.approx(SECONDS, abs=1e-3)


@pytest.mark.parametrize(
    "form", ["2024-01-31", "20240131", "2024-01-31 00:00", "2024-01-31T00:00Z"]
)
def test_dates_alone_are_their_midnight(tmp_path: Path, form: str) -> None:
    assert times(load(tmp_path, [form] * 2)) == [datetime(2024, 1, 31, tzinfo=UTC).timestamp()] * 2


def test_another_form_is_read_as_the_configuration_names_it(tmp_path: Path) -> None:
    texts = ["31.01.2024 10:00", "01.02.2024 23:59"]
    found = times(load(tmp_path, texts, time_format="%d.%m.%Y %H:%M"))
    assert found[0] == datetime(2024, 1, 31, 10, tzinfo=UTC).timestamp()
    with pytest.raises(InvalidData, match=r"line 2, column 't'.*data\.time_format"):
        load(tmp_path, texts)
    with pytest.raises(InvalidData, match="line 3, column 't': '2024-02-01' is not written as"):
        load(tmp_path, ["31.01.2024", "2024-02-01"], time_format="%d.%m.%Y")


def test_moments_of_types_are_those_of_texts(tmp_path: Path) -> None:
    kinds: dict[str, pl.Series] = {
        "aware": pl.Series(MOMENTS, dtype=pl.Datetime("us", "UTC")),
        "abroad": pl.Series(MOMENTS, dtype=pl.Datetime("us", "UTC")).dt.convert_time_zone(
            "Asia/Tokyo"
        ),
        "naive": pl.Series(
            [each.replace(tzinfo=None) for each in MOMENTS], dtype=pl.Datetime("ns")
        ),
        "milliseconds": pl.Series(MOMENTS).cast(pl.Datetime("ms", "UTC")),
        "integers": pl.Series([int(1e3 * each) for each in SECONDS]),
        "floats": pl.Series(SECONDS),
    }
    for kind, values in kinds.items():
        rows = pl.DataFrame({"user_id": [1, 2, 3], "item_id": [1, 2, 3], "t": values})
        rows.write_parquet(tmp_path / f"{kind}.parquet")
        assert times(read(tmp_path, f"{kind}.parquet", **TIMED)) == pytest.approx(SECONDS), kind
    days = pl.DataFrame({"user_id": [1], "item_id": [1], "t": [date(2024, 1, 31)]})
    days.write_parquet(tmp_path / "days.parquet")
    midnight = datetime(2024, 1, 31, tzinfo=UTC).timestamp()
    assert times(read(tmp_path, "days.parquet", **TIMED)) == [midnight]


def test_moments_of_a_database_are_read(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "x.db") as database:
        database.execute("CREATE TABLE x (user_id, item_id, t TIMESTAMP)")
        rows = [(row, row, f"{each:%Y-%m-%d %H:%M:%S}") for row, each in enumerate(MOMENTS)]
        database.executemany("INSERT INTO x VALUES (?, ?, ?)", rows)
    database.close()
    source = {"sql": "sqlite:///x.db", "query": "SELECT * FROM x ORDER BY user_id"}
    assert times(read(tmp_path, source, **TIMED)) == pytest.approx(SECONDS)


def test_what_was_understood_of_moments_is_said(tmp_path: Path) -> None:
    def said(form: str) -> str:
        return "; ".join(load(tmp_path, WRITTEN[form]).summary.lines())

    assert "moments are Unix milliseconds, from 1999-12-31 to 2031-06-01" in said("milliseconds")
    assert "without a time zone are taken as UTC" in said("ISO without zone")
    assert "without a time zone" not in said("ISO with Z")
    lines = load(tmp_path, [1, 2, 3]).summary.lines()
    assert any("too small for Unix time: they give an order" in line for line in lines)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["2024-01-01", "yesterday"], "line 3, column 't': 'yesterday' is no moment"),
        (["2024-01-01", "2024-13-01"], "line 3, column 't': '2024-13-01' is no moment"),
        (["2024-01-01", ""], "line 3, column 't' is empty"),
        (["2024-01-01", "1700000000"], "line 3, column 't': '1700000000' is a number among dates"),
        (["1700000000", "1700000000000"], "line 3, column 't': '1700000000000' is of Unix mill"),
        (["1700000000", "inf"], "line 3, column 't': 'inf' is not a finite number"),
        (["12:30", "12:31"], "line 2, column 't': '12:30' is no moment"),
    ],
)
def test_a_moment_that_cannot_be_read_is_named(
    tmp_path: Path, texts: list[str], message: str
) -> None:
    with pytest.raises(InvalidData) as caught:
        load(tmp_path, texts)
    assert message in str(caught.value)


def test_durations_are_no_moments(tmp_path: Path) -> None:
    rows = pl.DataFrame({"user_id": [1], "item_id": [1], "t": [timedelta(days=1)]})
    rows.write_parquet(tmp_path / "x.parquet")
    with pytest.raises(InvalidData, match="column 't': durations and times of day are no moments"):
        read(tmp_path, "x.parquet", **TIMED)


def test_a_half_life_needs_moments(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="column 't' cannot be of moments"):
        load(tmp_path, [1, 2, 3], graph={"half_life_days": 30})


@given(
    st.lists(st.datetimes(datetime(1975, 1, 1), datetime(2100, 1, 1)), min_size=1, max_size=20),
    st.sampled_from([1.0, 1e3, 1e6, 1e9]),
)
def test_numbers_of_any_unit_are_told_apart(moments: list[datetime], factor: float) -> None:
    seconds = np.array([np.floor(each.replace(tzinfo=UTC).timestamp()) for each in moments])
    time_reader = TimeReader("t")
    found = time_reader.read(column([int(each) * int(factor) for each in seconds.astype(int)]))
    np.testing.assert_allclose(found, seconds, rtol=1e-12)


def test_batches_of_a_column_are_of_one_unit() -> None:
    time_reader = TimeReader("t")
    time_reader.read(column([1.7e9]))
    time_reader.read(column([0.0, 5.0]))  # numbers that only give an order
    with pytest.raises(InvalidData, match=r"row 1.*Unix milliseconds, and others are of Unix sec"):
        time_reader.read(column([1.7e12]))
