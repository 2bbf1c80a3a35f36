import json
import re
import sqlite3
import sys
from pathlib import Path

import pytest

from gnnrec.cli.main import main
from gnnrec_registry import ModelStore, Version
from tests.end_to_end.command import ok

CONFIG = """
name = "shop"

[data.interactions]
sql = "sqlite:///shop.db?password=hush"
query = "SELECT user_id, item_id FROM bought ORDER BY user_id, item_id"

[data.items]
source = {sql = "sqlite:///shop.db", query = "SELECT item_id, title, words FROM items"}

[[data.items.features]]
name = "words"
kind = "tags"
min_count = 2

[split]
test = 0
validation = 0

[spectral]
embedding_dim = 2

[evaluation]
k = [2]
"""


def shop(folder: Path) -> Path:
    connection = sqlite3.connect(folder / "shop.db")
    connection.executescript(
        """CREATE TABLE bought (user_id, item_id);
        INSERT INTO bought VALUES ('u', 'a'), ('u', 'b'), ('v', 'b'), ('v', 'c');
        CREATE TABLE items (item_id, title, words);
        INSERT INTO items VALUES ('a', 'A', 'red|odd'), ('b', 'B', 'red'), ('c', 'C', 'rare');"""
    )
    connection.close()
    config = folder / "shop.toml"
    config.write_text(CONFIG)
    return config


def test_a_version_is_trained_from_a_database_and_records_no_password(tmp_path: Path) -> None:
    """Texts without a category in the features are printed, and listed in the report."""
    config = shop(tmp_path)
    printed = ok("train", config, "--registry", tmp_path / "registry", "--promote", "production")
    assert "in the features (rare, or not in training): items.words 2\n" in printed
    (stored,) = ModelStore(tmp_path / "registry", "shop").versions()
    assert isinstance(stored, Version)
    assert json.loads(stored.read("report/metrics.json"))["unknown_texts"] == {"items.words": 2}
    source = stored.manifest.config["data"]["interactions"]
    assert source["sql"] == "sqlite:///shop.db?password=***"
    for path in (tmp_path / "registry").rglob("*"):
        assert path.is_dir() or b"hush" not in path.read_bytes(), path


FITTED = {
    '[[data.items.features]]\nname = "words"\nkind = "tags"\nmin_count = 2\n': "",
    "[spectral]": "[lightgcn]",
    "k = [2]": "k = [1]",
}
GONE = "postgresql://reader:$SHOP_SECRET@127.0.0.1:1/shop"
CUT = "SELECT user_id, abs(CASE item_id WHEN 'c' THEN -9223372036854775808 ELSE 1 END) AS item_id"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"SELECT user_id,": "SELECT person,"}, "failed: no such column: person"),
        (
            {"SELECT user_id,": "SELECT user_id AS person,"},
            "has no column 'user_id'; its",
        ),
        ({"sqlite:///shop.db?password=hush": GONE}, "refused"),
        ({"SELECT user_id, item_id": CUT}, "failed: integer overflow"),
        ({" ORDER BY": " WHERE item_id = 'b' ORDER BY", **FITTED}, "every item"),
        ({" ORDER BY": " WHERE user_id = 'u' ORDER BY", **FITTED}, "every item"),
        ({" ORDER BY": " WHERE user_id = 'w' ORDER BY"}, "has no rows"),
    ],
)
def test_what_cannot_be_trained_on_is_one_line_and_publishes_nothing(
    change: dict[str, str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A wrong column, an unreachable or interrupted database, one item, one user, and no data."""
    config = shop(tmp_path)
    text = config.read_text()
    for before, after in change.items():
        assert before in text
        text = text.replace(before, after, 1)
    config.write_text(text)
    monkeypatch.setenv("SHOP_SECRET", "hush-hush")
    at = ["--registry", str(tmp_path / "registry")]
    monkeypatch.setattr(sys, "argv", ["gnnrec", "train", str(config), *at])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    *told, line = [each for each in err.splitlines() if not each.endswith(" ...")]
    if said == "every item":  # the data are described before they turn out to be too few
        assert re.match(r"2 rows: 2 interactions of [12] users and [12] items$", told[0])
        assert "the table of items knows" in told[1]
    assert len(told) == (2 if said == "every item" else 0)
    assert line.startswith("gnnrec: ")
    assert said in line
    assert "hush" not in line
    assert not (tmp_path / "registry").exists()
