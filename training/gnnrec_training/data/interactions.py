"""Rows of a table of interactions to Interactions: numbered batch by batch, then merged.

A batch of texts is replaced by numbers before the next one is read, so that memory holds 12 bytes
for each row, 20 with times, and no texts. E is a number of rows or of interactions.
"""

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gnnrec_registry.files.arrays import among
from gnnrec_training.config import DataConfig, Source
from gnnrec_training.data.dataset import Interactions
from gnnrec_training.data.ids import NO_ROW, NodeIds
from gnnrec_training.data.moments import TimeReader
from gnnrec_training.data.reading.lightgcn_pairs import PAIR_COLUMNS
from gnnrec_training.data.reading.progress import ReadProgress
from gnnrec_training.data.reading.sources import read_tables, source_name
from gnnrec_training.data.sorting import order_by
from gnnrec_training.data.summary import DataSummary
from gnnrec_training.data.tables.table import Table
from gnnrec_training.errors import InvalidData

_LARGEST_WEIGHT = float(np.finfo(np.float32).max)
_SMALLEST_WEIGHT = float(np.finfo(np.float32).smallest_subnormal)


@dataclass
class Ids:
    """The ids of users and items, shared by the training and test parts of a data set."""

    users: NodeIds = field(default_factory=NodeIds)
    items: NodeIds = field(default_factory=NodeIds)

    def pair_name(self, interactions: Interactions, position: int) -> str:
        """Return what errors call the user and item of the interaction at a position."""
        user = self.users.ids[int(interactions.user_rows[position])]
        item = self.items.ids[int(interactions.item_rows[position])]
        return f"user {user!r} and item {item!r}"

    def keys(self, interactions: Interactions) -> NDArray[np.int64]:
        """Return a number for each interaction (E,), the same for the same pair and no other."""
        users = interactions.user_rows.astype(np.int64)
        users *= len(self.items.ids)
        users += interactions.item_rows
        return users


def read_interactions(
    config: DataConfig,
    source: Source,
    folder: str,
    ids: Ids,
    time_reader: TimeReader | None,
    summary: DataSummary,
    progress: ReadProgress | None = None,
) -> Interactions:
    """Return the rows of a source, in their order, without those that have no user or item id.

    A pair of user and item may be in several rows. New ids get the next rows of `ids`; `summary`
    counts what is left out. Raises InvalidData for a bad row, and where more than half have no id.
    """
    # closed at once where a row is refused: a database connection must not wait for the garbage
    # collector
    with closing(_tables(config, source, folder, progress)) as tables:
        batches = [_number(config, table, ids, time_reader, summary) for table in tables]
    kept = sum(map(len, batches))
    lost = sum(summary.missing.values())
    if kept < lost:
        raise InvalidData(
            f"{source_name(source, folder)}: more than half of the rows have no id (the first: "
            f"{summary.missing_at}); see data.user_column and data.item_column"
        )
    return Interactions(
        np.concatenate([batch.user_rows for batch in batches]),
        np.concatenate([batch.item_rows for batch in batches]),
        np.concatenate([batch.weights for batch in batches]),
        np.concatenate([batch.times for batch in batches if batch.times is not None])
        if time_reader is not None
        else None,
    )


def _tables(
    config: DataConfig, source: Source, folder: str, progress: ReadProgress | None
) -> Generator[Table, None, None]:
    """Yield the batches; raises InvalidData for columns that LightGCN's format does not have."""
    optional = [column for column in (config.weight_column, config.time_column) if column]
    wanted = [config.user_column, config.item_column, *optional]
    for table in read_tables(source, folder, wanted, config, progress, exact=wanted):
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
    config: DataConfig, table: Table, ids: Ids, time_reader: TimeReader | None, summary: DataSummary
) -> Interactions:
    """Return the rows of a batch that have both ids, as numbers."""
    names = PAIR_COLUMNS if table.is_pairs else (config.user_column, config.item_column)
    for column in filter(None, (*names, config.weight_column, config.time_column)):
        table.column(column)  # name a missing column before any bad value
    summary.rows += table.rows.height
    users = ids.users.number(table, names[0])
    items = ids.items.number(table, names[1])
    has_both = (users != NO_ROW) & (items != NO_ROW)
    if not has_both.all():
        first = int(np.argmin(has_both))
        if not summary.missing:
            summary.missing_at = table.place(first)
        summary.missing[names[0]] += int((users == NO_ROW).sum())
        summary.missing[names[1]] += int(((items == NO_ROW) & (users != NO_ROW)).sum())
        table = table.where(has_both)
    weights = np.ones(table.rows.height, np.float32)
    if config.weight_column is not None and not table.is_pairs:
        weights = _weights(config, table)
    times = time_reader.read(table) if time_reader is not None and table.rows.height else None
    if time_reader is not None and times is None:
        times = np.empty(0)
    return Interactions(users[has_both], items[has_both], weights, times)


def _weights(config: DataConfig, table: Table) -> NDArray[np.float32]:
    """Return the weights of a batch (E,); raises InvalidData for one that is not usable.

    Usable is a number that float32 holds and, from min_weight on, a positive one.
    """
    assert config.weight_column is not None
    numbers = table.numbers(config.weight_column)
    sizes = numbers.abs()
    table.refuse(
        numbers, sizes > _LARGEST_WEIGHT,
        f"is beyond what a weight can be, {_LARGEST_WEIGHT:.3g}; divide this column",
    )  # fmt: skip
    table.refuse(
        numbers, (sizes > 0) & (sizes < _SMALLEST_WEIGHT),
        f"would be rounded to 0, since the least weight is {_SMALLEST_WEIGHT:.3g}; "
        "multiply this column",
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
    """Raise InvalidData if a pair is in both parts; `name` is what errors call the test part."""
    both = np.flatnonzero(among(ids.keys(test), ids.keys(train)))
    if len(both):
        raise InvalidData(
            f"{name}: {ids.pair_name(test, int(both[0]))} are in the training part as well, as are "
            f"{len(both) - 1} more of its pairs"
        )


def merge(
    config: DataConfig, rows: Interactions, ids: Ids, name: str, summary: DataSummary
) -> tuple[Interactions, Interactions]:
    """Return the interactions and the pairs below min_weight, both with each pair once.

    The rows of a pair become one as data.duplicates says. "last" takes the last row, by time and
    then by position, and asks of that one whether it is an interaction: an item disliked later is
    none. "sum" and "max" merge the rows from min_weight on, and a pair is below min_weight if it
    has none of these. Pairs keep the order of their last rows. `summary` counts; `name` is what
    errors call the part.
    """
    low = np.zeros(len(rows), bool)
    if config.min_weight is not None:
        low = rows.weights < np.float32(config.min_weight)
    summary.low_are_seen = config.low_weights == "seen"
    if config.duplicates == "last":
        order, is_first = _by_pair(rows, ids)
        _count_repeats(config, rows, ids, name, summary, order, is_first)
        lasts = np.sort(order[np.append(np.flatnonzero(is_first)[1:], len(order)) - 1])
        merged, disliked = rows.take(lasts), low[lasts]
        summary.low += int(disliked.sum())
        return merged.take(~disliked), merged.take(disliked)
    summary.low += int(low.sum())
    interactions = _merge_liked(config, rows.take(~low) if low.any() else rows, ids, name, summary)
    if not low.any():
        return interactions, rows.take(low)
    below = rows.take(low)
    never_liked = below.take(~among(ids.keys(below), ids.keys(interactions)))
    _, first_of_pair = np.unique(ids.keys(never_liked), return_index=True)
    return interactions, never_liked.take(np.sort(first_of_pair))


def _merge_liked(
    config: DataConfig, rows: Interactions, ids: Ids, name: str, summary: DataSummary
) -> Interactions:
    """Return rows that are all interactions with each pair once, by "sum" or "max"."""
    order, is_first = _by_pair(rows, ids)
    if is_first.all():
        return rows
    _count_repeats(config, rows, ids, name, summary, order, is_first)
    starts = np.flatnonzero(is_first)
    lasts = order[np.append(starts[1:], len(order)) - 1]
    weights = rows.weights[order]
    if config.duplicates == "max":
        merged = np.maximum.reduceat(weights, starts)
    else:
        sums = np.add.reduceat(weights.astype(np.float64), starts)
        if sums.max() > _LARGEST_WEIGHT:
            pair = ids.pair_name(rows, int(lasts[np.argmax(sums)]))
            raise InvalidData(
                f"{name}: the weights of {pair} add up to "
                f"{sums.max():.3g}, beyond what a weight can be, {_LARGEST_WEIGHT:.3g}"
            )
        merged = sums.astype(np.float32)
    back = np.argsort(lasts)
    return Interactions(
        rows.user_rows[lasts[back]],
        rows.item_rows[lasts[back]],
        merged[back],
        None if rows.times is None else rows.times[lasts[back]],
    )


def _by_pair(rows: Interactions, ids: Ids) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return positions (E,) by pair, time and position, and which of them begin a pair (E,)."""
    keys = ids.keys(rows)
    order = order_by(keys) if rows.times is None else order_by(keys, rows.times)
    keys = keys[order]
    return order, np.insert(keys[1:] != keys[:-1], 0, True)[: len(keys)]


_MERGED_BY = {
    "sum": "their weights added up",
    "max": "the largest weight",
    "last": "the last row",
}


def _count_repeats(
    config: DataConfig,
    rows: Interactions,
    ids: Ids,
    name: str,
    summary: DataSummary,
    order: NDArray[np.int64],
    is_first: NDArray[np.bool_],
) -> None:
    """Count the rows beyond the first of each pair; raises InvalidData if duplicates are errors."""
    repeats = int((~is_first).sum())
    if repeats and config.duplicates == "error":
        first = int(order[np.flatnonzero(~is_first)].min())
        raise InvalidData(
            f"{name}: {ids.pair_name(rows, first)} stand twice; {repeats} rows repeat a pair; set "
            'data.duplicates to "sum", "max" or "last" to merge them'
        )
    summary.repeats += repeats
    summary.merged = _MERGED_BY.get(config.duplicates, "")
