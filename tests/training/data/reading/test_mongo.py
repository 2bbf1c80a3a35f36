"""Against mongomock, since no package registry offers a real server; and against a closed port."""

import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mongomock
import numpy as np
import pymongo
import pytest
from bson import ObjectId
from bson.binary import Binary, BinaryVectorDtype
from mongomock.collection import Cursor

from gnnrec_training.config import Config
from gnnrec_training.data.dataset import Dataset
from gnnrec_training.data.load import load_dataset
from gnnrec_training.data.reading import mongo
from gnnrec_training.errors import InvalidData

URL = "mongodb://reader:$MONGO_SECRET@127.0.0.1:27017/shop"
ANN = ObjectId("65a000000000000000000001")


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Provide the database that the sources below read from."""
    monkeypatch.setenv("MONGO_SECRET", "hush/hush")
    with mongomock.patch(servers=(("127.0.0.1", 27017),)):
        client: pymongo.MongoClient[Any] = pymongo.MongoClient("mongodb://127.0.0.1:27017")
        database = client["shop"]
        database["clicks"].insert_many(
            [
                {"_id": 3, "user": {"id": ANN}, "item_id": "b", "n": 4, "kind": "buy"},
                {"_id": 1, "user": {"id": ANN}, "item_id": "a", "n": 2.5, "kind": "buy"},
                {"_id": 2, "user": {"id": 7}, "item_id": "a", "n": 1, "kind": "buy"},
                {"_id": 4, "user": {"id": 8}, "item_id": "a", "n": -1, "kind": "view"},
            ]
        )
        yield database


def load(folder: Path, **data: Any) -> Dataset:
    clicks = {"mongo": URL, "collection": "clicks", "filter": {"kind": "buy"}}
    raw = {"interactions": clicks, "user_column": "user.id", **data}
    split = {"test": 0, "validation": 0}
    config = Config.model_validate({"name": "shop", "data": raw, "split": split})
    return load_dataset(config, folder)


def message(folder: Path, **data: Any) -> str:
    with pytest.raises(InvalidData) as caught:
        load(folder, **data)
    assert "\n" not in str(caught.value)
    assert "hush" not in str(caught.value)
    return str(caught.value)


@pytest.mark.usefixtures("shop")
def test_documents_are_interactions_by_ascending_id(tmp_path: Path) -> None:
    """A field within a document is named with dots; object ids and numbers become texts."""
    data = load(tmp_path, weight_column="n")
    assert data.user_ids == [str(ANN), "7"]
    assert data.item_ids == ["a", "b"]
    assert data.train.user_rows.tolist() == [0, 1, 0]
    assert data.train.weights.tolist() == [2.5, 1, 4]


def test_moments_are_unix_seconds(shop: Any, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        moment = datetime(2020, 1, 1, 0, 0, number, tzinfo=UTC)
        shop["clicks"].update_one({"_id": number}, {"$set": {"at": moment}})
    data = load(tmp_path, time_column="at")
    assert data.train.times is not None
    assert (data.train.times - 1_577_836_800).tolist() == [1, 2, 3]


def test_content_vectors_come_from_a_collection(shop: Any, tmp_path: Path) -> None:
    """Vectors are lists of numbers or BSON's packed vectors, in a collection about the items."""
    packed = Binary.from_vector([0.0, 4.0], BinaryVectorDtype.FLOAT32)
    shop["items"].insert_many([{"_id": each, "name": each.upper()} for each in "abc"])
    shop["texts"].insert_many(
        [{"item": "a", "v": {"e5": [3, 4.0]}}, {"item": "c", "v": {"e5": packed}}, {"item": "b"}]
    )
    vector = {
        "name": "text",
        "kind": "vector",
        "source": {"mongo": URL, "collection": "texts"},
        "column": "v.e5",
        "id_column": "item",
    }
    items = {
        "source": {"mongo": URL, "collection": "items"},
        "id_column": "_id",
        "title_column": "name",
        "features": [vector],
    }
    data = load(tmp_path, items=items)
    assert data.item_ids == ["a", "b", "c"]
    assert data.item_titles == ["A", "B", "C"]
    assert data.features is not None
    expected = np.array([[0.6, 0.8], [0, 0], [0, 1]])
    np.testing.assert_allclose(data.features.items, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            {"item_column": "thing"},
            "has no column 'thing'; its columns: _id, user, item_id, n",
        ),
        ({"weight_column": "kind"}, "document 1, column 'kind': 'buy' is not a number"),
        ({"user_column": "user"}, "document 1, column 'user': {'id': ObjectId("),
        (
            {"interactions": {"mongo": URL, "collection": "none"}},
            "collection 'none' at mongodb://reader:$MONGO_SECRET@127.0.0.1:27017/shop has no rows",
        ),
        (
            {"interactions": {"mongo": URL.removesuffix("/shop"), "collection": "clicks"}},
            "the URL names no database",
        ),
        ({"interactions": {"mongo": "mysql://x", "collection": "y"}}, "Invalid URI scheme"),
    ],
)
@pytest.mark.usefixtures("shop")
def test_what_cannot_be_read_is_named(tmp_path: Path, data: dict[str, Any], expected: str) -> None:
    assert expected in message(tmp_path, **data)


def test_a_wrong_type_is_named_with_its_document(shop: Any, tmp_path: Path) -> None:
    shop["clicks"].update_one({"_id": 3}, {"$set": {"n": "many"}})
    found = message(tmp_path, weight_column="n")
    assert "document 3, column 'n': 'many' is not a number" in found
    shop["clicks"].update_one({"_id": 2}, {"$unset": {"item_id": 1}})
    assert "document 2, column 'item_id' is empty" in message(tmp_path)


@pytest.mark.usefixtures("shop")
def test_a_cursor_that_is_cut_midway_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cursor fails after one batch of two documents and one look at the first document."""
    monkeypatch.setattr(mongo, "_BATCH_DOCUMENTS", 2)
    real = Cursor.__next__
    given = 0

    def cut(self: Any) -> Any:
        nonlocal given
        given += 1
        if given == 4:
            raise pymongo.errors.AutoReconnect("connection closed")
        return real(self)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(Cursor, "__next__", cut)
    assert "cannot be read after 2 documents: connection closed" in message(tmp_path)


def test_a_server_that_is_down_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGO_SECRET", "hush/hush")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"mongodb://u:$MONGO_SECRET@127.0.0.1:{port}/shop?serverSelectionTimeoutMS=100"
    found = message(tmp_path, interactions={"mongo": url, "collection": "clicks"})
    assert found.endswith(f"cannot be read: 127.0.0.1:{port}: [Errno 111] Connection refused")
