"""Tables about users and items: ids, titles, and what is known of each node."""

from dataclasses import dataclass
from pathlib import Path

from registry.features import Value
from training.config_data import ItemsConfig, NodeFeatureConfig, UsersConfig
from training.data.readers import Table, open_table

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

    def titles_of(self, ids: list[str]) -> list[str] | None:
        """Return the title of each id, empty for those not in the table; None without titles."""
        if self.titles is None:
            return None
        titles = dict(zip(self.ids, self.titles, strict=True))
        return [titles.get(identity, "") for identity in ids]

    def values_of(self, ids: list[str]) -> dict[str, Values]:
        """Return the raw values of each id by feature, None for those not in the table."""
        row_of = {identity: row for row, identity in enumerate(self.ids)}
        rows = [row_of.get(identity) for identity in ids]
        return {
            name: [None if row is None else values[row] for row in rows]
            for name, values in self.values.items()
        }


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
    )


def _titles(config: ItemsConfig, table: Table) -> list[str] | None:
    wanted = not config.features or "title_column" in config.model_fields_set
    if not wanted and not table.has(config.title_column):
        return None
    return table.texts(config.title_column).to_list()


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
