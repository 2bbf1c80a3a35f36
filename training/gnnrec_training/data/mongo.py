"""Collections of MongoDB to tables, a batch at a time, by ascending _id."""

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
from gnnrec_training.config_sources import MongoSource
from gnnrec_training.data.rows import table
from gnnrec_training.data.tables import Origin, Table
from gnnrec_training.data.watch import Watch
from gnnrec_training.errors import InvalidData

_BATCH = 50_000
_CONNECT_MS = 10_000

Document = Mapping[str, Any]


def mongo_tables(
    source: MongoSource, name: str, columns: Sequence[str] | None, watch: Watch
) -> Iterator[Table]:
    """Yield the documents of a collection, with the fields named or all that the first ones have.

    Errors call it `name`. A field within a document is named with dots; one that no document has is
    no column. Raises InvalidData when the documents cannot be read to the end.
    """
    place = address(source.mongo)
    done = 0
    try:
        client: pymongo.MongoClient[Document] = pymongo.MongoClient(
            place.url, **_patience(place.url)
        )
        with closing(client):
            collection = _collection(client, source, name)
            fields: list[str] | None = None
            # the server knows by heart how many there are, but not of a filter
            watch.part(None if source.filter else collection.estimated_document_count())
            found = collection.find(source.filter, _projection(columns), sort=[("_id", 1)])
            with closing(found):
                while documents := list(islice(found, _BATCH)):
                    if fields is None:
                        there = list(collection.find_one(source.filter) or {})
                        fields = _fields(collection, source, documents, columns)
                    values = {
                        field: [_value(each, field) for each in documents] for field in fields
                    }
                    yield table(values, there, Origin(name, done + 1, "document"))
                    done += len(documents)
    except (PyMongoError, BSONError, OSError) as error:
        after = f" after {done} documents" if done else ""
        raise InvalidData(f"{name} cannot be read{after}: {_problem(place, error)}") from None


def _patience(url: str) -> dict[str, Any]:
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
    """Return the fields to read: those named that any document has, or all of the first ones."""
    if columns is None:
        return list(dict.fromkeys(key for each in documents for key in each))
    return [
        column
        for column in columns
        if any(_value(each, column) is not None for each in documents)
        or collection.find_one({"$and": [source.filter, {column: {"$exists": True}}]}) is not None
    ]


def _value(document: Document, field: str) -> Any:
    value: Any = document
    for key in field.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    if isinstance(value, Binary) and value.subtype == VECTOR_SUBTYPE:
        return list(value.as_vector().data)
    return value


def _problem(place: Address, error: Exception) -> str:
    # what follows is a dump of all that the driver knows
    return (
        place.clean(error).split(", full error:")[0].split(", Timeout:")[0].split(" (configured")[0]
    )
