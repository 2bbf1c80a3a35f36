"""The first use of gnnrec by somebody who has a file of purchases and no configuration."""

import json
from pathlib import Path

import pytest

from tests.end_to_end.command import ok, refusal


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with an export of a shop whose columns have German names."""
    lines = ["Kunde;Artikel;Datum"]
    lines += [
        f"k{row % 20};a{row * 7 % 31};2024-{row % 9 + 1:02}-1{row % 10}" for row in range(300)
    ]
    (tmp_path / "käufe.csv").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_data_alone_are_trained_on(shop: Path) -> None:
    printed = ok(
        "train", "käufe.csv", "--minutes", 0, "--registry", "registry", "--json"
    ).splitlines()
    published = json.loads(printed[-1])
    assert 0 < published["metrics"]["test"]["recall@20"] <= 1
    assert published["version"] in ok("versions", "--registry", "registry")


@pytest.mark.parametrize("place", ["shop.toml", "configs/shop.toml"])
def test_a_written_configuration_finds_the_data_from_where_it_stands(
    shop: Path, place: str
) -> None:
    (shop / "configs").mkdir()
    assert f"next: gnnrec train {place}" in ok("init", "käufe.csv", "-o", place)
    assert "260 train" in ok("train", place, "--dry-run", "--registry", "registry")


def test_a_dry_run_writes_nothing(shop: Path) -> None:
    ok("train", "käufe.csv", "--registry", "registry", "--dry-run")
    assert [path.name for path in shop.iterdir()] == ["käufe.csv"]


def test_a_configuration_is_not_written_over(shop: Path) -> None:
    (shop / "shop.toml").write_text("mine")
    assert "--force" in refusal("init", "käufe.csv", "-o", "shop.toml")
    assert (shop / "shop.toml").read_text() == "mine"
    ok("init", "käufe.csv", "-o", "shop.toml", "--force")
    assert 'item_column = "Artikel"' in (shop / "shop.toml").read_text()


def test_a_folder_that_is_not_there_is_named(shop: Path) -> None:
    assert "no folder nowhere" in refusal("init", "käufe.csv", "-o", "nowhere/shop.toml")
