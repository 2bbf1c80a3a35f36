import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gnnrec_training.config import Config, SqlSource
from gnnrec_training.data.dataset import Dataset
from gnnrec_training.data.load import load_dataset
from gnnrec_training.data.reading.sources import open_table, read_tables
from gnnrec_training.errors import InvalidConfig, InvalidData
from tests.training.data.reading import postgres

QUERY = "SELECT user_id, item_id, weight, at FROM purchases ORDER BY at"
PURCHASES = "CREATE TABLE purchases (user_id TEXT, item_id TEXT, weight REAL, at REAL);"
ROWS = [("ann", "a", 2.5, 1.0), ("007", "b", 1.0, 2.0), ("ann", "b", 4.0, 3.0)]


def shop(folder: Path, statements: str = "") -> Path:
    """Make a SQLite file with three purchases."""
    path = folder / "shop.db"
    connection = sqlite3.connect(path)
    connection.executescript(PURCHASES)
    connection.executemany("INSERT INTO purchases VALUES (?, ?, ?, ?)", ROWS)
    connection.executescript(statements)
    connection.close()
    return path


def load(folder: Path, url: str, query: str = QUERY, **data: Any) -> Dataset:
    columns = {"weight_column": "weight", "time_column": "at"}
    raw = {"interactions": {"sql": url, "query": query}, **columns, **data}
    split = {"test": 0, "validation": 0}
    config = Config.model_validate({"name": "shop", "data": raw, "split": split})
    return load_dataset(config, folder)


def message(folder: Path, url: str, query: str = QUERY, **data: Any) -> str:
    """Return the error, one line, for a source that cannot be read."""
    with pytest.raises(InvalidData) as caught:
        load(folder, url, query, **data)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_query_reads_as_a_file_does(tmp_path: Path) -> None:
    shop(tmp_path)
    (tmp_path / "shop.csv").write_text(
        "user_id,item_id,weight,at\n"
        + "".join(f"{user},{item},{weight},{at}\n" for user, item, weight, at in ROWS)
    )
    queried = load(tmp_path, "sqlite:///shop.db")
    raw = {"interactions": "shop.csv", "weight_column": "weight", "time_column": "at"}
    split = {"test": 0, "validation": 0}
    config = Config.model_validate({"name": "shop", "data": raw, "split": split})
    assert queried.user_ids == ["ann", "007"]
    assert queried.fingerprint() == load_dataset(config, tmp_path).fingerprint()


def test_items_and_their_features_come_from_queries(tmp_path: Path) -> None:
    shop(
        tmp_path,
        """CREATE TABLE products (id TEXT, name TEXT, price REAL);
        INSERT INTO products VALUES ('a', 'The A', 1), ('b', 'The B', 3), ('c', 'The C', NULL);
        CREATE TABLE words (product TEXT, word TEXT);
        INSERT INTO words VALUES ('a', 'x'), ('b', 'x'), ('b', 'y');""",
    )
    url = "sqlite:///shop.db"
    words = {"sql": url, "query": "SELECT * FROM words"}
    items = {
        "source": {"sql": url, "query": "SELECT id, name, price AS cost FROM products"},
        "id_column": "id",
        "title_column": "name",
        "features": [
            {"name": "cost", "kind": "numeric"},
            {
                "name": "words",
                "kind": "multi",
                "source": words,
                "column": "word",
                "id_column": "product",
            },
        ],
    }
    data = load(tmp_path, url, items=items)
    assert data.item_ids == ["a", "b", "c"]
    assert data.item_titles == ["The A", "The B", "The C"]
    assert data.features is not None
    assert data.features.items.tolist() == [[-1, 1, 0], [1, 1, 1], [0, 0, 0]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT user_id, item FROM purchases", "failed: no such column: item"),
        ("SELECT user_id FROM purchases", "has no column 'item_id'; its columns: user_id"),
        (
            "SELECT user_id, item_id, at, 'x' AS weight FROM purchases",
            "row 1, column 'weight': 'x' is not a number",
        ),
        (
            QUERY.replace("weight,", "CASE at WHEN 2 THEN 'two' ELSE weight END AS weight,"),
            "row 2, column 'weight': 'two' is not a number",
        ),
        (
            QUERY.replace("weight,", "nullif(weight, 4) AS weight,"),
            "row 3, column 'weight'",
        ),
        (QUERY.replace("item_id,", "'' AS item_id,"), "row 1, column 'item_id' is empty"),
        (QUERY.replace("ORDER", "WHERE 1 = 0 ORDER"), "has no rows"),
        (QUERY.replace("at FROM", "at, at FROM"), "has two columns 'at'; name them apart with AS"),
        ("DROP TABLE purchases", "attempt to write a readonly database"),
        ("SHOW purchases", 'failed: near "SHOW": syntax error'),
    ],
)
def test_a_bad_query_is_named_with_row_and_column(
    tmp_path: Path, query: str, expected: str
) -> None:
    shop(tmp_path)
    found = message(tmp_path, "sqlite:///shop.db", query)
    assert expected in found
    assert found.startswith("query ")
    assert query[:57] in found
    assert "at sqlite:///shop.db" in found


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    assert "no file" in message(tmp_path, "sqlite:///none.db")
    assert not (tmp_path / "none.db").exists()
    (tmp_path / "text.db").write_text("no database at all, but long enough to be looked at" * 9)
    assert "file is not a database" in message(tmp_path, "sqlite:///text.db")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("nonsense", "Could not parse"),
        ("dbase://host/db", "Can't load plugin: sqlalchemy.dialects:dbase"),
        ("mysql://someone:hush@host/db", "mysql://someone:***@host/db needs a driver"),
    ],
)
def test_a_database_that_is_not_known_is_named(tmp_path: Path, url: str, expected: str) -> None:
    found = message(tmp_path, url)
    assert expected in found
    assert "hush" not in found


def test_a_variable_that_is_not_set_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGSECRET", raising=False)
    with pytest.raises(InvalidConfig, match=r"postgresql://me:\$PGSECRET@host/db: \$PGSECRET is"):
        load(tmp_path, "postgresql://me:$PGSECRET@host/db")


def test_rows_are_read_in_batches_and_counted_on(tmp_path: Path) -> None:
    """An error in the second batch of 100,000 rows names the row of the whole query."""
    query = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 120000) "
        "SELECT i AS user_id, CASE i WHEN 119000 THEN 'much' ELSE 1 END AS weight FROM n"
    )
    shop(tmp_path)
    source = SqlSource(sql="sqlite:///shop.db", query=query)
    first, second = read_tables(source, tmp_path, ["user_id", "weight"])
    assert (first.rows.height, second.rows.height) == (100_000, 20_000)
    assert second.texts("user_id")[0] == "100001"
    assert first.numbers("weight").sum() == 100_000
    with pytest.raises(InvalidData, match="row 119000, column 'weight': 'much' is not a number"):
        second.numbers("weight")


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Postgres]:
    programs = postgres.binaries()
    if programs is None:
        pytest.skip("postgresql is not installed")
    with postgres.running(programs) as running:
        running.execute(PURCHASES.replace("at REAL", "at timestamptz"))
        running.execute("CREATE TABLE numbered (id serial)")
        rows = [(*row[:3], f"2020-01-0{row[3]:.0f}T00:00Z") for row in ROWS]
        running.copy("purchases", [(*row,) for row in rows])
        yield running


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """A password from the environment may hold any character without being escaped."""
    monkeypatch.setenv("PGSECRET", postgres.PASSWORD)


@pytest.mark.usefixtures("secret")
def test_postgresql_is_read_with_its_types(server: postgres.Postgres, tmp_path: Path) -> None:
    query = """
        SELECT user_id::varchar, item_id, weight::numeric(9, 3) AS weight, at
        FROM purchases WHERE item_id NOT LIKE '%:x' ORDER BY at;
    """
    data = load(tmp_path, server.url(), query)
    assert data.user_ids == ["ann", "007"]
    assert data.train.weights.tolist() == [2.5, 1, 4]
    assert data.train.times is not None
    day = 86_400
    assert (data.train.times - 1_577_836_800).tolist() == [0, day, 2 * day]


@pytest.mark.usefixtures("secret")
def test_postgresql_gives_vectors_and_lists(server: postgres.Postgres) -> None:
    query = """
        SELECT * FROM (VALUES (1, ARRAY[0.5, 1]::float8[], ARRAY['x', 'y'], '[1,2]'),
                              (2, NULL, ARRAY['z'], ' [3, -4] ')) AS made(id, v, words, pg)
    """
    table = open_table(SqlSource(sql=server.url(), query=query))
    assert table.texts("id").to_list() == ["1", "2"]
    first, second = table.vectors("v", None)
    assert first is not None
    assert first.tolist() == [0.5, 1]
    assert second is None
    assert [list(each) for each in table.vectors("pg", 2) if each is not None] == [[1, 2], [3, -4]]
    assert table.text_lists("words", "|") == [["x", "y"], ["z"]]


@pytest.mark.usefixtures("secret")
def test_a_cursor_that_is_cut_midway_is_one_line(server: postgres.Postgres, tmp_path: Path) -> None:
    """The query ends its own server process after 150,000 rows."""
    query = (
        "SELECT i AS user_id, CASE WHEN i = 150000 "
        "THEN pg_terminate_backend(pg_backend_pid())::text ELSE 'x' END AS item_id "
        "FROM generate_series(1, 300000) AS made(i)"
    )
    found = message(tmp_path, server.url(), query, weight_column=None, time_column=None)
    assert "failed after 100000 rows: " in found
    assert "terminat" in found
    division = "SELECT i AS user_id, 10 / (i - 5) AS item_id FROM generate_series(1, 9) AS made(i)"
    found = message(tmp_path, server.url(), division, weight_column=None, time_column=None)
    assert found.endswith("failed: division by zero")


@pytest.mark.usefixtures("secret")
def test_postgresql_refuses_in_one_line(server: postgres.Postgres, tmp_path: Path) -> None:
    wrong = message(tmp_path, server.url(), "SELECT nothing FROM purchases")
    assert wrong.endswith('failed: column "nothing" does not exist')
    assert "owner:$PGSECRET@127.0.0.1" in wrong
    numbers = "SELECT setval(pg_get_serial_sequence('numbered', 'id'), 9) AS user_id"
    assert "in a read-only transaction" in message(tmp_path, server.url(), numbers)
    literal = message(tmp_path, server.url("not%20it"))
    assert "password authentication failed" in literal
    assert "owner:***@127" in literal
    assert "not" not in literal.split("at postgresql")[1].split("failed")[0]


@pytest.mark.usefixtures("secret")
def test_a_database_that_is_down_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    found = message(tmp_path, f"postgresql://owner:$PGSECRET@127.0.0.1:{port}/postgres")
    assert "refused" in found
    assert postgres.PASSWORD not in found
