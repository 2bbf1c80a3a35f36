"""Text tables as people write them: read right, or refused in one sentence with the place."""

import codecs
import csv
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnnrec_training.data.reading import delimited
from gnnrec_training.data.reading.sources import open_table
from gnnrec_training.errors import InvalidData
from tests.training.data.small_files import pairs, read

ROWS = [("u1", "i1"), ("u2", "i2"), ("u1", "i3")]
HEAD = "user_id,item_id\n"
TEXT = HEAD + "u1,i1\nu2,i2\nu1,i3\n"


def load(folder: Path, content: str | bytes, name: str = "x.csv", **data: Any) -> list[Any]:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return pairs(read(folder, name, **data))


def message(folder: Path, content: str | bytes, name: str = "x.csv", **data: Any) -> str:
    with pytest.raises(InvalidData) as caught:
        load(folder, content, name, **data)
    assert str(caught.value).isprintable()
    return str(caught.value).removeprefix(f"{folder}/")


LIKE_TEXT = {
    "semicolons": TEXT.replace(",", ";"),
    "tabs": TEXT.replace(",", "\t"),
    "bars": TEXT.replace(",", "|"),
    "double colons": TEXT.replace(",", "::"),
    "blank lines": HEAD + "\nu1,i1\n\n\nu2,i2\n   \nu1,i3\n\n\n",
    "empty rows of a spreadsheet": TEXT + ",\n,\n",
    "a byte order mark": "\ufeff" + TEXT,
    "windows line ends": TEXT.replace("\n", "\r\n"),
    "old line ends": TEXT.replace("\n", "\r"),
    "no last line end": TEXT.rstrip("\n"),
    "quotes around all": '"user_id","item_id"\n"u1","i1"\n"u2","i2"\n"u1","i3"\n',
    "a separator behind each line": TEXT.replace("\n", ",\n"),
    "spaces around": TEXT.replace(",", " , "),
    "more columns": "n,user_id,x,item_id\n1,u1,,i1\n2,u2,,i2\n3,u1,,i3\n",
    "quoted separators beside": 'a,user_id,item_id\n"x,y",u1,i1\n"x\ny",u2,i2\n"x""y",u1,i3\n',
    "quotes within": 'a,user_id,item_id\n12" vinyl,u1,i1\n"x"y,u2,i2\n"",u1,i3\n',
    "types behind the names": "user_id:token\titem_id:token\nu1\ti1\nu2\ti2\nu1\ti3\n",
}


@pytest.mark.parametrize("kind", LIKE_TEXT)
def test_a_table_reads_however_it_is_written(tmp_path: Path, kind: str) -> None:
    assert load(tmp_path, LIKE_TEXT[kind]) == ROWS


@pytest.mark.parametrize("suffix", ["csv", "txt", "dat", "data", "tsv", "inter"])
def test_a_table_with_tabs_reads_under_any_name(tmp_path: Path, suffix: str) -> None:
    assert load(tmp_path, LIKE_TEXT["tabs"], f"x.{suffix}") == ROWS


@pytest.mark.parametrize(
    ("encoding", "configured"),
    [("utf-16", None), ("utf-8-sig", None), ("cp1252", "windows-1252"), ("utf-32", None)],
)
def test_other_encodings_are_read_where_they_are_told(
    tmp_path: Path, encoding: str, configured: str | None
) -> None:
    content = (HEAD + "Zoë,café\n").encode(encoding)
    data = {"encoding": configured} if configured else {}
    assert load(tmp_path, content, **data) == [("Zoë", "café")]


def test_bytes_that_are_not_utf8_are_named_with_what_they_may_be(tmp_path: Path) -> None:
    content = (HEAD + "u1,i1\nu2,caf\u00e9\n").encode("cp1252")
    assert message(tmp_path, content) == (
        "x.csv line 3, column 'item_id': byte 0xe9 is not UTF-8; if this text is 'café', "
        'set data.encoding = "windows-1252"'
    )
    lines = (HEAD.replace("\n", ",note\n") + "u1,i1,caf\u00e9\n").encode("cp1252")
    assert load(tmp_path, lines) == [("u1", "i1")], "what is not asked for may be anything"
    assert "x.csv line 3: byte 0x81 is not cp1252" in message(
        tmp_path, (HEAD + "u1,i1\nu2,").encode() + b"\x81\n", encoding="windows-1252"
    )


def test_columns_without_names_go_by_number(tmp_path: Path) -> None:
    content = TEXT.removeprefix(HEAD)
    assert "name the columns by their numbers, such as user_column = 1" in message(
        tmp_path, content.replace("u", "")
    )
    assert load(tmp_path, content, user_column=1, item_column=2) == ROWS
    assert load(tmp_path, content, user_column=2, item_column=1) == [(b, a) for a, b in ROWS]
    assert load(tmp_path, TEXT, header=True) == ROWS
    numbers = "1::10::5::978300760\n2::20::3::978302109\n"
    more = {"user_column": 1, "item_column": 2, "weight_column": 3, "time_column": 4}
    assert load(tmp_path, numbers, "ratings.dat", **more) == [("1", "10"), ("2", "20")]


def test_a_separator_may_be_named(tmp_path: Path) -> None:
    assert load(tmp_path, TEXT.replace(",", "^"), separator="^") == ROWS
    assert load(tmp_path, TEXT.replace(",", " "), "x.txt", separator=" ") == ROWS


def test_a_text_with_a_header_is_never_taken_for_the_lightgcn_format(tmp_path: Path) -> None:
    assert load(tmp_path, TEXT, "x.txt") == ROWS
    assert load(tmp_path, "u1 i1 i3\nu2 i2\n", "x.txt") == [
        ("u1", "i1"), ("u1", "i3"), ("u2", "i2"),
    ]  # fmt: skip
    assert "begins with a line of names" in message(tmp_path, "user item\n1 2\n3 4\n", "x.txt")
    table = "1 10 5 978300760\n1 20 3 978302109\n2 10 4 978302109\n"
    assert "has 4 fields in every line and users that stand twice" in message(
        tmp_path, table, "x.txt"
    )
    assert load(tmp_path, table, "x.txt", separator=" ", user_column=1, item_column=2) == [
        ("1", "10"), ("1", "20"), ("2", "10"),
    ]  # fmt: skip
    found = message(tmp_path, "1 2 3\n2 3\n", "x.txt", weight_column="w")
    assert "has no columns; data.weight_column names one" in found
    late = "".join(f"{row} {row + 1}\n" for row in range(2000)) + "7,8\n"
    assert message(tmp_path, late, "x.txt").startswith("x.txt line 2001 holds ','")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (HEAD + "u1,i1\nu2,i2,3\n", "x.csv line 3 has 3 fields in place of 2; a text that holds"),
        (HEAD + 'u1,i1\nu2,"i2\nu3,i3\n', "x.csv line 3: a quote is opened and never closed"),
        (HEAD + 'u1,"i\n1"\n', "x.csv line 2, column 'item_id': 'i\\n1' holds a control character"),
        ("user,item_id\nu,i\n", "no column 'user_id'; its columns: user, item_id; is it 'user'?"),
        ("user_id,user_id,item_id\na,b,c\n", "x.csv has two columns 'user_id'"),
        (
            'a,user_id,item_id\n"x\ny\nz",u,i\n"\n\n",u,\n',
            "x.csv line 5, column 'item_id' is empty",
        ),
        ('a,user_id,item_id\n\n"x\ny",u,i\n\nb,u,\n', "x.csv line 6, column 'item_id' is empty"),
    ],
)
def test_what_is_wrong_is_named_by_the_line_that_an_editor_counts(
    tmp_path: Path, content: str, found: str
) -> None:
    assert found in message(tmp_path, content)


def test_numbers_with_a_decimal_comma_are_read_where_that_is_told(tmp_path: Path) -> None:
    content = "user_id;item_id;w\nu1;i1;3,5\n"
    found = message(tmp_path, content, weight_column="w")
    assert "x.csv line 2, column 'w': '3,5' is not a number; for a decimal comma set" in found
    (tmp_path / "x.csv").write_text(content)
    dataset = read(tmp_path, "x.csv", weight_column="w", decimal=",")
    assert dataset.train.weights.tolist() == [3.5]


@pytest.mark.parametrize("weight", ["1e39", "-1e39", "1e-46"])
def test_a_weight_that_no_weight_can_be_is_named(tmp_path: Path, weight: str) -> None:
    content = f"user_id,item_id,w\nu1,i1,1\nu2,i2,{weight}\n"
    assert message(tmp_path, content, weight_column="w").startswith("x.csv line 3, column 'w': ")


def test_an_empty_part_of_many_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "part-1.csv").write_text(TEXT)
    (tmp_path / "part-2.csv").write_text("")
    (tmp_path / "part-3.csv").write_text("\n\n")
    (tmp_path / "part-4.csv").write_text(HEAD)
    assert pairs(read(tmp_path, "part-*.csv")) == ROWS
    assert message(tmp_path, "", "part-1.csv") == "part-1.csv is empty"


def archive() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as packed:
        packed.writestr("x.csv", TEXT)
    return content.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        (
            "x.csv",
            archive(),
            "is a zip archive, or a workbook: unpack it, or save the sheet as",
        ),
        ("x.zip", archive(), "is a zip archive"),
        ("x.xlsx", archive(), "save the sheet as CSV"),
        ("x.csv", b"SQLite format 3\0...", "is a SQLite database; name {sql = "),
        ("x.csv", b"BZh91AY", "is packed with bzip2; unpack it: bunzip2"),
        ("x.parquet", TEXT.encode(), "x.parquet is no Parquet file"),
        ("x.parquet", b"PAR1cut", "is cut off, damaged, or encrypted"),
        ("x.what", TEXT.encode(), "is of an unknown format; name it .csv"),
        ("x.csv", b"\n \n", "x.csv is empty"),
    ],
)
def test_what_is_no_table_is_refused_with_what_to_do(
    tmp_path: Path, name: str, content: bytes, found: str
) -> None:
    assert found in message(tmp_path, content, name)


def test_parquet_is_read_whatever_its_name(tmp_path: Path) -> None:
    pl.DataFrame({"user_id": ["a"], "item_id": ["b"]}).write_parquet(tmp_path / "x.csv")
    assert pairs(read(tmp_path, "x.csv")) == [("a", "b")]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ('{"user_id": 1, "item_id": 2}\n\n{"user_id": 1, "item_id": \n', "line 3 is no JSON: some"),
        ('{"user_id": 1, "item_id": 2}\n[1, 2]\n', "x.jsonl line 2 is no JSON object"),
        ('{"user_id": 1, "item_id": NaN}\n', "x.jsonl line 1, column 'item_id' is empty"),
        ('{"user_id": 1, "item": 2}\n', "x.jsonl has no column 'item_id'"),
        ('{"user_id": {"a": 1}, "item_id": 2}\n', "column 'user_id'"),
        ('[{"user_id": 1}, 2]', "x.jsonl object 2 is no JSON object"),
        ('[{"user_id": 1', "x.jsonl line 1 is no JSON"),
        ("[" * 100_000, "is nested too deeply"),
        ('{"user_id": "\\ud800", "item_id": 2}\n', "line 1, column 'user_id'"),
    ],
)
def test_json_that_is_wrong_is_named_with_its_line(
    tmp_path: Path, content: str, found: str
) -> None:
    assert found in message(tmp_path, content, "x.jsonl")


def test_json_lines_may_begin_with_a_mark_and_hold_blank_lines(tmp_path: Path) -> None:
    lines = [json.dumps({"user_id": user, "item_id": item}) for user, item in ROWS]
    assert load(tmp_path, "\ufeff" + "\n\n".join(lines) + "\n\n", "x.jsonl") == ROWS


def test_a_key_that_comes_late_is_a_column(tmp_path: Path) -> None:
    lines = ['{"user_id": 1, "item_id": 2}', '{"user_id": 1, "item_id": 3, "w": 5}']
    found = message(tmp_path, "\n".join(lines) + "\n", "x.jsonl", weight_column="w")
    assert "x.jsonl line 1, column 'w' is empty" in found


FIELDS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp", "Zs"]), max_size=8
)


@settings(max_examples=60)
@given(
    rows=st.lists(st.tuples(FIELDS, FIELDS, FIELDS), min_size=1, max_size=30),
    separator=st.sampled_from([",", ";", "\t", "|"]),
    ends=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    blank=st.booleans(),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    carefully=st.booleans(),
)
def test_any_table_in_any_dialect_reads_back(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str]],
    separator: str,
    ends: str,
    quoting: Any,
    blank: bool,
    encoding: str,
    carefully: bool,
) -> None:
    """Read by polars, and by Python's csv module, which goes on where polars stops."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator=ends, quoting=quoting)
    writer.writerow(["user_id", "item_id", "note"])
    written = [(f"u{user}", f"i{item}", note) for user, item, note in rows]
    for row in written:
        writer.writerow(row)
        if blank:
            text.write(ends)
    path = tmp_path_factory.mktemp("d") / "x.csv"
    path.write_bytes(text.getvalue().encode(encoding))

    def no_polars(*_: object) -> Any:
        raise pl.exceptions.ComputeError("not today")

    with pytest.MonkeyPatch.context() as patch:
        if carefully:
            patch.setattr(delimited, "_polars_batches", no_polars)
        table = open_table(path)
    assert list(table.columns) == ["user_id", "item_id", "note"]
    found = [table.column(name).fill_null("").to_list() for name in table.columns]
    assert list(zip(*found, strict=True)) == written
    assert table.place(len(written) - 1).startswith(f"{path} line ")


def test_the_mark_of_an_encoding_tells_it_whatever_is_configured(tmp_path: Path) -> None:
    content = codecs.BOM_UTF8 + TEXT.encode()
    assert load(tmp_path, content, encoding="windows-1252") == ROWS
