"""Tables about users and items: ids, titles, and what is known of each node."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from registry import ItemAttribute
from registry.features import Value
from training.config_data import AttributeConfig, ItemsConfig, NodeFeatureConfig, UsersConfig
from training.data.readers import Table, open_table
from training.errors import InvalidData

Values = list[Value | None]


@dataclass(frozen=True)
class NodeTable:
    """N nodes in the order of their file."""

    path: Path
    ids: list[str]
    features: tuple[NodeFeatureConfig, ...]
    values: dict[str, Values]
    """The raw values (N,) by feature, None where missing."""
    titles: list[str] | None = None
    attributes: tuple[ItemAttribute, ...] = ()

    def titles_of(self, ids: list[str]) -> list[str] | None:
        """Return the title of each id, empty for those not in the table; None without titles."""
        if self.titles is None:
            return None
        titles = dict(zip(self.ids, self.titles, strict=True))
        return [titles.get(identity, "") for identity in ids]

    def values_of(self, ids: list[str]) -> dict[str, Values]:
        """Return the raw values of each id by feature, None for those not in the table."""
        rows = self._rows(ids)
        return {name: _take(values, rows) for name, values in self.values.items()}

    def attributes_of(self, ids: list[str]) -> tuple[ItemAttribute, ...]:
        """Return the attributes of each id, missing for those not in the table."""
        rows = self._rows(ids)
        return tuple(
            replace(attribute, values=_take(attribute.values, rows))
            for attribute in self.attributes
        )

    def _rows(self, ids: list[str]) -> list[int | None]:
        row_of = {identity: row for row, identity in enumerate(self.ids)}
        return [row_of.get(identity) for identity in ids]


def _take(values: Sequence[Value | None], rows: list[int | None]) -> Values:
    return [None if row is None else values[row] for row in rows]


def read_nodes(config: UsersConfig | ItemsConfig, folder: Path) -> NodeTable:
    """Read a table of nodes and the files of its features.

    Raises InvalidData for a missing column, an id that stands twice and a value that does not fit.
    """
    path = folder / config.file
    table = open_table(path)
    ids = table.ids(config.id_column).to_list()
    return NodeTable(
        path=path,
        ids=ids,
        features=config.features,
        values={
            feature.name: _values(feature, table, ids, config.id_column, folder)
            for feature in config.features
        },
        titles=_titles(config, table) if isinstance(config, ItemsConfig) else None,
        attributes=tuple(_attribute(attribute, table) for attribute in config.attributes)
        if isinstance(config, ItemsConfig)
        else (),
    )


def _titles(config: ItemsConfig, table: Table) -> list[str] | None:
    described = config.features or config.attributes
    wanted = not described or "title_column" in config.model_fields_set
    if not wanted and not table.has(config.title_column):
        return None
    return table.texts(config.title_column).to_list()


def _attribute(config: AttributeConfig, table: Table) -> ItemAttribute:
    """Read an attribute; raises InvalidData for one that no row has or a text of two lines."""
    values: Values
    if config.kind == "number":
        values = table.optional_numbers(config.source, config.pattern).to_list()
    elif config.kind == "text":
        values = table.optional_texts(config.source, config.pattern).to_list()
    else:
        values = [texts or None for texts in table.text_lists(config.source, config.separator)]
    if not any(value is not None for value in values):
        raise InvalidData(
            f"{table.path}: no row has a value of attribute {config.name!r}; "
            "see its column and pattern"
        )
    for value in values:
        texts = [value] if isinstance(value, str) else value
        if isinstance(texts, list) and any("\n" in text for text in texts):
            raise InvalidData(
                f"{table.path}, column {config.source!r}: {value!r:.60} has a line break, and an "
                "attribute's texts must not"
            )
    return ItemAttribute(config.name, config.kind, values)


def _values(
    feature: NodeFeatureConfig, table: Table, ids: list[str], id_column: str, folder: Path
) -> Values:
    if feature.file is not None:
        return _joined(feature, open_table(folder / feature.file), ids, id_column)
    if feature.kind == "numeric":
        return table.optional_numbers(feature.source, feature.pattern).to_list()
    if feature.kind == "categorical":
        return table.optional_texts(feature.source, feature.pattern).to_list()
    return [texts or None for texts in table.text_lists(feature.source, feature.separator)]


def _joined(feature: NodeFeatureConfig, table: Table, ids: list[str], id_column: str) -> Values:
    texts: dict[str, list[str]] = {identity: [] for identity in ids}
    owners = table.texts(feature.id_column or id_column)
    for owner, text in zip(owners, table.optional_texts(feature.source), strict=True):
        if text is not None and owner in texts:
            texts[owner].append(text)
    return [texts[identity] or None for identity in ids]
