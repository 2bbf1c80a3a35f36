"""Tables about users or items: their ids, titles, features and attributes.

A node is a user or an item. N is the number of nodes in a table.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import polars as pl

from gnnrec_registry import ItemAttribute
from gnnrec_registry.features.encoders import TableValue, Value
from gnnrec_training.config import (
    AttributeConfig,
    ItemsConfig,
    NodeFeatureConfig,
    ReadOptions,
    UsersConfig,
)
from gnnrec_training.data.ids import whole_numbers
from gnnrec_training.data.reading.progress import ReadProgress
from gnnrec_training.data.reading.sources import open_table
from gnnrec_training.data.tables.table import Table
from gnnrec_training.errors import InvalidData
from gnnrec_training.reporter import Reporter

Values = list[TableValue | None]
"""The values of one feature, None where one is missing."""

T = TypeVar("T")


@dataclass(frozen=True)
class NodeTable:
    """A table about users or about items, in the order of its rows."""

    name: str
    """What errors call the table."""
    ids: list[str]
    """(N,)"""
    features: tuple[NodeFeatureConfig, ...]
    """The features that are configured."""
    values: dict[str, Values]
    """For each feature's name its values (N,), not encoded."""
    titles: list[str] | None = None
    """(N,); None where titles are not wanted, and always for users."""
    attributes: tuple[ItemAttribute, ...] = ()
    """What requests can filter the items by, with values (N,); none for users."""

    def with_whole_ids(self) -> "NodeTable":
        """Return the table with ids such as 3.0 written as 3.

        Raises InvalidData where that makes two ids the same.
        """
        ids = whole_numbers(pl.Series(self.ids, dtype=pl.String)).to_list()
        if len(set(ids)) < len(ids):
            twice = next(id_ for id_ in ids if ids.count(id_) > 1)
            raise InvalidData(f"{self.name}: id {twice!r} stands twice, once with a decimal point")
        return replace(self, ids=ids)

    def titles_of(self, ids: list[str]) -> list[str] | None:
        """Return the title of each id, "" where the table lacks it; None if it has no titles."""
        if self.titles is None:
            return None
        titles = dict(zip(self.ids, self.titles, strict=True))
        return [titles.get(identity, "") for identity in ids]

    def values_of(self, ids: list[str]) -> dict[str, Values]:
        """Return for each feature the values of `ids`, None for ids that the table lacks."""
        rows = self._rows(ids)
        return {name: _take(values, rows) for name, values in self.values.items()}

    def attributes_of(self, ids: list[str]) -> tuple[ItemAttribute, ...]:
        """Return the attributes with the values of `ids`, None for ids that the table lacks."""
        rows = self._rows(ids)
        return tuple(
            replace(attribute, values=_take(attribute.values, rows))
            for attribute in self.attributes
        )

    def _rows(self, ids: list[str]) -> list[int | None]:
        row_of = {identity: row for row, identity in enumerate(self.ids)}
        return [row_of.get(identity) for identity in ids]


def _take(values: Sequence[T], rows: list[int | None]) -> list[T | None]:
    return [None if row is None else values[row] for row in rows]


def read_node_table(
    config: UsersConfig | ItemsConfig,
    data: ReadOptions,
    folder: str,
    reporter: Reporter | None = None,
) -> NodeTable:
    """Read the table about users or items, and the other tables that hold some of their features.

    `data`: gives the encoding and decimal mark that the table's section does not set. Raises
    InvalidData for a missing column, an id in two rows, and a value of the wrong kind.
    """
    what = "items" if isinstance(config, ItemsConfig) else "users"
    inherited = {
        key: getattr(data, key)
        for key in ("encoding", "decimal")
        if key not in config.model_fields_set
    }
    options = config.model_copy(update=inherited)
    progress = ReadProgress(reporter, what)
    table = open_table(
        config.table, folder, _columns(config), options, progress, exact=[config.id_column]
    )
    ids = _ids(table, config.id_column)
    return NodeTable(
        name=table.name,
        ids=ids,
        features=config.features,
        values={
            feature.name: _values(feature, table, ids, config.id_column, folder, options, reporter)
            for feature in config.features
        },
        titles=_titles(config, table) if isinstance(config, ItemsConfig) else None,
        attributes=tuple(_attribute(attribute, table) for attribute in config.attributes)
        if isinstance(config, ItemsConfig)
        else (),
    )


def _columns(config: UsersConfig | ItemsConfig) -> list[str]:
    """Return the columns to read from the table itself."""
    columns = [feature.column_name for feature in config.features if feature.own_table is None]
    if isinstance(config, ItemsConfig):
        columns += [
            config.title_column,
            *(attribute.column_name for attribute in config.attributes),
        ]
    return list(dict.fromkeys([config.id_column, *columns]))


def _titles(config: ItemsConfig, table: Table) -> list[str] | None:
    """Return the titles; None if the table has none and nothing says that it should."""
    has_other_use = config.features or config.attributes
    required = not has_other_use or "title_column" in config.model_fields_set
    if not required and not table.has(config.title_column):
        return None
    return table.titles(config.title_column)


def _ids(table: Table, column: str) -> list[str]:
    """Return the ids of a table (N,); raises InvalidData for an id in two rows."""
    ids = table.texts(column)
    if ids.is_duplicated().any():
        first = int(ids.is_duplicated().arg_true()[0])
        second = int((ids == ids[first]).arg_true()[1])
        raise InvalidData(
            f"{table.places(first, second)}, column {column!r}: {ids[first]!r} stands twice; keep "
            "one row for each id"
        )
    return ids.to_list()


def _attribute(config: AttributeConfig, table: Table) -> ItemAttribute:
    """Read an attribute; raises InvalidData where no row has it, or a text has a line break."""
    values: list[Value | None]
    if config.kind == "number":
        values = table.optional_numbers(config.column_name, config.pattern).to_list()
    elif config.kind == "text":
        values = table.optional_texts(config.column_name, config.pattern).to_list()
    else:
        values = [texts or None for texts in table.text_lists(config.column_name, config.separator)]
    if not any(value is not None for value in values):
        raise InvalidData(
            f"{table.name}: no row has a value of attribute {config.name!r}; "
            "see its column and pattern"
        )
    for value in values:
        texts = [value] if isinstance(value, str) else value
        if isinstance(texts, list) and any("\n" in text for text in texts):
            raise InvalidData(
                f"{table.name}, column {config.column_name!r}: {value!r:.60} has a line break, and "
                "an attribute's texts must not"
            )
    return ItemAttribute(config.name, config.kind, values)


def _values(
    feature: NodeFeatureConfig,
    table: Table,
    ids: list[str],
    id_column: str,
    folder: str,
    options: ReadOptions,
    reporter: Reporter | None,
) -> Values:
    """Return the values of a feature by `ids`, from the nodes' table or the feature's own table."""
    if feature.own_table is not None:
        owner = feature.id_column or id_column
        progress = ReadProgress(reporter, feature.name)
        columns = [owner, feature.column_name]
        how = ReadOptions(encoding=options.encoding, decimal=options.decimal)
        joined = open_table(feature.own_table, folder, columns, how, progress, exact=[owner])
        if feature.kind == "vector":
            return _joined_vectors(feature, joined, ids, owner)
        return _joined_texts(feature, joined, ids, owner)
    if feature.kind == "vector":
        return list(table.vectors(feature.column_name, feature.width))
    if feature.kind == "numeric":
        return table.optional_numbers(feature.column_name, feature.pattern).to_list()
    if feature.kind == "categorical":
        return table.optional_texts(feature.column_name, feature.pattern).to_list()
    return [texts or None for texts in table.text_lists(feature.column_name, feature.separator)]


def _joined_texts(feature: NodeFeatureConfig, table: Table, ids: list[str], owner: str) -> Values:
    """Return for each id the texts of all rows that name it in column `owner`."""
    texts: dict[str, list[str]] = {identity: [] for identity in ids}
    owners = table.texts(owner)
    for owned_by, text in zip(owners, table.optional_texts(feature.column_name), strict=True):
        if text is not None and owned_by in texts:
            texts[owned_by].append(text)
    return [texts[identity] or None for identity in ids]


def _joined_vectors(feature: NodeFeatureConfig, table: Table, ids: list[str], owner: str) -> Values:
    """Return for each id the vector of the row that names it in column `owner`."""
    vectors = table.vectors(feature.column_name, feature.width)
    vector_of = dict(zip(_ids(table, owner), vectors, strict=True))
    return [vector_of.get(identity) for identity in ids]
