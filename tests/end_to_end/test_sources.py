import json
import sqlite3
from pathlib import Path

from registry import ModelStore, Version
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
    """What found no place in the features is told, and stands in the report."""
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
