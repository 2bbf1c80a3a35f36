"""Where a table is: a file, files by a pattern, a URL, a query of a database, a collection."""

from typing import Annotated, Any

from pydantic import Discriminator, Field, PlainSerializer, Tag

from gnnrec_training.addresses import shown
from gnnrec_training.config_base import Section

Text = Annotated[str, Field(min_length=1)]

File = Annotated[Text, PlainSerializer(shown)]
"""A path from data.folder, a glob pattern (`*`, `?`, `[`, `**`), or a URL that fsspec opens. A
password in a URL is not recorded, nor the passing file of a frame; $VARIABLES in a URL are filled
in when it is read."""


class SqlSource(Section):
    """The rows of a query."""

    sql: File
    """The database's URL, as SQLAlchemy has it: postgresql://USER:$PASSWORD@HOST/NAME, or
    sqlite:///FILE with a file from data.folder."""
    query: Text
    """The query; its columns are the table's. Order the rows for runs that can be repeated."""


class MongoSource(Section):
    """The documents of a MongoDB collection, by ascending _id."""

    mongo: File
    """The server's URL: mongodb://USER:$PASSWORD@HOST/DATABASE or mongodb+srv://."""
    collection: Text
    database: Text | None = None
    """That of the URL if not set."""
    filter: dict[str, Any] = Field(default_factory=dict)
    """What MongoDB's find takes: which documents are meant; all if empty."""


def _form(value: object) -> str | None:
    if isinstance(value, str):
        return "file"
    keys = value if isinstance(value, dict) else getattr(type(value), "model_fields", ())
    return next((form for form in ("sql", "mongo") if form in keys), None)


Database = Annotated[
    Annotated[SqlSource, Tag("sql")] | Annotated[MongoSource, Tag("mongo")],
    Discriminator(
        _form,
        custom_error_type="source",
        custom_error_message="should have sql and query, or mongo and collection",
    ),
]

Source = Annotated[
    Annotated[File, Tag("file")]
    | Annotated[SqlSource, Tag("sql")]
    | Annotated[MongoSource, Tag("mongo")],
    Discriminator(
        _form,
        custom_error_type="source",
        custom_error_message="should be a file, or have sql and query, or mongo and collection",
    ),
]
