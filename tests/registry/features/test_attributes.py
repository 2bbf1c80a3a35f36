import hashlib
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnnrec_registry import ItemAttribute, ModelStore, Version
from gnnrec_registry.errors import InvalidExport, VersionCorrupt
from gnnrec_registry.features.attributes import AttributeEntry, Numbers, Texts
from gnnrec_registry.features.encoders import Value
from gnnrec_registry.files.layout import MANIFEST
from gnnrec_registry.versions.manifest import FileEntry, encode
from tests import made


def publish(root: Path, *attributes: ItemAttribute, items: int = 4) -> Version:
    users, embeddings = made.embeddings(2, 3), made.embeddings(items, 3)
    export = made.export(users, embeddings, attributes=attributes)
    return ModelStore(root, "toy").publish(export, version="v1")


HOURS = ItemAttribute("hours", "number", [2.5, None, -1, 1e300])
LEVEL = ItemAttribute("Stufe/level", "text", ["b", None, "a", "b"])
TOPICS = ItemAttribute("topics", "texts", [["ž", "a", "a"], [], None, ["a"]])


def test_attributes_are_read_as_they_were_published(tmp_path: Path) -> None:
    version = publish(tmp_path, HOURS, LEVEL, TOPICS)
    version.verify()
    assert version.manifest.attributes == (
        AttributeEntry(name="hours", kind="number"),
        AttributeEntry(name="Stufe/level", kind="text"),
        AttributeEntry(name="topics", kind="texts"),
    )
    read = version.attributes()
    hours, level, topics = read["hours"], read["Stufe/level"], read["topics"]
    assert isinstance(hours, Numbers)
    np.testing.assert_array_equal(hours.values, [2.5, math.nan, -1, 1e300])
    assert isinstance(level, Texts)
    assert isinstance(topics, Texts)
    assert (level.texts, topics.texts) == (["a", "b"], ["a", "ž"])
    assert level.rows("b").tolist() == [0, 3]
    assert topics.rows("a").tolist() == [0, 3]
    assert topics.rows("A").tolist() == topics.rows("zz").tolist() == []
    assert sorted(path.name for path in (version.folder / "attributes").iterdir()) == [
        "0.npy",
        *("1.indptr.npy", "1.items.npy", "1.texts"),
        *("2.indptr.npy", "2.items.npy", "2.texts"),
    ]


def test_a_version_without_attributes_has_none(tmp_path: Path) -> None:
    version = publish(tmp_path)
    assert version.attributes() == {}
    assert not (version.folder / "attributes").exists()


def test_an_attribute_that_no_item_has_is_still_there(tmp_path: Path) -> None:
    nobody = [
        ItemAttribute("a", "number", [None] * 4),
        ItemAttribute("b", "text", [None] * 4),
        ItemAttribute("c", "texts", [[], None, [], None]),
    ]
    version = publish(tmp_path, *nobody)
    version.verify()
    text = version.attributes()["b"]
    assert isinstance(text, Texts)
    assert text.rows("x").tolist() == []


@given(
    st.lists(
        st.lists(
            st.text(st.characters(exclude_characters="\n", codec="utf-8"), min_size=1), max_size=4
        ),
        min_size=1,
        max_size=8,
    )
)
@settings(max_examples=25, deadline=None)
def test_every_item_is_found_by_each_of_its_texts(
    tmp_path_factory: pytest.TempPathFactory, values: list[list[str]]
) -> None:
    columns: Sequence[Value | None] = values
    version = publish(
        tmp_path_factory.mktemp("r"), ItemAttribute("t", "texts", columns), items=len(values)
    )
    version.verify()
    read = version.attributes()["t"]
    assert isinstance(read, Texts)
    for text in {text for texts in values for text in texts}:
        expected = [row for row, texts in enumerate(values) if text in texts]
        assert read.rows(text).tolist() == expected


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ([ItemAttribute("a", "number", [1.0])], "'a' has 1 values for 4 items"),
        ([HOURS, HOURS], "distinct names"),
        ([ItemAttribute("", "number", [1.0] * 4)], "not empty"),
        ([ItemAttribute("a", "number", [math.inf] * 4)], "holds infinity"),
        ([ItemAttribute("a", "number", ["1"] * 4)], "holds more than numbers"),
        ([ItemAttribute("a", "text", [["x"]] * 4)], "'a' row 0 is not of its kind"),
        ([ItemAttribute("a", "texts", ["x"] * 4)], "'a' row 0 is not of its kind"),
        ([ItemAttribute("a", "text", ["x\ny"] * 4)], "cannot stand on a line"),
        ([ItemAttribute("a", "text", [""] * 4)], "cannot stand on a line"),
    ],
)
def test_what_breaks_the_format_is_not_published(
    tmp_path: Path, attributes: list[ItemAttribute], message: str
) -> None:
    with pytest.raises(InvalidExport, match=message):
        publish(tmp_path, *attributes)
    assert ModelStore(tmp_path, "toy").layout.version_names() == []


def rewrite(version: Version, name: str, content: bytes) -> None:
    """Replace a file and its entry in the manifest, as a faulty publisher would."""
    (version.folder / name).write_bytes(content)
    entry = FileEntry(size=len(content), sha256=hashlib.sha256(content).hexdigest())
    manifest = version.manifest
    changed = manifest.model_copy(update={"files": manifest.files | {name: entry}})
    (version.folder / MANIFEST).write_bytes(encode(changed))


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("0.npy", np.zeros(5), "attribute 'hours' is float64"),
        ("0.npy", np.zeros(4, np.float32), "not float64"),
        ("0.npy", np.full(4, -np.inf), "holds infinity"),
        ("1.items.npy", np.array([0, 1, 4], np.int32), "not a CSR matrix of its texts and items"),
        ("1.items.npy", np.array([0, 1, 0], np.int32), "gives an item two texts"),
        ("2.items.npy", np.array([0, -1, 0], np.int32), "not a CSR matrix"),
        ("2.indptr.npy", np.array([0, 3, 2]), "not a CSR matrix"),
        ("2.indptr.npy", np.array([0, 3]), "not a CSR matrix"),
    ],
)
def test_an_attribute_that_does_not_fit_its_items_is_corrupt(
    tmp_path: Path, name: str, array: np.ndarray, message: str
) -> None:
    version = publish(tmp_path, HOURS, LEVEL, TOPICS)
    np.save(tmp_path / "array.npy", array)
    rewrite(version, f"attributes/{name}", (tmp_path / "array.npy").read_bytes())
    with pytest.raises(VersionCorrupt, match=message):
        ModelStore(tmp_path, "toy").open("v1").verify()


def test_texts_out_of_order_are_corrupt(tmp_path: Path) -> None:
    version = publish(tmp_path, HOURS, LEVEL)
    rewrite(version, "attributes/1.texts", b"b\na\n")
    with pytest.raises(VersionCorrupt, match="'Stufe/level' has texts that do not ascend"):
        ModelStore(tmp_path, "toy").open("v1").verify()
