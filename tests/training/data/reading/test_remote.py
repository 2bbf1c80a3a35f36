"""Files by pattern and by URL: fsspec's memory file system, and a real web server."""

import functools
import gzip
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import polars as pl
import pytest

from gnnrec_registry import ModelStore
from gnnrec_training.addresses import address, redact
from gnnrec_training.config import Config
from gnnrec_training.data.dataset import Dataset
from gnnrec_training.data.load import load_dataset
from gnnrec_training.data.reading.sources import open_table
from gnnrec_training.errors import InvalidConfig, InvalidData
from gnnrec_training.reporter import Silent
from gnnrec_training.train import train

PARTS = {"part-1.csv": "user_id,item_id\nu,a\nv,b\n", "part-2.csv": "user_id,item_id\nu,b\n"}


def load(beside: Path, interactions: Any, **data: Any) -> Dataset:
    raw = {"interactions": interactions, **data}
    split = {"test": 0, "validation": 0}
    config = Config.model_validate({"name": "toy", "data": raw, "split": split})
    return load_dataset(config, beside)


def message(beside: Path, interactions: Any, **data: Any) -> str:
    with pytest.raises(InvalidData) as caught:
        load(beside, interactions, **data)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def write(folder: Path) -> str:
    for name, text in PARTS.items():
        (folder / name).write_text(text)
    return str(folder)


@pytest.fixture
def memory() -> Iterator[str]:
    """Provide the URL of a folder in memory that holds the parts."""
    files = fsspec.filesystem("memory")
    for name, text in PARTS.items():
        files.pipe(f"/bucket/{name}", text.encode())
    yield "memory://bucket"
    files.rm("/bucket", recursive=True)


def test_a_pattern_means_all_its_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    one = load(tmp_path, "part-*.csv", folder=write(tmp_path))
    assert (one.user_ids, one.item_ids) == (["u", "v"], ["a", "b"])
    assert one.train.user_rows.tolist() == [0, 1, 0]
    (tmp_path / "deep" / "er").mkdir(parents=True)
    pl.DataFrame({"user_id": [7], "item_id": ["c"]}).write_parquet(
        tmp_path / "deep" / "er" / "x.parquet"
    )
    assert load(tmp_path, "**/*.parquet").user_ids == ["7"]


def test_a_file_is_meant_by_its_name_before_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "a[1].csv").write_text(PARTS["part-1.csv"])
    assert len(load(tmp_path, "a[1].csv").train) == 2


def test_a_bad_row_of_many_files_is_named_with_its_file(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "part-2.csv").write_text("user_id,item_id\nu,c\nu,\n")
    found = message(tmp_path, "part-*.csv")
    assert found.startswith(f"{tmp_path}/part-2.csv line 3, column 'item_id' is empty; ")
    (tmp_path / "part-2.csv").write_text("user_id,thing\nu,c\n")
    assert "part-2.csv has no column 'item_id'" in message(tmp_path, "part-*.csv")
    assert message(tmp_path, "none-*.csv") == f"no file {tmp_path}/none-*.csv"
    (tmp_path / "deep").mkdir()
    assert "deep is a folder; name its files, such as" in message(tmp_path, "deep", format="csv")


def test_a_table_of_items_may_stand_in_many_files(tmp_path: Path) -> None:
    (tmp_path / "items-1.csv").write_text("item_id,title,year\na,A,1\n")
    (tmp_path / "items-2.csv").write_text("item_id,title,year\nb,B,x\n")
    items: dict[str, Any] = {"file": "items-*.csv"}
    assert load(tmp_path, "part-*.csv", folder=write(tmp_path), items=items).item_titles == [
        "A",
        "B",
    ]
    items["features"] = [{"name": "year", "kind": "numeric"}]
    found = message(tmp_path, "part-*.csv", items=items)
    assert found == f"{tmp_path}/items-2.csv line 2, column 'year': 'x' is not a number"
    (tmp_path / "items-2.csv").write_text("item_id,year\nb,1\n")
    assert "do not have the same columns; only one of them has 'title'" in message(
        tmp_path, "part-*.csv", items=items
    )


def test_a_url_reads_as_a_local_file_does(tmp_path: Path, memory: str) -> None:
    local = load(tmp_path, "part-*.csv", folder=write(tmp_path)).fingerprint()
    assert load(tmp_path, f"{memory}/part-*.csv").fingerprint() == local
    assert load(tmp_path, "part-*.csv", folder=memory).fingerprint() == local
    assert load(tmp_path, f"file://{tmp_path}/part-*.csv").fingerprint() == local


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_every_format_reads_alike_from_a_url(memory: str, kind: str) -> None:
    table = pl.DataFrame({"user_id": ["ann", "7"], "n": ["1", "2"]})
    with fsspec.open(f"{memory}/data.{kind}", "wb") as file:
        if kind == "parquet":
            table.write_parquet(file)
        elif kind == "jsonl":
            file.write(gzip.compress(table.write_ndjson().encode()))
        else:
            separator = "\t" if kind == "tsv" else ","
            file.write(gzip.compress(table.write_csv(separator=separator).encode()))
    read = open_table(f"{memory}/data.{kind}", columns=["user_id", "n"])
    assert read.texts("user_id").to_list() == ["ann", "7"]
    assert read.numbers("n").to_list() == [1, 2]


def test_a_url_that_cannot_be_read_is_named(tmp_path: Path, memory: str) -> None:
    assert message(tmp_path, f"{memory}/none.csv") == f"no file {memory}/none.csv"
    assert message(tmp_path, f"{memory}/*.tsv") == f"no file {memory}/*.tsv"
    assert "nowhere://x.csv cannot be read: Protocol not known" in message(
        tmp_path, "nowhere://x.csv"
    )
    fsspec.filesystem("memory").pipe("/bucket/cut.csv", gzip.compress(b"user_id,item_id\n")[:-9])
    assert "memory://bucket/cut.csv cannot be read" in message(tmp_path, f"{memory}/cut.csv")
    fsspec.filesystem("memory").pipe("/bucket/bad.csv", b"user_id,item_id\nu,\n")
    found = message(tmp_path, f"{memory}/bad.csv")
    assert found.startswith("memory://bucket/bad.csv line 2, column 'item_id' is empty; ")


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """Provide the host and port of a web server that serves tmp_path."""
    handler = functools.partial(Quiet, directory=write(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(10)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None: ...


def test_a_web_address_is_read_and_its_token_shown_nowhere(
    tmp_path: Path, web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEB_TOKEN", "hush&more")
    data = load(tmp_path, f"http://{web}/part-1.csv?token=$WEB_TOKEN")
    assert data.user_ids == ["u", "v"]
    found = message(tmp_path, f"http://{web}/none.csv?token=$WEB_TOKEN&v=1")
    assert found == f"no file http://{web}/none.csv?token=$WEB_TOKEN&v=1"
    found = message(tmp_path, f"http://me:hush@{web}/none.csv")
    assert found == f"no file http://me:***@{web}/none.csv"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:secret@host:5432/db?sslmode=require", "me:***@host:5432/db?sslmode"),
        ("postgresql://me:se/c@ret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("postgresql:///db?host=x&password=secret&user=me", "?host=x&password=***&user=me"),
        ("postgresql://me:$SECRET@host/db", "postgresql://me:$SECRET@host/db"),
        ("postgresql://me:pre${SECRET}@host/db", "postgresql://me:***@host/db"),
        ("mongodb+srv://me:secret@a.b,c.d/db?authSource=admin", "me:***@a.b,c.d/db?authSource=a"),
        ("https://token@host/x.csv", "https://***@host/x.csv"),
        ("https://host:8080/a@b.csv?X-Amz-Signature=abc", "host:8080/a@b.csv?X-Amz-Signature=***"),
        ("s3://bucket/a@b.parquet", "s3://bucket/a@b.parquet"),
        ("$DATABASE_URL", "$DATABASE_URL"),
        ("plain:file@home.csv", "plain:file@home.csv"),
    ],
)
def test_passwords_are_hidden_and_nothing_else(url: str, shown: str) -> None:
    assert shown in redact(url)
    assert "secret" not in redact(url)
    assert redact(redact(url)) == redact(url)


def test_variables_are_filled_in_where_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value is escaped as a password, so it may hold any character, and nowhere else."""
    monkeypatch.setenv("SECRET", "p@ss/w:d")
    monkeypatch.setenv("HOST", "host:5432")
    monkeypatch.setenv("WHOLE", "postgresql://me:hush@host/db")
    url = address("postgresql://me:${SECRET}@$HOST/db?password=$SECRET")
    assert url.url == "postgresql://me:p%40ss%2Fw%3Ad@host:5432/db?password=p%40ss%2Fw%3Ad"
    assert url.clean("no p@ss/w:d\nand more") == "no ***"
    whole = address("$WHOLE")
    assert whole.url == "postgresql://me:hush@host/db"
    assert whole.clean(f"bad {whole.url}, hush") == "bad ***, ***"
    with pytest.raises(InvalidConfig, match=r"\$MISSING is not set"):
        address("s3://$MISSING/x")


def test_a_password_reaches_neither_the_recorded_configuration_nor_its_hash(
    tmp_path: Path,
) -> None:
    raw = {
        "name": "toy",
        "data": {
            "interactions": {"sql": "postgresql://me:hush@host/db", "query": "SELECT 1"},
            "items": {"source": {"mongo": "mongodb://me:hush@host/db", "collection": "x"}},
            "folder": "https://me:hush@host/",
        },
        "lightgcn": {
            "init": "features",
            "features": {"users": "s3://me:hush@b/u.csv", "items": "i.csv?key=hush"},
        },
    }
    config = Config.model_validate(raw)
    for dumped in (config.model_dump_json(), str(config.model_dump())):
        assert "me:***@" in dumped
        assert "me:hush" not in dumped
    recorded = Config.model_validate(config.model_dump(mode="json"))
    assert recorded.model_dump() == config.model_dump()


def test_a_source_that_fails_leaves_nothing_in_the_registry(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "part-2.csv").write_text("user_id,item_id\nu,\n")
    raw = {"name": "toy", "data": {"interactions": "part-*.csv"}, "lightgcn": {}}
    store = ModelStore(tmp_path / "registry", "toy")
    with pytest.raises(InvalidData):
        train(Config.model_validate(raw), tmp_path, store, Silent())
    assert not (tmp_path / "registry").exists()
