"""Where a table can be read from: files, a URL, a database query, or a MongoDB collection."""

from typing import Annotated, Any

from pydantic import Discriminator, Field, PlainSerializer, Tag

from gnnrec_training.addresses import shown
from gnnrec_training.config.section import Section

Text = Annotated[str, Field(min_length=1)]
"""A text that is not empty."""

File = Annotated[Text, PlainSerializer(shown)]
"""A path relative to data.folder, a glob pattern (`*`, `?`, `[`, `**`), or a URL that fsspec opens.
$VARIABLES in a URL are replaced from the environment when it is read. What the manifest records has
no passwords, and a data frame's temporary file appears as "frame of NAME"."""


class SqlSource(Section):
    """The rows that a query of an SQL database returns."""

    sql: File
    """The database's URL in SQLAlchemy's form: postgresql://USER:$PASSWORD@HOST/NAME, or
    sqlite:///FILE with a file relative to data.folder."""
    query: Text
    """A SELECT; its columns become the table's columns. Add ORDER BY, so that a repeated run reads
    the rows in the same order and trains the same model."""


class MongoSource(Section):
    """The documents of a MongoDB collection, read in ascending order of _id."""

    mongo: File
    """The server's URL: mongodb://USER:$PASSWORD@HOST/DATABASE or mongodb+srv://."""
    collection: Text
    """The collection's name."""
    database: Text | None = None
    """The database's name; if not set, the one that the URL names."""
    filter: dict[str, Any] = Field(default_factory=dict)
    """Which documents to read, as the filter of MongoDB's find; an empty filter reads all."""


def _kind_of_source(value: object) -> str | None:
    """Return which of the sources a value of the configuration is, None for none of them."""
    if isinstance(value, str):
        return "file"
    keys = value if isinstance(value, dict) else getattr(type(value), "model_fields", ())
    return next((kind for kind in ("sql", "mongo") if kind in keys), None)


Database = Annotated[
    Annotated[SqlSource, Tag("sql")] | Annotated[MongoSource, Tag("mongo")],
    Discriminator(
        _kind_of_source,
        custom_error_type="source",
        custom_error_message="should have sql and query, or mongo and collection",
    ),
]
"""A query or a collection."""

Source = Annotated[
    Annotated[File, Tag("file")]
    | Annotated[SqlSource, Tag("sql")]
    | Annotated[MongoSource, Tag("mongo")],
    Discriminator(
        _kind_of_source,
        custom_error_type="source",
        custom_error_message="should be a file, or have sql and query, or mongo and collection",
    ),
]
"""A file, a query or a collection."""
