from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gnnrec_registry import ItemAttribute
from gnnrec_training.config import Config
from gnnrec_training.config import load as load_config
from gnnrec_training.data.dataset import Dataset
from gnnrec_training.data.load import load_dataset
from gnnrec_training.data.samples import sample
from gnnrec_training.data.samples.courses import sample_courses
from gnnrec_training.errors import InvalidData

ITEMS = "item_id,name,level,topics,hours\nb,B (1999),low,x|y,2\nz,Z,high,,3\na,A (2001), , y ,\n"


def dataset(folder: Path, items: str, *attributes: dict[str, Any], **table: Any) -> Dataset:
    """Load users u and v with interactions with the items a, b and c, and a table about items."""
    (folder / "train.txt").write_text("u a b\nv b c\n")
    (folder / "items.csv").write_text(items)
    raw = {
        "interactions": "train.txt",
        "items": {"file": "items.csv", "attributes": attributes} | table,
    }
    split = {"test": 0, "validation": 0}
    return load_dataset(Config.model_validate({"name": "toy", "data": raw, "split": split}), folder)


def values(data: Dataset) -> dict[str, list[Any]]:
    return {attribute.name: list(attribute.values) for attribute in data.item_attributes}


def test_attributes_follow_the_items_and_are_missing_where_nothing_is_said(tmp_path: Path) -> None:
    """Attributes add no items: z has no interaction and is left out; c is not in the table."""
    data = dataset(
        tmp_path,
        ITEMS,
        {"name": "level", "kind": "text"},
        {"name": "topics", "kind": "texts"},
        {"name": "length", "kind": "number", "column": "hours"},
        {"name": "year", "kind": "number", "column": "name", "pattern": r"\((\d{4})\)"},
    )
    assert data.item_ids == ["a", "b", "c"]
    assert values(data) == {
        "level": [None, "low", None],
        "topics": [["y"], ["x", "y"], None],
        "length": [None, 2.0, None],
        "year": [2001.0, 1999.0, None],
    }
    assert data.item_titles is None
    assert data.features is None
    assert data.item_attributes[1] == ItemAttribute("topics", "texts", [["y"], ["x", "y"], None])


def test_texts_may_be_parted_otherwise(tmp_path: Path) -> None:
    items = "item_id,tags\na,x;y\nb,z\n"
    data = dataset(tmp_path, items, {"name": "tags", "kind": "texts", "separator": ";"})
    assert values(data) == {"tags": [["x", "y"], ["z"], None]}


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ({"name": "height", "kind": "number"}, "no column 'height'; its columns: item_id"),
        ({"name": "level", "kind": "number"}, "items.csv line 2, column 'level': 'low' is not a"),
        (
            {"name": "level", "kind": "text", "pattern": "(never)"},
            "no row has a value of attribute 'level'",
        ),
    ],
)
def test_an_attribute_that_cannot_be_read_is_named(
    tmp_path: Path, attribute: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidData) as caught:
        dataset(tmp_path, ITEMS, attribute)
    assert message in str(caught.value)


def test_a_text_of_two_lines_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="has a line break"):
        dataset(tmp_path, 'item_id,level\na,"x\ny"\n', {"name": "level", "kind": "text"})


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ([{"name": "a", "kind": "numeric"}], "'number', 'text' or 'texts'"),
        ([{"name": "a", "kind": "text"}] * 2, "two attributes are called 'a'"),
        ([{"name": "a", "kind": "texts", "pattern": "(x)"}], "pattern is for number, text"),
        ([{"name": "a", "kind": "text", "separator": ";"}], "separator is for texts"),
        ([{"name": "a", "kind": "text", "pattern": "x"}], "attribute 'a': pattern 'x' has no gro"),
        ([{"name": "a", "kind": "text", "pettern": "(x)"}], "pettern"),
    ],
)
def test_a_configuration_that_could_not_be_meant_is_refused(
    attributes: list[dict[str, Any]], message: str
) -> None:
    data = {"interactions": "i.csv", "items": {"file": "t.csv", "attributes": attributes}}
    with pytest.raises(ValueError, match=message):
        Config.model_validate({"name": "toy", "data": data})


def test_the_sample_world_can_be_filtered(tmp_path: Path) -> None:
    sample.write(sample_courses(80, 60, 300, 0), tmp_path)
    data = load_dataset(load_config(tmp_path / sample.CONFIG), tmp_path)
    kinds = {attribute.name: attribute.kind for attribute in data.item_attributes}
    assert kinds == {"level": "text", "topics": "texts", "hours": "number"}
    courses = pl.read_csv(tmp_path / "courses.csv")
    row = data.item_ids.index("course-7")
    found = courses.filter(pl.col("course_id") == "course-7").row(0, named=True)
    assert values(data)["level"][row] == found["level"]
    assert values(data)["topics"][row] == found["topics"].split("|")
    assert values(data)["hours"][row] == found["hours"]
