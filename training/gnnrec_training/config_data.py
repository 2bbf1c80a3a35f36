"""The [data] sections: where interactions, users and items are, and how to read them."""

import codecs
import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from gnnrec_training.addresses import is_url, variables
from gnnrec_training.config_base import Section
from gnnrec_training.config_sources import Database, File, Source, Text
from gnnrec_training.errors import InvalidConfig

Format = Literal["csv", "tsv", "jsonl", "parquet", "recbole", "lightgcn"]
Kind = Literal["numeric", "categorical", "multi", "tags", "vector"]

_LISTED: tuple[Kind, ...] = ("categorical", "multi", "tags")
_SEVERAL: tuple[Kind, ...] = ("multi", "tags")
_JOINED: tuple[Kind, ...] = ("multi", "tags", "vector")
_KINDS_OF_KEY: dict[str, tuple[Kind, ...]] = {
    "pattern": ("numeric", "categorical"),
    "centres": ("numeric",),
    "separator": _SEVERAL,
    "min_count": _LISTED,
    "max_categories": _LISTED,
    "buckets": _LISTED,
    "file": _JOINED,
    "source": _JOINED,
    "id_column": _JOINED,
    "width": ("vector",),
    "scaling": ("vector",),
}


class Reading(Section):
    """How texts are written, where a file does not say it itself."""

    format: Format | None = None
    """How the files are written; by their suffix and their first lines if not set."""
    separator: Text | None = None
    """What stands between the fields of a text table; by its first lines if not set."""
    header: bool | None = None
    """Whether the first line of a text table has the names of the columns; without, columns are
    named by their numbers, from 1. If not set, there is one unless columns are numbers here."""
    encoding: str = "utf-8"
    """The encoding of texts, as Python calls it, such as "windows-1252"."""
    decimal: Literal[".", ","] = "."
    """What stands before the decimals of numbers in texts."""

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, encoding: str) -> str:
        try:
            codecs.lookup(encoding)
        except LookupError:
            raise ValueError(
                f'{encoding!r} is no encoding; "utf-8" and "windows-1252" are the usual ones'
            ) from None
        return encoding


def _as_name(column: object) -> object:
    """Return a column that is given by its number as the name that it has then."""
    if isinstance(column, int) and not isinstance(column, bool) and column > 0:
        return str(column)
    return column


Column = Annotated[Text, BeforeValidator(_as_name)]
"""A column's name; or its number, from 1, where the file has no header."""


class NodeFeatureConfig(Section):
    """[[data.users.features]] and [[data.items.features]]: one thing that is known of the nodes."""

    name: Text
    """What requests and the manifest call it."""
    kind: Kind
    """numeric: a number; categorical: one text of a few; multi: several; tags: several as people
    write them, rare ones counting more; vector: as many numbers for every node, such as a text
    encoder's output."""
    column: Column | None = None
    """Where it stands; the name if not set."""
    pattern: str | None = None
    """numeric and categorical: a regular expression whose first group is the value, such as the
    year in a title; a text that it does not match is a missing value."""
    centres: Annotated[int, Field(ge=0)] = 0
    """numeric: how many radial basis functions describe it, evenly between the 1st and the 99th
    percentile."""
    separator: Text = "|"
    """multi and tags: what stands between the texts."""
    min_count: Annotated[int, Field(ge=1)] = 1
    """categorical, multi and tags: texts of fewer nodes are left out."""
    max_categories: Annotated[int, Field(ge=1)] = 1000
    """categorical, multi and tags: the most frequent texts are kept, ties by text."""
    buckets: Annotated[int, Field(ge=0)] = 0
    """categorical, multi and tags: more than 0 hashes the texts to so many places instead."""
    width: Annotated[int, Field(ge=1, le=65536)] | None = None
    """vector: how many numbers; as many as the first one has if not set."""
    scaling: Literal["unit", "standard"] = "unit"
    """vector: unit divides each by its length; standard gives each of its numbers, over the nodes
    with training interactions, the mean 0 and the deviation 1, and holds it within 10."""
    file: File | None = None
    """multi and tags: a table of its own, one text a row; vector: one node a row."""
    source: Database | None = None
    """In place of a file: a query or a collection."""
    id_column: Column | None = None
    """The id column of that table; that of the section if not set."""

    @property
    def own_table(self) -> Source | None:
        """The table of its own, if it has one."""
        return self.source if self.file is None else self.file

    @property
    def column_name(self) -> str:
        """The column that it is read from."""
        return self.column or self.name

    @model_validator(mode="after")
    def _keys_fit(self) -> "NodeFeatureConfig":
        for key, kinds in _KINDS_OF_KEY.items():
            if self.kind not in kinds and self.differs(key):
                raise ValueError(
                    f"feature {self.name!r} is {self.kind}, and {key} is for {', '.join(kinds)}"
                )
        if self.centres == 1:
            raise ValueError(f"feature {self.name!r}: centres must be 0, or 2 and more")
        if self.buckets and (self.differs("min_count") or self.differs("max_categories")):
            raise ValueError(
                f"feature {self.name!r}: buckets hash every text; min_count and max_categories "
                "do not go with them"
            )
        if self.file is not None and self.source is not None:
            raise ValueError(f"feature {self.name!r}: set file or source, not both")
        if self.own_table is None and self.id_column is not None:
            raise ValueError(f"feature {self.name!r}: id_column is that of its file; set file too")
        if self.own_table is not None and self.differs("separator"):
            raise ValueError(f"feature {self.name!r}: a file has one text a row and no separator")
        if self.pattern is not None:
            _check_pattern(f"feature {self.name!r}", self.pattern)
        return self


class AttributeConfig(Section):
    """[[data.items.attributes]]: one thing that requests can filter the items by."""

    name: Text
    """What requests and the manifest call it."""
    kind: Literal["number", "text", "texts"]
    column: Column | None = None
    """Where it stands; the name if not set."""
    separator: Text = "|"
    """texts: what stands between them."""
    pattern: str | None = None
    """number and text: as for features."""

    @property
    def column_name(self) -> str:
        """The column that it is read from."""
        return self.column or self.name

    @model_validator(mode="after")
    def _keys_fit(self) -> "AttributeConfig":
        if self.kind == "texts" and self.pattern is not None:
            raise ValueError(f"attribute {self.name!r} is texts, and pattern is for number, text")
        if self.kind != "texts" and "separator" in self.model_fields_set:
            raise ValueError(f"attribute {self.name!r} is {self.kind}, and separator is for texts")
        if self.pattern is not None:
            _check_pattern(f"attribute {self.name!r}", self.pattern)
        return self


def _check_pattern(what: str, pattern: str) -> None:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"{what}: pattern {pattern!r} is no regular expression: {error}") from None
    if groups == 0:
        raise ValueError(
            f"{what}: pattern {pattern!r} has no group; put the part that is "
            "the value in parentheses"
        )


def _check_names(what: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two {what} are called {name!r}; give each its own name")


class _NodesConfig(Reading):
    file: File | None = None
    """The table's file; one row a node."""
    source: Database | None = None
    """In place of a file: a query or a collection."""
    features: tuple[NodeFeatureConfig, ...] = ()
    """What the models know of the nodes; with any, nodes without interactions count as well."""

    @property
    def table(self) -> Source:
        """Where the table is."""
        place = self.source if self.file is None else self.file
        assert place is not None  # as _one_place checks
        return place

    @model_validator(mode="after")
    def _one_place(self) -> "_NodesConfig":
        if (self.file is None) == (self.source is None):
            raise ValueError("set file, or source for a database, and not both")
        return self

    @model_validator(mode="after")
    def _names_differ(self) -> "_NodesConfig":
        _check_names("features", [feature.name for feature in self.features])
        return self


class UsersConfig(_NodesConfig):
    """[data.users]: a table about the users."""

    id_column: Column = "user_id"
    features: Annotated[tuple[NodeFeatureConfig, ...], Field(min_length=1)]


class ItemsConfig(_NodesConfig):
    """[data.items]: a table about the items."""

    id_column: Column = "item_id"
    title_column: Column = "title"
    """With features or attributes, and if not set, a table without the column gives no titles."""
    attributes: tuple[AttributeConfig, ...] = ()
    """What requests can filter the items by; the models do not look at it."""

    @model_validator(mode="after")
    def _attributes_differ(self) -> "ItemsConfig":
        _check_names("attributes", [attribute.name for attribute in self.attributes])
        return self


class DataConfig(Reading):
    """[data]: where the interactions are and how to read them."""

    folder: File = "."
    """The data set's folder, relative to the configuration file, or a URL. $VARIABLES are filled
    in."""
    interactions: Source
    """The interactions, or the training part of them: a file, files by a pattern or a URL; a table
    with sql and query; or one with mongo and collection."""
    test: Source | None = None
    """The test part, where the data set comes split."""
    user_column: Column = "user_id"
    item_column: Column = "item_id"
    weight_column: Column | None = None
    """A column of positive numbers: ratings, counts, seconds."""
    time_column: Column | None = None
    """A column of moments: Unix time in seconds, milli-, micro- or nanoseconds, told apart by size;
    ISO 8601, UTC where no zone stands; dates. Smaller numbers that grow with time give an order."""
    time_format: Text | None = None
    """How moments are written where they are no ISO 8601: "%d.%m.%Y %H:%M", as strftime has it."""
    ids: Literal["auto", "text"] = "auto"
    """auto: where all ids of a side are numbers, whole ones such as 3.0 are 3; text: ids are as
    written, but for outer spaces."""
    missing_ids: Literal["error", "drop", "keep"] = "error"
    """Rows whose user or item is empty, nan, null, NULL, None or the like: refuse them, leave them
    out and count them, or take all but the empty ones for ids."""
    min_weight: float | None = None
    """Rows of a smaller weight are no interactions."""
    low_weights: Literal["seen", "drop"] = "seen"
    """What rows below min_weight are: seen, so that nobody is recommended what they did not like;
    or nothing."""
    duplicates: Literal["error", "sum", "max", "last"] = "sum"
    """What to make of a pair that stands several times: refuse it, or merge it, with the sum of the
    weights, the largest, or the last one: by time where there is a time column, else by row."""
    users: UsersConfig | None = None
    items: ItemsConfig | None = None


def data_folder(config: DataConfig, beside: Path) -> str:
    """Return the data set's folder: config.folder with $VARIABLES filled in, from `beside`.

    A folder that is a URL is returned as it is, for its variables hold credentials.
    """
    if is_url(config.folder):
        return config.folder
    missing = [name for name in variables(config.folder) if name not in os.environ]
    if missing:
        raise InvalidConfig(
            f"data.folder is {config.folder!r}, and ${missing[0]} is not set; "
            f"set it to the folder that holds the data set"
        )
    folder = os.path.expandvars(config.folder)
    return folder if is_url(folder) else str(beside / folder)
