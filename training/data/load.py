"""From a configuration to a split data set."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from training.config import Config
from training.config_data import DataConfig, data_folder
from training.data import split
from training.data.dataset import Dataset, Interactions, Rows, restrict_to_catalogue
from training.data.encodings import describe
from training.data.nodes import NodeTable, read_nodes
from training.data.readers import format_of, read_lightgcn, read_table
from training.errors import InvalidData


def load_dataset(config: Config, beside: Path) -> Dataset:
    """Read, check, number and split the data set of a configuration.

    `beside`: the folder that the configuration's relative paths start from.
    """
    folder = data_folder(config.data, beside)
    table = _read_interactions(config.data, folder / config.data.interactions)
    test = None
    if config.data.test is not None:
        test = _read_interactions(config.data, folder / config.data.test)
    users = None if config.data.users is None else read_nodes(config.data.users, folder)
    items = None if config.data.items is None else read_nodes(config.data.items, folder)
    everything = table if test is None else pl.concat([table, test])
    user_ids, user_table = _ids(everything["user"], users)
    item_ids, item_table = _ids(everything["item"], items)
    interactions = _number(everything, user_ids, item_ids)
    if test is None:
        given = None
    else:
        given = np.arange(len(interactions)) >= table.height
        _refuse_overlap(table, test, folder / str(config.data.test))
    generator = np.random.default_rng([config.seed, _SPLIT_STREAM])
    train, validation, held_out = split.split(interactions, config.split, given, generator)
    dataset = restrict_to_catalogue(
        Dataset(config.name, user_ids.to_list(), item_ids.to_list(), train, validation, held_out),
        user_table,
        item_table,
    )
    if items is not None:
        dataset = replace(
            dataset,
            item_titles=items.titles_of(dataset.item_ids),
            item_attributes=items.attributes_of(dataset.item_ids),
        )
    return describe(dataset, users, items)


# Keeps the split's random numbers apart from those of the training, which has the same seed.
_SPLIT_STREAM = 1


def _read_interactions(config: DataConfig, path: Path) -> pl.DataFrame:
    """Return columns user, item, weight and, where the data has it, time; no pair twice."""
    format = config.format or format_of(path)
    if format == "lightgcn":
        table = read_lightgcn(path).with_columns(weight=pl.lit(1.0))
    else:
        numbers = [name for name in (config.weight_column, config.time_column) if name]
        raw = read_table(path, [config.user_column, config.item_column], numbers, format)
        columns = {"user": raw[config.user_column], "item": raw[config.item_column]}
        if config.weight_column:
            columns["weight"] = raw[config.weight_column]
        if config.time_column:
            columns["time"] = raw[config.time_column]
        table = pl.DataFrame(columns)
        if "weight" not in table.columns:
            table = table.with_columns(weight=pl.lit(1.0))
    if config.min_weight is not None:
        table = table.filter(pl.col("weight") >= config.min_weight)
    _refuse_weights(path, config, table)
    return _merge_duplicates(config, path, table)


def _refuse_weights(path: Path, config: DataConfig, table: pl.DataFrame) -> None:
    bad = table.filter(pl.col("weight") <= 0).head(1)
    if bad.height:
        user, item, weight = bad.select("user", "item", "weight").row(0)
        raise InvalidData(
            f"{path}, column {config.weight_column!r}: weight {weight:g} of user {user!r} and item "
            f"{item!r} is not positive; data.min_weight drops small ones"
        )


def _merge_duplicates(config: DataConfig, path: Path, table: pl.DataFrame) -> pl.DataFrame:
    twice = table.select("user", "item").is_duplicated()
    if not twice.any():
        return table
    if config.duplicates == "error":
        user, item = table.filter(twice).select("user", "item").row(0)
        raise InvalidData(
            f"{path}: user {user!r} and item {item!r} stand twice, as do {int(twice.sum()) - 1} "
            'more rows; set data.duplicates to "sum", "max" or "last" to merge them'
        )
    weight = pl.col("weight")
    merged = {"sum": weight.sum(), "max": weight.max(), "last": weight.last()}[config.duplicates]
    times = [pl.col("time").max()] if "time" in table.columns else []
    return table.group_by("user", "item", maintain_order=True).agg(merged, *times)


def _refuse_overlap(train: pl.DataFrame, test: pl.DataFrame, path: Path) -> None:
    both = test.join(train, on=["user", "item"], how="semi")
    if both.height:
        user, item = both.select("user", "item").row(0)
        raise InvalidData(
            f"{path}: user {user!r} and item {item!r} are in the training part as well, as are "
            f"{both.height - 1} more of its pairs"
        )


def _ids(column: pl.Series, table: NodeTable | None) -> tuple[pl.Series, Rows]:
    """Return the distinct ids of interactions and table, and the rows that the table adds."""
    ids = column.unique(maintain_order=True)
    if table is None or not table.features:
        return ids, np.empty(0, np.int32)
    listed = pl.Series(column.name, table.ids)
    ids = pl.concat([ids, listed]).unique(maintain_order=True)
    return ids, _rows(listed, ids)


def _number(table: pl.DataFrame, user_ids: pl.Series, item_ids: pl.Series) -> Interactions:
    return Interactions(
        user_rows=_rows(table["user"], user_ids),
        item_rows=_rows(table["item"], item_ids),
        weights=table["weight"].to_numpy().astype(np.float32),
        times=table["time"].to_numpy() if "time" in table.columns else None,
    )


def _rows(column: pl.Series, ids: pl.Series) -> Rows:
    """Return the place of each value among `ids`."""
    numbered = pl.DataFrame({"id": ids, "row": np.arange(len(ids), dtype=np.int32)})
    rows = pl.DataFrame({"id": column}).join(numbered, on="id", maintain_order="left")["row"]
    return rows.to_numpy()
