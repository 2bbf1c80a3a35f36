"""Interactions from a source to numbers, a batch at a time: memory holds rows, not texts."""

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gnnrec_training.config_data import DataConfig
from gnnrec_training.config_sources import Source
from gnnrec_training.data.account import Account
from gnnrec_training.data.dataset import Interactions
from gnnrec_training.data.files import LIGHTGCN_COLUMNS
from gnnrec_training.data.ids import NO_ROW, Side
from gnnrec_training.data.moments import Clock
from gnnrec_training.data.readers import describe, read_tables
from gnnrec_training.data.sorting import order_by
from gnnrec_training.data.tables import Table
from gnnrec_training.data.watch import Watch
from gnnrec_training.errors import InvalidData

_LARGEST = float(np.finfo(np.float32).max)
_SMALLEST = float(np.finfo(np.float32).smallest_subnormal)


@dataclass
class Ids:
    """The rows of users and items, shared by the parts of a data set."""

    users: Side = field(default_factory=Side)
    items: Side = field(default_factory=Side)

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
    config: DataConfig,
    source: Source,
    folder: str,
    ids: Ids,
    clock: Clock | None,
    account: Account,
    watch: Watch | None = None,
) -> Interactions:
    """Return the rows of a source, in its order, without those whose ids are missing.

    New ids are numbered; a pair may stand several times. `account` hears what is left out.
    """
    # closed at once where a row is refused: a database is not left to the collector of garbage
    with closing(_tables(config, source, folder, watch)) as tables:
        batches = [_number(config, table, ids, clock, account) for table in tables]
    kept = sum(map(len, batches))
    lost = sum(account.missing.values())
    if kept < lost:
        raise InvalidData(
            f"{describe(source, folder)}: more than half of the rows have no id (the first: "
            f"{account.missing_at}); see data.user_column and data.item_column"
        )
    return Interactions(
        np.concatenate([batch.user_rows for batch in batches]),
        np.concatenate([batch.item_rows for batch in batches]),
        np.concatenate([batch.weights for batch in batches]),
        np.concatenate([batch.times for batch in batches if batch.times is not None])
        if clock is not None
        else None,
    )


def _tables(
    config: DataConfig, source: Source, folder: str, watch: Watch | None
) -> Generator[Table, None, None]:
    optional = [column for column in (config.weight_column, config.time_column) if column]
    wanted = [config.user_column, config.item_column, *optional]
    for table in read_tables(source, folder, wanted, config, watch, exact=wanted):
        if table.is_pairs:
            named = [key for key in _COLUMN_KEYS if key in config.model_fields_set]
            if named:
                raise InvalidData(
                    f"{table.name} is in LightGCN's format, `user item item ...`, which has no "
                    f"columns; data.{named[0]} names one; for a table set data.separator"
                )
        yield table


_COLUMN_KEYS = ("user_column", "item_column", "weight_column", "time_column")


def _number(
    config: DataConfig, table: Table, ids: Ids, clock: Clock | None, account: Account
) -> Interactions:
    names = LIGHTGCN_COLUMNS if table.is_pairs else (config.user_column, config.item_column)
    for column in filter(None, (*names, config.weight_column, config.time_column)):
        table.column(column)  # all of them are there, whatever stands in the first
    account.rows += table.rows.height
    users = ids.users.number(table, names[0])
    items = ids.items.number(table, names[1])
    there = (users != NO_ROW) & (items != NO_ROW)
    if not there.all():
        first = int(np.argmin(there))
        if not account.missing:
            account.missing_at = table.place(first)
        account.missing[names[0]] += int((users == NO_ROW).sum())
        account.missing[names[1]] += int(((items == NO_ROW) & (users != NO_ROW)).sum())
        table = table.where(there)
    weights = np.ones(table.rows.height, np.float32)
    if config.weight_column is not None and not table.is_pairs:
        weights = _weights(config, table)
    times = clock.read(table) if clock is not None and table.rows.height else None
    if clock is not None and times is None:
        times = np.empty(0)
    return Interactions(users[there], items[there], weights, times)


def _weights(config: DataConfig, table: Table) -> NDArray[np.float32]:
    """Return the weights of a batch, as they are needed: those below min_weight may be anything."""
    assert config.weight_column is not None
    numbers = table.numbers(config.weight_column)
    sizes = numbers.abs()
    table.refuse(
        numbers, sizes > _LARGEST,
        f"is beyond what a weight can be, {_LARGEST:.3g}; divide this column",
    )  # fmt: skip
    table.refuse(
        numbers, (sizes > 0) & (sizes < _SMALLEST),
        f"would be rounded to 0, since the least weight is {_SMALLEST:.3g}; multiply this column",
    )  # fmt: skip
    if config.min_weight is None or config.min_weight <= 0:
        bad = numbers <= 0
        if config.min_weight is not None:
            bad &= numbers >= config.min_weight
        table.refuse(
            numbers, bad,
            "is not positive; data.min_weight says from which weight on a row is an interaction",
        )  # fmt: skip
    weights: NDArray[np.float32] = numbers.to_numpy().astype(np.float32)
    return weights


def refuse_overlap(train: Interactions, test: Interactions, name: str, ids: Ids) -> None:
    """Raise InvalidData, which calls the test part `name`, for a pair that train has as well."""
    both = np.flatnonzero(np.isin(ids.keys(test), ids.keys(train)))
    if len(both):
        raise InvalidData(
            f"{name}: {ids.pair(test, int(both[0]))} are in the training part as well, as are "
            f"{len(both) - 1} more of its pairs"
        )


def merge(
    config: DataConfig, rows: Interactions, ids: Ids, name: str, account: Account
) -> tuple[Interactions, Interactions]:
    """Return the interactions of rows, no pair twice, and the pairs that are seen and no more.

    Interactions are rows of min_weight and more. Of a pair with several rows, "sum" and "max" take
    those that are, and "last" takes the last row: by time where there are times, then by order; so
    what is disliked later is no interaction any more. A pair stands where its last row stood.
    """
    low = np.zeros(len(rows), bool)
    if config.min_weight is not None:
        low = rows.weights < np.float32(config.min_weight)
    account.low_are_seen = config.low_weights == "seen"
    if config.duplicates == "last":
        order, is_first = _in_order(rows, ids)
        _say_repeats(config, rows, ids, name, account, order, is_first)
        lasts = np.sort(order[np.append(np.flatnonzero(is_first)[1:], len(order)) - 1])
        merged, disliked = rows.take(lasts), low[lasts]
        account.low += int(disliked.sum())
        return merged.take(~disliked), merged.take(disliked)
    account.low += int(low.sum())
    interactions = _merge_liked(config, rows.take(~low) if low.any() else rows, ids, name, account)
    if not low.any():
        return interactions, rows.take(low)
    below = rows.take(low)
    only = below.take(~np.isin(ids.keys(below), ids.keys(interactions)))
    _, once = np.unique(ids.keys(only), return_index=True)
    return interactions, only.take(np.sort(once))


def _merge_liked(
    config: DataConfig, rows: Interactions, ids: Ids, name: str, account: Account
) -> Interactions:
    order, is_first = _in_order(rows, ids)
    if is_first.all():
        return rows
    _say_repeats(config, rows, ids, name, account, order, is_first)
    starts = np.flatnonzero(is_first)
    lasts = order[np.append(starts[1:], len(order)) - 1]
    weights = rows.weights[order]
    if config.duplicates == "max":
        merged = np.maximum.reduceat(weights, starts)
    else:
        sums = np.add.reduceat(weights.astype(np.float64), starts)
        if sums.max() > _LARGEST:
            raise InvalidData(
                f"{name}: the weights of {ids.pair(rows, int(lasts[np.argmax(sums)]))} add up to "
                f"{sums.max():.3g}, beyond what a weight can be, {_LARGEST:.3g}"
            )
        merged = sums.astype(np.float32)
    back = np.argsort(lasts)
    return Interactions(
        rows.user_rows[lasts[back]],
        rows.item_rows[lasts[back]],
        merged[back],
        None if rows.times is None else rows.times[lasts[back]],
    )


def _in_order(rows: Interactions, ids: Ids) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the order by pair, time and row, and which in it are the first of their pair."""
    keys = ids.keys(rows)
    order = order_by(keys) if rows.times is None else order_by(keys, rows.times)
    keys = keys[order]
    return order, np.insert(keys[1:] != keys[:-1], 0, True)[: len(keys)]


_MERGED = {
    "sum": "their weights added up",
    "max": "the largest weight",
    "last": "the last row",
}


def _say_repeats(
    config: DataConfig,
    rows: Interactions,
    ids: Ids,
    name: str,
    account: Account,
    order: NDArray[np.int64],
    is_first: NDArray[np.bool_],
) -> None:
    """Count the rows of pairs that stood before, or raise InvalidData where that is an error."""
    repeats = int((~is_first).sum())
    if repeats and config.duplicates == "error":
        first = int(order[np.flatnonzero(~is_first)].min())
        raise InvalidData(
            f"{name}: {ids.pair(rows, first)} stand twice; {repeats} rows repeat a pair; set "
            'data.duplicates to "sum", "max" or "last" to merge them'
        )
    account.repeats += repeats
    account.merged = _MERGED.get(config.duplicates, "")
