"""Collections of MongoDB, a batch of documents at a time, in ascending order of _id."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from typing import Any

import pymongo
from bson.binary import VECTOR_SUBTYPE, Binary
from bson.errors import BSONError
from pymongo.collection import Collection
from pymongo.errors import PyMongoError

from gnnrec_training.addresses import Address, address
from gnnrec_training.config import MongoSource
from gnnrec_training.data.reading.progress import ReadProgress
from gnnrec_training.data.tables.origins import Origin
from gnnrec_training.data.tables.python_values import table_of_values
from gnnrec_training.data.tables.table import Table
from gnnrec_training.errors import InvalidData

_BATCH_DOCUMENTS = 50_000
_CONNECT_MS = 10_000

Document = Mapping[str, Any]


def mongo_tables(
    source: MongoSource, name: str, columns: Sequence[str] | None, progress: ReadProgress
) -> Iterator[Table]:
    """Yield the documents of a collection, which errors call `name`, as rows.

    Tables have those of `columns` that any document has, or, if that is None, all fields of the
    first batch. A field within a field is named with dots, such as `user.id`. Raises InvalidData
    where the documents cannot be read to the end.
    """
    place = address(source.mongo)
    done = 0
    try:
        client: pymongo.MongoClient[Document] = pymongo.MongoClient(
            place.url, **_timeouts(place.url)
        )
        with closing(client):
            collection = _collection(client, source, name)
            fields: list[str] | None = None
            # the server knows the size of a collection, but would have to count for a filter
            progress.begin_part(None if source.filter else collection.estimated_document_count())
            found = collection.find(source.filter, _projection(columns), sort=[("_id", 1)])
            with closing(found):
                while documents := list(islice(found, _BATCH_DOCUMENTS)):
                    if fields is None:
                        all_fields = list(collection.find_one(source.filter) or {})
                        fields = _fields(collection, source, documents, columns)
                    values = {
                        field: [_value(document, field) for document in documents]
                        for field in fields
                    }
                    yield table_of_values(values, all_fields, Origin(name, done + 1, "document"))
                    done += len(documents)
    except (PyMongoError, BSONError, OSError) as error:
        after = f" after {done} documents" if done else ""
        raise InvalidData(f"{name} cannot be read{after}: {_problem(place, error)}") from None


def _timeouts(url: str) -> dict[str, Any]:
    """Return the timeouts for a client, without those that the URL sets itself."""
    given = url.lower()
    return {
        option: _CONNECT_MS
        for option in ("serverSelectionTimeoutMS", "connectTimeoutMS")
        if option.lower() not in given
    }


def _collection(
    client: "pymongo.MongoClient[Document]", source: MongoSource, name: str
) -> "Collection[Document]":
    if source.database is not None:
        return client[source.database][source.collection]
    try:
        return client.get_default_database()[source.collection]
    except pymongo.errors.ConfigurationError:
        raise InvalidData(
            f"{name}: the URL names no database; add /NAME to it, or set database"
        ) from None


def _projection(columns: Sequence[str] | None) -> list[str] | None:
    return None if columns is None else [*columns, "_id"]


def _fields(
    collection: "Collection[Document]",
    source: MongoSource,
    documents: list[Document],
    columns: Sequence[str] | None,
) -> list[str]:
    """Return those of `columns` that any document of the collection has.

    If `columns` is None, return all fields of the documents given, by first appearance.
    """
    if columns is None:
        return list(dict.fromkeys(key for document in documents for key in document))
    return [
        column
        for column in columns
        if any(_value(document, column) is not None for document in documents)
        or collection.find_one({"$and": [source.filter, {column: {"$exists": True}}]}) is not None
    ]


def _value(document: Document, field: str) -> Any:
    """Return a field's value, None where it is missing; a packed vector becomes a list."""
    value: Any = document
    for key in field.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    if isinstance(value, Binary) and value.subtype == VECTOR_SUBTYPE:
        return list(value.as_vector().data)
    return value


def _problem(place: Address, error: Exception) -> str:
    # the driver adds its whole state to the message, which helps nobody
    return (
        place.clean(error).split(", full error:")[0].split(", Timeout:")[0].split(" (configured")[0]
    )
