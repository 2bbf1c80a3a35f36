from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gnnrec_training.errors import InvalidData
from tests.training.data.described import ITEMS, dataset, described

VECTORS = [[3.0, 4.0], None, [0.0, 2.0]]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "fixed.parquet"])
def test_vectors_come_from_lists_or_texts(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"table.{kind}"
    rows = pl.DataFrame({"item_id": ["a", "b", "c"], "v": VECTORS}, {"item_id": str, "v": None})
    if kind == "csv":
        path.write_text('item_id,v\na,"[3.0, 4]"\nb,\nc, 0 2 \n')
    elif kind == "jsonl":
        rows.write_ndjson(path)
    elif kind == "parquet":
        rows.write_parquet(path)
    else:
        rows.with_columns(pl.col("v").list.to_array(2)).write_parquet(path)
    data = dataset(tmp_path, [{"name": "v", "kind": "vector"}], "unused", file=path.name)
    expected = np.array([[0.6, 0.8], [0, 0], [0, 1]])
    np.testing.assert_allclose(described(data).items, expected, rtol=1e-6)
    (encoding,) = described(data).encoding.items.columns
    assert encoding.model_dump() == {
        "kind": "vector", "name": "v", "size": 2, "mean": (), "std": (),
    }  # fmt: skip


def test_vectors_are_standardised_over_the_nodes_of_train(tmp_path: Path) -> None:
    """Vectors of another file; z is not in train, and a constant number keeps deviation 1."""
    (tmp_path / "v.csv").write_text("id,v\nz,100 5\nghost,1 1\nb,3 5\na,1 5\n")
    vector = {"name": "v", "kind": "vector", "scaling": "standard", "file": "v.csv"}
    data = dataset(tmp_path, [vector | {"id_column": "id"}], ITEMS + "z,Z,,,\na,A,,,\nb,B,,,\n")
    assert data.item_ids == ["a", "b", "c", "z"]
    assert described(data).items.tolist() == [[-1, 0], [1, 0], [0, 0], [10, 0]]


@pytest.mark.parametrize(
    ("width", "text", "message"),
    [
        (None, "a,1 2\nb,1 2 3\n", "v.csv line 3, column 'v' has 3 numbers in place of 2"),
        (3, "a,1 2\n", "v.csv line 2, column 'v' has 2 numbers in place of 3"),
        (None, "a,1 2\nb,\nc,3 nan\n", "line 4, column 'v': number 2 of its 2 is nan; each must"),
        (None, "a,1 2\nb,x 2\n", "line 3, column 'v': number 1 of its 2 is x; each must be a fin"),
        (None, "a,1 2\na,1 2\n", "column 'item_id': 'a' stands twice"),
        (None, "a,\nb,[]\n", "none of the 3 items with training interactions has a value of"),
        (None, "a,1e200 1\nb,1e308 1\nc,1e308 1\n", "'v': its values are too large"),
    ],
)
def test_a_bad_vector_is_named_in_one_line(
    tmp_path: Path, width: int | None, text: str, message: str
) -> None:
    (tmp_path / "v.csv").write_text("item_id,v\n" + text)
    vector = {"name": "v", "kind": "vector", "file": "v.csv", "width": width}
    with pytest.raises(InvalidData) as caught:
        dataset(tmp_path, [vector | {"scaling": "standard"}], ITEMS + "a,A,,,\nb,B,,,\nc,C,,,\n")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ('{"v": [[1], [2]]}', "column 'v': List(List(Int64)) values are no vectors"),
        ('{"v": 1.5}', "column 'v': Float64 values are no vectors"),
        ('{"v": {"x": 1}}', "values are no vectors"),
        ('{"v": [1, null]}', "line 1, column 'v': number 2 of its 2 is missing; each must"),
        ('{"v": ["1", "x"]}', "line 1, column 'v': number 2 of its 2 is x; each must"),
        ('{"w": [1]}', "has no column 'v'; its columns: item_id, w"),
    ],
)
def test_what_is_no_vector_is_named(tmp_path: Path, rows: str, message: str) -> None:
    (tmp_path / "table.jsonl").write_text(rows.replace("{", '{"item_id": "a", ', 1) + "\n")
    with pytest.raises(InvalidData) as caught:
        dataset(tmp_path, [{"name": "v", "kind": "vector"}], "unused", file="table.jsonl")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
