"""A configuration for tables that nobody has described."""

import os
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gnnrec_training.config import Config
from gnnrec_training.data.discovery.proposal import Proposal, propose
from gnnrec_training.data.load import load_dataset
from gnnrec_training.errors import InvalidData

DATA = os.environ.get("GNNREC_DATA", "")
needs_data = pytest.mark.skipif(not DATA and not os.environ.get("CI"), reason="no GNNREC_DATA")


def rows(count: int = 300, seed: int = 0) -> list[tuple[str, str, int, int]]:
    """Return users, items, ratings of 1 to 5 and moments."""
    generator = np.random.default_rng(seed)
    return [
        (
            f"user-{generator.integers(30)}",
            f"item-{generator.integers(50)}",
            int(generator.integers(1, 6)),
            1_700_000_000 + 1000 * row,
        )
        for row in range(count)
    ]


def write(path: Path, header: str, lines: list[tuple[Any, ...]], separator: str = ",") -> str:
    texts = [separator.join(map(str, line)) for line in lines]
    path.write_text("\n".join([*([header] if header else []), *texts]) + "\n")
    return str(path)


def config(proposal: Proposal) -> dict[str, Any]:
    """Return the values of a proposal, after checking that its configuration reads the data."""
    load_dataset(proposal.config, proposal.beside)
    return tomllib.loads(proposal.text)


@pytest.mark.parametrize(
    "header",
    [
        "user_id,item_id,rating,timestamp",
        "userId,movieId,rating,timestamp",
        "CustomerID,StockCode,Quantity,InvoiceDate",
        "customer,sku,stars,created_at",
        "reviewerID,asin,overall,unixReviewTime",
        "visitorid,itemid,count,ts",
    ],
)
def test_columns_are_found_by_names_in_use(tmp_path: Path, header: str) -> None:
    found = config(propose([write(tmp_path / "x.csv", header, rows())], tmp_path))
    user, item, weight, time = header.split(",")
    data = found["data"]
    assert (data["user_column"], data["item_column"]) == (user, item)
    assert (data["weight_column"], data["time_column"]) == (weight, time)
    assert found["split"]["method"] == "leave_last_out"


def test_the_split_fits_the_data_and_the_note_says_why(tmp_path: Path) -> None:
    """By time only where there are moments and most users have an interaction for each part."""
    header, lines = (
        "user_id,item_id,timestamp",
        [(user, item, time) for user, item, _, time in rows()],
    )
    proposal = propose([write(tmp_path / "long.csv", header, lines)], tmp_path)
    assert proposal.config.split.method == "leave_last_out"
    assert proposal.notes[-1] == (
        "measured on each user's last interaction, for there are moments, and 100% of the users "
        "have 3 interactions or more"
    )
    short = [(f"u{row // 2}", f"i{row % 7}", time) for row, (_, _, time) in enumerate(lines)]
    proposal = propose([write(tmp_path / "short.csv", header, short)], tmp_path)
    assert proposal.config.split.method == "random"
    assert proposal.notes[-1] == (
        "measured on a random fifth of each user's interactions, for only 0% of the users have 3 "
        "interactions or more"
    )
    untimed = [(user, item) for user, item, _ in lines]
    proposal = propose([write(tmp_path / "untimed.csv", "user_id,item_id", untimed)], tmp_path)
    assert proposal.config.split.method == "random"
    assert proposal.notes[-1].endswith("for there are no moments")
    assert proposal.config.split.validation > 0


def test_a_pair_that_repeats_is_one_interaction_of_its_user(tmp_path: Path) -> None:
    lines = [(f"u{row // 6}", f"i{row % 2}", 1_700_000_000 + row) for row in range(300)]
    path = write(tmp_path / "x.csv", "user_id,item_id,timestamp", lines)
    assert propose([path], tmp_path).config.split.method == "random"


def test_of_a_few_rows_none_is_kept_for_validation(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "user_id,item_id", [(u, i) for u, i, _, _ in rows(60)])
    config = propose([path], tmp_path).config
    assert config.split.validation == 0
    assert (config.search, config.variants) == (None, ("ease",)), "there is nothing to choose on"


def test_columns_without_names_in_use_are_found_by_what_stands_in_them(tmp_path: Path) -> None:
    lines = [(row, user, item, time) for row, (user, item, _, time) in enumerate(rows())]
    found = config(propose([write(tmp_path / "x.csv", "n,who,what,moment", lines)], tmp_path))
    data = found["data"]
    assert (data["user_column"], data["item_column"], data["time_column"]) == (
        "who", "what", "moment",
    )  # fmt: skip


def test_a_table_without_names_has_columns_by_number(tmp_path: Path) -> None:
    lines = [(row, 7 * row % 50, 3) for row, _ in enumerate(rows())]
    numbers = [(user % 30, item, weight) for user, item, weight in lines]
    with pytest.raises(InvalidData, match="no table has a column of users and one of items"):
        propose([write(tmp_path / "x.csv", "a,b,c", [(1, 2, 3)] * 9)], tmp_path)
    path = write(tmp_path / "u.data", "", numbers, "\t")
    assert config(propose([path], tmp_path))["data"]["header"] is False


def test_ratings_and_counts_are_told_apart(tmp_path: Path) -> None:
    rated = config(propose([write(tmp_path / "r.csv", "user,item,rating,time", rows())], tmp_path))
    assert (rated["data"]["min_weight"], rated["data"]["duplicates"]) == (3, "last")
    counted = config(propose([write(tmp_path / "c.csv", "user,item,plays,time", rows())], tmp_path))
    assert "min_weight" not in counted["data"]
    assert counted["data"]["duplicates"] == "sum"


def test_dates_are_read_in_the_only_form_that_all_have(tmp_path: Path) -> None:
    lines = [(user, item, f"{1 + row % 28}.{1 + row % 12}.2024")
             for row, (user, item, _, _) in enumerate(rows())]  # fmt: skip
    found = config(propose([write(tmp_path / "x.csv", "user,item,datum", lines)], tmp_path))
    assert found["data"]["time_format"] == "%d.%m.%Y"
    ambiguous = [(user, item, f"0{1 + row % 9}/0{1 + row % 8}/2024")
                 for row, (user, item, _, _) in enumerate(rows())]  # fmt: skip
    found = config(propose([write(tmp_path / "y.csv", "user,item,when_", ambiguous)], tmp_path))
    assert "time_column" not in found["data"], "month or day first: nobody can tell"


def test_tables_of_users_items_and_tags_are_told_apart(tmp_path: Path) -> None:
    """User and item ids are the same numbers, so only names tell which table is about which."""
    numbered = [(u.split("-")[1], i.split("-")[1], r, t) for u, i, r, t in rows()]
    write(tmp_path / "events.csv", "user_id,item_id,rating,timestamp", numbered)
    people = [(row, 20 + row, "fm"[row % 2]) for row in range(30)]
    write(tmp_path / "people.csv", "user_id,age,gender", people)
    films = [(row, f"Film {row}", "a|b|c"[row % 3 : row % 3 + 3]) for row in range(50)]
    write(tmp_path / "films.csv", "item_id,title,genres", films)
    tags = [(row % 50, ["good", "bad", "odd"][row % 3]) for row in range(90)]
    write(tmp_path / "tags.csv", "item_id,tag", tags)
    found = config(propose([str(tmp_path)], tmp_path))
    data = found["data"]
    assert data["interactions"].endswith("events.csv")
    assert data["users"]["file"].endswith("people.csv")
    assert data["items"]["file"].endswith("films.csv")
    assert data["items"]["title_column"] == "title"
    kinds = {each["name"]: each["kind"] for each in data["items"]["features"]}
    assert kinds == {"genres": "multi", "tag": "tags"}
    assert {each["name"]: each["kind"] for each in data["users"]["features"]} == {
        "age": "numeric", "gender": "categorical",
    }  # fmt: skip


def test_missing_ids_and_other_encodings_are_seen(tmp_path: Path) -> None:
    lines = [("" if row % 9 == 0 else user, item) for row, (user, item, _, _) in enumerate(rows())]
    path = Path(write(tmp_path / "x.csv", "user,item", lines))
    assert config(propose([str(path)], tmp_path))["data"]["missing_ids"] == "drop"
    content = path.read_text().replace("user-1,", "zo\u00eb,").encode("windows-1252")
    path.write_bytes(content)
    proposal = propose([str(path)], tmp_path)
    assert config(proposal)["data"]["encoding"] == "windows-1252"
    assert "zo\u00eb" in load_dataset(proposal.config, tmp_path).user_ids


def test_parts_of_a_folder_are_one_table(tmp_path: Path) -> None:
    for part in range(3):
        write(tmp_path / f"part-{part}.csv", "user,item", [(u, i) for u, i, _, _ in rows(90, part)])
    (tmp_path / "_SUCCESS").touch()
    proposal = propose([str(tmp_path)], tmp_path)
    assert load_dataset(proposal.config, tmp_path).summary.rows == 270


def test_lightgcn_s_format_is_taken_with_its_test_part(tmp_path: Path) -> None:
    write(tmp_path / "train.txt", "", [("1 2 3",), ("2 3 4",)])
    write(tmp_path / "test.txt", "", [("1 4",)])
    found = config(propose([str(tmp_path / n) for n in ("train.txt", "test.txt")], tmp_path))
    assert found["data"]["test"].endswith("test.txt")
    assert found["split"]["method"] == "given"


@needs_data
@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["shop/purchases.csv"], (12_216, 1000, 781)),
        (["shop/purchases.csv", "shop/products.csv"], (12_216, 1000, 781)),
        (["ml-100k"], (100_000, 943, 1682)),
        (["ml-latest-small/ratings.csv.gz"], (100_836, 610, 9724)),
        (["lastfm/train.csv.gz"], (42_135, 1878, 4476)),
    ],
)
def test_real_exports_are_understood(paths: list[str], expected: tuple[int, int, int]) -> None:
    proposal = propose([str(Path(DATA) / path) for path in paths], Path())
    dataset = load_dataset(proposal.config, Path())
    summary = dataset.summary
    low_or_kept = summary.interactions + summary.low + summary.repeats
    assert summary.rows == expected[0] == low_or_kept
    everyone = Config.model_validate(
        tomllib.loads("\n".join(
            line for line in proposal.text.splitlines() if not line.startswith("min_weight")
        ))
    )  # fmt: skip
    whole = load_dataset(everyone, Path()).summary
    assert (whole.users, whole.items) == expected[1:]
