"""Interactions from a source to numbers, a batch at a time: memory holds rows, not texts."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from training.config_data import DataConfig
from training.config_sources import Source
from training.data.dataset import Interactions
from training.data.files import LIGHTGCN_COLUMNS
from training.data.ids import Numbering
from training.data.readers import describe, is_lightgcn, read_tables
from training.data.tables import Table
from training.data.watch import Watch
from training.errors import InvalidData
from training.order import order_by


@dataclass(frozen=True)
class Ids:
    """The rows of users and items, shared by the parts of a data set."""

    users: Numbering = field(default_factory=Numbering)
    items: Numbering = field(default_factory=Numbering)

    def pair(self, interactions: Interactions, place: int) -> str:
        """Return how errors speak of an interaction."""
        user = self.users.ids[int(interactions.user_rows[place])]
        item = self.items.ids[int(interactions.item_rows[place])]
        return f"user {user!r} and item {item!r}"

    def keys(self, interactions: Interactions) -> NDArray[np.int64]:
        """Return a number for each interaction (E,), the same for the same pair."""
        users = interactions.user_rows.astype(np.int64)
        users *= len(self.items.ids)
        users += interactions.item_rows
        return users


def read_interactions(
    config: DataConfig, source: Source, folder: str, ids: Ids, watch: Watch | None = None
) -> Interactions:
    """Return the interactions of a source, no pair twice, in its order; new ids are numbered."""
    name = describe(source, folder)
    batches = [
        _number(config, name, batch, ids) for batch in _batches(config, source, folder, watch)
    ]
    timed = batches[0].times is not None
    interactions = Interactions(
        np.concatenate([batch.user_rows for batch in batches]),
        np.concatenate([batch.item_rows for batch in batches]),
        np.concatenate([batch.weights for batch in batches]),
        np.concatenate([batch.times for batch in batches if batch.times is not None])
        if timed
        else None,
    )
    return _merge_duplicates(config, name, interactions, ids)


def _batches(
    config: DataConfig, source: Source, folder: str, watch: Watch | None
) -> Iterator[pl.DataFrame]:
    """Yield columns user, item and, where they are configured, weight and time."""
    if is_lightgcn(source, config.format):
        for table in read_tables(source, folder, LIGHTGCN_COLUMNS, config.format, watch):
            yield _checked(table, dict(zip(("user", "item"), LIGHTGCN_COLUMNS, strict=True)), {})
        return
    texts = {"user": config.user_column, "item": config.item_column}
    numbers = {"weight": config.weight_column, "time": config.time_column}
    given = {name: column for name, column in numbers.items() if column}
    wanted = [*texts.values(), *given.values()]
    for table in read_tables(source, folder, wanted, config.format, watch):
        yield _checked(table, texts, given)


def _checked(table: Table, texts: dict[str, str], numbers: dict[str, str]) -> pl.DataFrame:
    columns = {name: table.texts(column) for name, column in texts.items()}
    columns |= {name: table.numbers(column) for name, column in numbers.items()}
    return pl.DataFrame(columns)


def _number(config: DataConfig, name: str, batch: pl.DataFrame, ids: Ids) -> Interactions:
    if "weight" in batch.columns:
        if config.min_weight is not None:
            batch = batch.filter(pl.col("weight") >= config.min_weight)
        _refuse_weights(config, name, batch)
    weighted = "weight" in batch.columns
    return Interactions(
        user_rows=ids.users.number(batch["user"]),
        item_rows=ids.items.number(batch["item"]),
        weights=batch["weight"].to_numpy().astype(np.float32)
        if weighted
        else np.ones(batch.height, np.float32),
        times=batch["time"].to_numpy() if "time" in batch.columns else None,
    )


def _refuse_weights(config: DataConfig, name: str, batch: pl.DataFrame) -> None:
    bad = batch.filter(pl.col("weight") <= 0).head(1)
    if bad.height:
        user, item, weight = bad.select("user", "item", "weight").row(0)
        raise InvalidData(
            f"{name}, column {config.weight_column!r}: weight {weight:g} of user {user!r} and item "
            f"{item!r} is not positive; data.min_weight drops small ones"
        )


def _merge_duplicates(
    config: DataConfig, name: str, interactions: Interactions, ids: Ids
) -> Interactions:
    keys = ids.keys(interactions)
    order = order_by(keys)
    same = keys[order[1:]] == keys[order[:-1]]
    if not same.any():
        return interactions
    if config.duplicates == "error":
        twice = np.append(same, False) | np.insert(same, 0, False)
        raise InvalidData(
            f"{name}: {ids.pair(interactions, int(order[twice].min()))} stand twice, as do "
            f'{int(twice.sum()) - 1} more rows; set data.duplicates to "sum", "max" or "last" to '
            "merge them"
        )
    starts = np.flatnonzero(np.insert(~same, 0, True))
    weights = interactions.weights[order]
    if config.duplicates == "last":
        merged = weights[np.append(starts[1:], len(order)) - 1]
    elif config.duplicates == "max":
        merged = np.maximum.reduceat(weights, starts)
    else:
        merged = np.add.reduceat(weights.astype(np.float64), starts).astype(np.float32)
    firsts = order[starts]
    times = interactions.times
    latest = None if times is None else np.maximum.reduceat(times[order], starts)
    back = np.argsort(firsts)
    return Interactions(
        interactions.user_rows[firsts[back]],
        interactions.item_rows[firsts[back]],
        merged[back],
        None if latest is None else latest[back],
    )


def refuse_overlap(train: Interactions, test: Interactions, name: str, ids: Ids) -> None:
    """Raise InvalidData, which calls the test part `name`, for a pair that train has as well."""
    both = np.flatnonzero(np.isin(ids.keys(test), ids.keys(train)))
    if len(both):
        raise InvalidData(
            f"{name}: {ids.pair(test, int(both[0]))} are in the training part as well, as are "
            f"{len(both) - 1} more of its pairs"
        )
