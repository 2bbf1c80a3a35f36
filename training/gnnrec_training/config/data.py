"""The [data] sections: where interactions, users and items are, and how to read them."""

import codecs
import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from gnnrec_training.addresses import is_url, variables
from gnnrec_training.config.section import Section
from gnnrec_training.config.sources import Database, File, Source, Text
from gnnrec_training.errors import InvalidConfig

FileFormat = Literal["csv", "tsv", "jsonl", "parquet", "recbole", "lightgcn"]
FeatureKind = Literal["numeric", "categorical", "multi", "tags", "vector"]

_WITH_CATEGORIES: tuple[FeatureKind, ...] = ("categorical", "multi", "tags")
_WITH_SEVERAL_TEXTS: tuple[FeatureKind, ...] = ("multi", "tags")
_WITH_OWN_TABLE: tuple[FeatureKind, ...] = ("multi", "tags", "vector")
# The kinds of features that a key has a meaning for.
_KINDS_OF_KEY: dict[str, tuple[FeatureKind, ...]] = {
    "pattern": ("numeric", "categorical"),
    "centres": ("numeric",),
    "separator": _WITH_SEVERAL_TEXTS,
    "min_count": _WITH_CATEGORIES,
    "max_categories": _WITH_CATEGORIES,
    "buckets": _WITH_CATEGORIES,
    "file": _WITH_OWN_TABLE,
    "source": _WITH_OWN_TABLE,
    "id_column": _WITH_OWN_TABLE,
    "width": ("vector",),
    "scaling": ("vector",),
}


class ReadOptions(Section):
    """How the files of a table are written, where their content does not tell."""

    format: FileFormat | None = None
    """The format of the files. If not set, the suffix of their name tells it, or their first
    lines."""
    separator: Text | None = None
    """The text between the fields of a line, such as ";". If not set, the first lines tell it."""
    header: bool | None = None
    """Whether the first line has the names of the columns. Without names, columns are named by
    their numbers, from 1. If not set, the first line has names, unless this configuration names the
    columns by numbers."""
    encoding: str = "utf-8"
    """The encoding of the text, by the name that Python gives it, such as "windows-1252"."""
    decimal: Literal[".", ","] = "."
    """The decimal mark of numbers that stand in text."""

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
    """Return a column given by its number, such as 3, as its name in a file without a header."""
    if isinstance(column, int) and not isinstance(column, bool) and column > 0:
        return str(column)
    return column


Column = Annotated[Text, BeforeValidator(_as_name)]
"""A column's name, or its number from 1 where the file has no header."""


class NodeFeatureConfig(Section):
    """[[data.users.features]] and [[data.items.features]]: one property of users or items.

    The models [sage] and [hybrid] learn from them.
    """

    name: Text
    """The feature's name in requests and in the manifest."""
    kind: FeatureKind
    """What a value is. numeric: a number; categorical: one text of a limited set; multi: several of
    such texts; tags: several texts as people write them, upper and lower case alike, rare ones
    counting more (inverse document frequency); vector: the same number of numbers for every node,
    such as the output of a text encoder."""
    column: Column | None = None
    """The column that holds it; if not set, the column called `name`."""
    pattern: str | None = None
    """numeric and categorical: a regular expression whose first group is the value, such as the
    year in a title. A text that it does not match is a missing value."""
    centres: Annotated[int, Field(ge=0)] = 0
    """numeric: also describe the number by this many radial basis functions, centred at equal
    distances from the 1st to the 99th percentile; 0 for none."""
    separator: Text = "|"
    """multi and tags: the text between the texts of one value."""
    min_count: Annotated[int, Field(ge=1)] = 1
    """categorical, multi and tags: leave out texts that fewer nodes with training interactions
    have."""
    max_categories: Annotated[int, Field(ge=1)] = 1000
    """categorical, multi and tags: keep this many texts, the most frequent first; equally frequent
    ones in alphabetical order."""
    buckets: Annotated[int, Field(ge=0)] = 0
    """categorical, multi and tags: if more than 0, every text is hashed into one of this many
    buckets, in place of a list of texts."""
    width: Annotated[int, Field(ge=1, le=65536)] | None = None
    """vector: how many numbers a vector has; if not set, as many as the first one."""
    scaling: Literal["unit", "standard"] = "unit"
    """vector: unit divides each vector by its length. standard brings each of its numbers to mean 0
    and standard deviation 1 over the nodes with training interactions, and clips it to within
    10."""
    file: File | None = None
    """multi and tags: another table that holds the feature, with one text in each row; vector:
    another table with one vector for each node."""
    source: Database | None = None
    """That other table as a query or a collection, in place of a file."""
    id_column: Column | None = None
    """The column of ids in that other table; if not set, the id_column of the section."""

    @property
    def own_table(self) -> Source | None:
        """The other table that holds the feature, None where the nodes' own table does."""
        return self.source if self.file is None else self.file

    @property
    def column_name(self) -> str:
        """The column that the values are read from."""
        return self.column or self.name

    @model_validator(mode="after")
    def _keys_fit(self) -> "NodeFeatureConfig":
        for key, kinds in _KINDS_OF_KEY.items():
            if self.kind not in kinds and self.differs_from_default(key):
                raise ValueError(
                    f"feature {self.name!r} is {self.kind}, and {key} is for {', '.join(kinds)}"
                )
        if self.centres == 1:
            raise ValueError(f"feature {self.name!r}: centres must be 0, or 2 and more")
        if self.buckets and (
            self.differs_from_default("min_count") or self.differs_from_default("max_categories")
        ):
            raise ValueError(
                f"feature {self.name!r}: buckets hash every text; min_count and max_categories "
                "do not go with them"
            )
        if self.file is not None and self.source is not None:
            raise ValueError(f"feature {self.name!r}: set file or source, not both")
        if self.own_table is None and self.id_column is not None:
            raise ValueError(f"feature {self.name!r}: id_column is that of its file; set file too")
        if self.own_table is not None and self.differs_from_default("separator"):
            raise ValueError(f"feature {self.name!r}: a file has one text a row and no separator")
        if self.pattern is not None:
            _check_pattern(f"feature {self.name!r}", self.pattern)
        return self


class AttributeConfig(Section):
    """[[data.items.attributes]]: one property of items that requests can filter by."""

    name: Text
    """The attribute's name in requests and in the manifest."""
    kind: Literal["number", "text", "texts"]
    """What a value is: a number, one text, or several texts."""
    column: Column | None = None
    """The column that holds it; if not set, the column called `name`."""
    separator: Text = "|"
    """texts: the text between the texts of one value."""
    pattern: str | None = None
    """number and text: a regular expression whose first group is the value, such as the year in a
    title. A text that it does not match is a missing value."""

    @property
    def column_name(self) -> str:
        """The column that the values are read from."""
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


class _NodesConfig(ReadOptions):
    file: File | None = None
    """The table's file, with one row for each user or item."""
    source: Database | None = None
    """The table as a query or a collection, in place of a file."""
    features: tuple[NodeFeatureConfig, ...] = ()
    """What models learn about the nodes from. With any feature, nodes of the table that have no
    interactions are part of the model as well."""

    @property
    def table(self) -> Source:
        """The file or database that holds the table."""
        place = self.source if self.file is None else self.file
        assert place is not None  # _one_place has checked it
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
    """The column of ids; they must be those of data.user_column."""
    features: Annotated[tuple[NodeFeatureConfig, ...], Field(min_length=1)]


class ItemsConfig(_NodesConfig):
    """[data.items]: a table about the items."""

    id_column: Column = "item_id"
    """The column of ids; they must be those of data.item_column."""
    title_column: Column = "title"
    """The column of titles for people to read. A table without it is refused if this key is set, or
    if there are neither features nor attributes; else items have no titles."""
    attributes: tuple[AttributeConfig, ...] = ()
    """What requests can filter the items by; the models do not learn from it."""

    @model_validator(mode="after")
    def _attributes_differ(self) -> "ItemsConfig":
        _check_names("attributes", [attribute.name for attribute in self.attributes])
        return self


class DataConfig(ReadOptions):
    """[data]: where the interactions are and how to read them."""

    folder: File = "."
    """The folder that relative paths of this section start from: itself relative to the
    configuration file, or a URL. $VARIABLES are replaced from the environment."""
    interactions: Source
    """The table of interactions, or of their training part where data.test is set: a file, a glob
    pattern or a URL; or a table with sql and query, or with mongo and collection."""
    test: Source | None = None
    """The test part, for data that come with a fixed split."""
    user_column: Column = "user_id"
    """The column of user ids."""
    item_column: Column = "item_id"
    """The column of item ids."""
    weight_column: Column | None = None
    """A column of positive numbers, such as ratings, counts or seconds. If not set, all weights
    are 1."""
    time_column: Column | None = None
    """A column of times: Unix time in seconds, milli-, micro- or nanoseconds, which the size of the
    numbers tells; ISO 8601, taken as UTC where it has no time zone; or dates. Numbers too small for
    Unix time only give an order, the larger the later."""
    time_format: Text | None = None
    """How times are written that are not ISO 8601, in the codes of strftime, such as
    "%d.%m.%Y %H:%M"."""
    ids: Literal["auto", "text"] = "auto"
    """auto: where all user ids, or all item ids, are numbers, 3.0 and 3 are the same id; text: ids
    are taken as they are written. Spaces around an id never count."""
    missing_ids: Literal["error", "drop", "keep"] = "error"
    """What to do with rows whose user or item is empty or a word for a missing value, such as nan,
    null, NULL or None. error: refuse the data; drop: leave these rows out and count them; keep:
    take the words as ids, and refuse empty ones."""
    min_weight: float | None = None
    """Rows of a smaller weight are not interactions; if not set, all rows are."""
    low_weights: Literal["seen", "drop"] = "seen"
    """What to do with rows below min_weight. seen: the user has seen the item, so it is not
    recommended, which keeps what people disliked out of their recommendations; drop: ignore
    them."""
    duplicates: Literal["error", "sum", "max", "last"] = "sum"
    """What to do with several rows of the same user and item. error: refuse the data; sum: add
    their weights; max: take the largest weight; last: take the last row, by time where there is a
    time column, else by position."""
    users: UsersConfig | None = None
    items: ItemsConfig | None = None


def data_folder(config: DataConfig, beside: Path) -> str:
    """Return the data set's folder, a path that starts from the folder `beside`, or a URL.

    $VARIABLES of a path are replaced from the environment. Those of a URL stay, because they may
    hold credentials.
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
