"""From a configuration to a split data set."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from gnnrec_registry.arrays import distinct
from gnnrec_training import seeds
from gnnrec_training.config import Config
from gnnrec_training.config_data import DataConfig, data_folder
from gnnrec_training.data import split
from gnnrec_training.data.account import Account
from gnnrec_training.data.dataset import (
    Dataset,
    Interactions,
    Rows,
    join,
    nothing,
    restrict_to_catalogue,
)
from gnnrec_training.data.encodings import describe
from gnnrec_training.data.ids import Side
from gnnrec_training.data.interactions import Ids, merge, read_interactions, refuse_overlap
from gnnrec_training.data.moments import Clock
from gnnrec_training.data.nodes import NodeTable, read_nodes
from gnnrec_training.data.readers import describe as describe_source
from gnnrec_training.data.watch import Watch
from gnnrec_training.errors import InvalidData
from gnnrec_training.reporter import Reporter, Silent


def load_dataset(config: Config, beside: Path, reporter: Reporter | None = None) -> Dataset:
    """Read, check, number and split the data set of a configuration.

    `beside`: the folder that the configuration's relative paths start from.
    """
    reporter = reporter or Silent()
    data, account = config.data, Account()
    ids = Ids(*(Side(data.missing_ids, numbers=data.ids == "auto") for _ in range(2)))
    folder = data_folder(data, beside)
    clock = None if data.time_column is None else Clock(data.time_column, data.time_format)
    sources = [(data.interactions, "interactions")]
    if data.test is not None:
        sources.append((data.test, "the test part"))
    rows = [
        read_interactions(data, source, folder, ids, clock, account, Watch(reporter, what))
        for source, what in sources
    ]
    users = None if data.users is None else read_nodes(data.users, data, folder, reporter)
    items = None if data.items is None else read_nodes(data.items, data, folder, reporter)
    reporter.start("splitting", 1)
    rows, users, items = _settled(rows, ids, users, items, account)
    parts, low = [], []
    for part, (source, _) in zip(rows, sources, strict=True):
        interactions, below = merge(data, part, ids, describe_source(source, folder), account)
        parts.append(interactions)
        low.append(below)
    given, interactions = None, parts[0]
    if len(parts) > 1:
        refuse_overlap(parts[0], parts[1], describe_source(sources[1][0], folder), ids)
        given = np.arange(len(parts[0]) + len(parts[1])) >= len(parts[0])
        interactions = join(parts[0], parts[1])
    _check_times(config, clock)
    _tell(account, interactions, low, clock, data)
    user_table, item_table = _added(ids.users, users), _added(ids.items, items)
    generator = np.random.default_rng([config.seed, seeds.SPLIT])
    split_parts = split.split(interactions, config.split, given, generator)
    names = ids.users.ids.to_list(), ids.items.ids.to_list()
    seen_only = _seen_only(data, low, interactions, ids)
    account.seen_only = len(seen_only)
    dataset = restrict_to_catalogue(
        Dataset(config.name, *names, *split_parts, seen_only, account=account),
        user_table,
        item_table,
    )
    if items is not None:
        dataset = replace(
            dataset,
            item_titles=items.titles_of(dataset.item_ids),
            item_attributes=items.attributes_of(dataset.item_ids),
        )
    for line in account.lines():
        reporter.tell(line)
    for warning in account.warnings:
        reporter.tell(f"warning: {warning}")
    return describe(dataset, users, items)


def _settled(
    rows: list[Interactions],
    ids: Ids,
    users: NodeTable | None,
    items: NodeTable | None,
    account: Account,
) -> tuple[list[Interactions], NodeTable | None, NodeTable | None]:
    """Make one id of what was written as 3.0 here and as 3 there, and say what tables know."""
    new_rows = {}
    tables = {"users": users, "items": items}
    for name, side in (("users", ids.users), ("items", ids.items)):
        table = tables[name]
        others = [] if table is None else [pl.Series(table.ids, dtype=pl.String)]
        met = len(side.ids)
        new_rows[name] = side.settle(others)
        if side.settled and table is not None:
            table = tables[name] = table.with_whole_ids()
        joined = side.written - len(side.ids)
        if joined > 0:
            account.joined_ids[name] = joined
        if table is not None:
            _tell_known(account, name, side.ids.to_list(), table)
        assert met >= len(side.ids)
    return (
        [
            replace(
                part,
                user_rows=new_rows["users"][part.user_rows],
                item_rows=new_rows["items"][part.item_rows],
            )
            for part in rows
        ],
        tables["users"],
        tables["items"],
    )


_FEW = 0.5


def _tell_known(account: Account, side: str, ids: list[str], table: NodeTable) -> None:
    """Say how many of those with interactions a table knows, loudly where they are few."""
    there = set(table.ids)
    unknown = [each for each in ids if each not in there]
    account.known[side] = (len(ids) - len(unknown), len(ids))
    if len(unknown) > _FEW * len(ids):
        met = set(ids)
        lonely = [each for each in table.ids if each not in met]
        account.warnings.append(
            f"{table.name} knows {'none' if len(unknown) == len(ids) else 'few'} of the {side} "
            f"with interactions: it has {_some(lonely or table.ids)}, interactions have "
            f"{_some(unknown)}; see id_column in [data.{side}]"
        )


def _some(ids: list[str]) -> str:
    return ", ".join(map(repr, ids[:3])) + (", ..." if len(ids) > 3 else "")


def _check_times(config: Config, clock: Clock | None) -> None:
    if clock is not None and clock.unit == "order" and config.graph.half_life_days is not None:
        raise InvalidData(
            f"column {clock.column!r} cannot be of moments: its numbers are too small for Unix "
            "time; graph.half_life_days needs Unix time, or moments as ISO 8601"
        )


def _tell(
    account: Account,
    interactions: Interactions,
    low: list[Interactions],
    clock: Clock | None,
    data: DataConfig,
) -> None:
    account.interactions = len(interactions)
    account.users = len(distinct(interactions.user_rows))
    account.items = len(distinct(interactions.item_rows))
    if data.weight_column is not None and len(interactions):
        account.weights = float(interactions.weights.min()), float(interactions.weights.max())
    if clock is not None and clock.unit is not None and interactions.times is not None:
        account.unit, account.zoneless = clock.unit, clock.zoneless
        if clock.unit != "order" and len(interactions):
            account.first_at = float(interactions.times.min())
            account.last_at = float(interactions.times.max())
    lost = sum(account.missing.values())
    if lost:
        columns = ", ".join(
            f"{name!r} {count:,}" for name, count in account.missing.items() if count
        )
        account.warnings.append(
            f"{lost:,} of {account.rows:,} rows are left out, for an id is missing ({columns}; the "
            f'first: {account.missing_at}); data.missing_ids = "error" refuses them, "keep" takes '
            "texts such as nan for ids"
        )


def _seen_only(
    data: DataConfig, low: list[Interactions], interactions: Interactions, ids: Ids
) -> Interactions:
    """Return each pair once that is below data.min_weight and no interaction of any part."""
    if data.low_weights == "drop" or not any(map(len, low)):
        return nothing()
    below = low[0] if len(low) == 1 else join(*low)
    keys = ids.keys(below)
    _, once = np.unique(keys, return_index=True)
    once = np.sort(once)
    return below.take(once[~np.isin(keys[once], ids.keys(interactions))])


def _added(side: Side, table: NodeTable | None) -> Rows:
    """Number the nodes that a table adds, and return their rows."""
    if table is None or not table.features:
        return np.empty(0, np.int32)
    return side.add(table.ids)
