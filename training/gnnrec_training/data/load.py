"""From a configuration to a split data set: the path of every interaction row.

1. Read the tables: interactions, their test part, and the tables about users and items. Ids become
   rows, times become Unix seconds, and rows without an id are left out.
2. Settle ids: where all ids are numbers, 3.0 and 3 become one.
3. Merge: each pair of user and item becomes one interaction, or none if its weight is low.
4. Split into train, validation and test.
5. Number again, so that those of train come first, and leave out what no model can learn.
6. Attach titles, attributes and encoded features, and report what was read.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gnnrec_registry import Version
from gnnrec_registry.files.arrays import among, distinct
from gnnrec_training import seeds
from gnnrec_training.config import Config, DataConfig, data_folder
from gnnrec_training.data.dataset import (
    Dataset,
    Interactions,
    Rows,
    concatenate,
    no_interactions,
    restrict_to_catalogue,
)
from gnnrec_training.data.encodings import add_features
from gnnrec_training.data.ids import NodeIds
from gnnrec_training.data.interactions import Ids, merge, read_interactions, refuse_overlap
from gnnrec_training.data.moments import TimeReader
from gnnrec_training.data.news import Known, hold_out_news
from gnnrec_training.data.node_tables import NodeTable, read_node_table
from gnnrec_training.data.reading.progress import ReadProgress
from gnnrec_training.data.reading.sources import source_name
from gnnrec_training.data.split import Parts, foreseen, is_by_moment, split
from gnnrec_training.data.summary import DataSummary
from gnnrec_training.errors import InvalidData
from gnnrec_training.reporter import Reporter, Silent

_FEW_USERS = 100
"""A validation part of fewer users is worth a warning."""
_FEW = 0.5
"""A table that knows less than this share of the users or items is worth a warning."""


@dataclass
class _Tables:
    """What was read: rows of interactions, and the tables about users and items."""

    ids: Ids
    time_reader: TimeReader | None
    parts: list[Interactions]
    """The rows of data.interactions, then those of data.test if it is set."""
    part_names: list[str]
    """What errors call these parts."""
    users: NodeTable | None
    items: NodeTable | None


def load_dataset(config: Config, beside: Path, reporter: Reporter | None = None) -> Dataset:
    """Read, check, number and split the data set of a configuration.

    `beside`: the folder that the configuration's relative paths start from. Raises InvalidData for
    data that cannot be read as configured.
    """
    return read_data(config, beside, reporter).split()


def read_data(config: Config, beside: Path, reporter: Reporter | None = None) -> "Data":
    """Read, check and number the data set of a configuration: steps 1 to 3.

    `beside` and errors are those of load_dataset.
    """
    reporter = reporter or Silent()
    summary = DataSummary()
    tables = _read(config.data, data_folder(config.data, beside), reporter, summary)
    reporter.start("splitting", 1)
    _settle_ids(tables, summary)
    interactions, is_test, low = _merge(config.data, tables, summary)
    _check_times(config, tables.time_reader)
    _describe_interactions(summary, interactions, tables.time_reader, config.data)
    _warn_of_missing_ids(summary)
    seen_only = _seen_only(config.data, low, interactions, tables.ids)
    summary.seen_only = len(seen_only)
    # nodes that tables alone know get their rows here, whatever part is asked for
    in_tables = (
        _rows_of_table(tables.ids.users, tables.users),
        _rows_of_table(tables.ids.items, tables.items),
    )
    return Data(config, tables, interactions, is_test, seen_only, in_tables, summary, reporter)


@dataclass(frozen=True)
class Data:
    """What was read of a data set, to be split into parts or taken as a whole."""

    config: Config
    tables: _Tables
    interactions: Interactions
    is_test: NDArray[np.bool_] | None
    """(E,): which interactions are of the given test part; None without one."""
    seen_only: Interactions
    """Pairs below data.min_weight."""
    in_tables: tuple[Rows, Rows]
    """The rows of users, and of items, that tables with features have."""
    summary: DataSummary
    reporter: Reporter

    def split(self, start: Version | None = None) -> Dataset:
        """Return train, validation and test parts, and say what was read: steps 4 to 6.

        start: a version whose embeddings training starts from; what it knew is not held out
        """
        parts = self._parts()
        if self.config.split.method == "time" and not is_by_moment(parts):
            self.reporter.tell(
                "split by time: hardly anyone came again just before the test part, so the "
                "validation part is the latest of each person's interactions before it"
            )
        if start is not None:
            parts = self._news(parts, start)
        _warn_of_few_users(parts[1], self.summary)
        for line in self.summary.lines():
            self.reporter.tell(line)
        for warning in self.summary.warnings:
            self.reporter.tell(f"warning: {warning}")
        return self._numbered(*parts)

    def before_test(self) -> Dataset:
        """Return the same test part, and all before it as one training part: steps 4 to 6."""
        train, validation, test = self._parts()
        return self._numbered(concatenate(train, validation), no_interactions(), test)

    def _news(self, parts: Parts, start: Version) -> Parts:
        """Hold out only what a version did not know, and say how much that is."""
        ids = self.tables.ids
        known = Known(start, ids.users.ids.to_list(), ids.items.ids.to_list())
        news = hold_out_news(parts, known, self.config.split)
        held_out, new = (sum(map(len, some[1:])) for some in (parts, news))
        self.reporter.tell(
            f"{start.name} knew {held_out - new:,} of {held_out:,} interactions to be held out; "
            f"these are trained on, and {len(news[1]):,} new ones are for validation and "
            f"{len(news[2]):,} for the test"
        )
        return news

    def whole(self) -> Dataset:
        """Return all interactions as one training part: steps 5 and 6."""
        return self._numbered(self.interactions, no_interactions(), no_interactions())

    def _parts(self) -> Parts:
        generator = np.random.default_rng([self.config.seed, seeds.SPLIT])
        return split(
            self.interactions, self.config.split, self.is_test, generator, self.in_tables[0]
        )

    def _numbered(
        self, train: Interactions, validation: Interactions, test: Interactions
    ) -> Dataset:
        """Number users and items for the models, and attach titles, attributes and features."""
        later = foreseen(self.seen_only, (train, validation, test), self.config.split)
        ids, items = self.tables.ids, self.tables.items
        dataset = Dataset(
            self.config.name,
            ids.users.ids.to_list(),
            ids.items.ids.to_list(),
            train,
            validation,
            test,
            self.seen_only.take(~later),
            self.seen_only.take(later),
            summary=self.summary,
        )
        dataset = restrict_to_catalogue(dataset, *self.in_tables)
        if items is not None:
            dataset = replace(
                dataset,
                item_titles=items.titles_of(dataset.item_ids),
                item_attributes=items.attributes_of(dataset.item_ids),
            )
        return add_features(dataset, self.tables.users, items)


def _read(data: DataConfig, folder: str, reporter: Reporter, summary: DataSummary) -> _Tables:
    """Read all tables: step 1."""
    ids = Ids(*(NodeIds(data.missing_ids, numbers=data.ids == "auto") for _ in range(2)))
    time_reader = None
    if data.time_column is not None:
        time_reader = TimeReader(data.time_column, data.time_format)
    sources = [(data.interactions, "interactions")]
    if data.test is not None:
        sources.append((data.test, "the test part"))
    parts = [
        read_interactions(
            data, source, folder, ids, time_reader, summary, ReadProgress(reporter, what)
        )
        for source, what in sources
    ]
    return _Tables(
        ids,
        time_reader,
        parts,
        [source_name(source, folder) for source, _ in sources],
        None if data.users is None else read_node_table(data.users, data, folder, reporter),
        None if data.items is None else read_node_table(data.items, data, folder, reporter),
    )


def _settle_ids(tables: _Tables, summary: DataSummary) -> None:
    """Make one id of 3.0 and 3, and compare ids with the tables about users and items: step 2."""
    user_rows, tables.users = _settled("users", tables.ids.users, tables.users, summary)
    item_rows, tables.items = _settled("items", tables.ids.items, tables.items, summary)
    tables.parts = [
        replace(part, user_rows=user_rows[part.user_rows], item_rows=item_rows[part.item_rows])
        for part in tables.parts
    ]


def _settled(
    side: str, ids: NodeIds, table: NodeTable | None, summary: DataSummary
) -> tuple[Rows, NodeTable | None]:
    """Settle the ids of `side`, "users" or "items".

    Returns the new row of each old row, and the table with the same ids as the interactions.
    """
    new_rows = ids.settle([] if table is None else [pl.Series(table.ids, dtype=pl.String)])
    if ids.settled and table is not None:
        table = table.with_whole_ids()
    joined = ids.written - len(ids.ids)
    if joined > 0:
        summary.joined_ids[side] = joined
    if table is not None:
        _compare_with_table(summary, side, ids.ids.to_list(), table)
    return new_rows, table


def _compare_with_table(summary: DataSummary, side: str, ids: list[str], table: NodeTable) -> None:
    """Count how many of the ids with interactions a table has; warn where they are few."""
    in_table = set(table.ids)
    unknown = [node for node in ids if node not in in_table]
    summary.known[side] = (len(ids) - len(unknown), len(ids))
    if len(unknown) > _FEW * len(ids):
        with_interactions = set(ids)
        without = [node for node in table.ids if node not in with_interactions]
        summary.warnings.append(
            f"{table.name} knows {'none' if len(unknown) == len(ids) else 'few'} of the {side} "
            f"with interactions: it has {_examples(without or table.ids)}, interactions have "
            f"{_examples(unknown)}; see id_column in [data.{side}]"
        )


def _examples(ids: list[str]) -> str:
    return ", ".join(map(repr, ids[:3])) + (", ..." if len(ids) > 3 else "")


def _merge(
    data: DataConfig, tables: _Tables, summary: DataSummary
) -> tuple[Interactions, NDArray[np.bool_] | None, list[Interactions]]:
    """Make one interaction of each pair: step 3.

    Returns all interactions; which of them are the given test part (E,), None without one; and the
    pairs below min_weight of each part.
    """
    merged = [
        merge(data, part, tables.ids, name, summary)
        for part, name in zip(tables.parts, tables.part_names, strict=True)
    ]
    low = [below for _, below in merged]
    if len(merged) == 1:
        return merged[0][0], None, low
    (train, _), (test, _) = merged
    refuse_overlap(train, test, tables.part_names[1], tables.ids)
    return concatenate(train, test), np.arange(len(train) + len(test)) >= len(train), low


def _check_times(config: Config, time_reader: TimeReader | None) -> None:
    """Raise InvalidData if edges are to lose weight by age and times only give an order."""
    decays = config.graph.half_life_days is not None
    if time_reader is not None and time_reader.unit == "order" and decays:
        raise InvalidData(
            f"column {time_reader.column!r} cannot be of moments: its numbers are too small for "
            "Unix time; graph.half_life_days needs Unix time, or moments as ISO 8601"
        )


def _describe_interactions(
    summary: DataSummary,
    interactions: Interactions,
    time_reader: TimeReader | None,
    data: DataConfig,
) -> None:
    """Fill in what the summary says of the interactions."""
    summary.interactions = len(interactions)
    summary.users = len(distinct(interactions.user_rows))
    summary.items = len(distinct(interactions.item_rows))
    if data.weight_column is not None and len(interactions):
        summary.weights = float(interactions.weights.min()), float(interactions.weights.max())
    if time_reader is None or time_reader.unit is None or interactions.times is None:
        return
    summary.unit, summary.zoneless = time_reader.unit, time_reader.zoneless
    if time_reader.unit != "order" and len(interactions):
        summary.first_at = float(interactions.times.min())
        summary.last_at = float(interactions.times.max())


def _warn_of_missing_ids(summary: DataSummary) -> None:
    lost = sum(summary.missing.values())
    if lost:
        columns = ", ".join(
            f"{name!r} {count:,}" for name, count in summary.missing.items() if count
        )
        summary.warnings.append(
            f"{lost:,} of {summary.rows:,} rows are left out, for an id is missing ({columns}; the "
            f'first: {summary.missing_at}); data.missing_ids = "error" refuses them, "keep" takes '
            "texts such as nan for ids"
        )


def _warn_of_few_users(validation: Interactions, summary: DataSummary) -> None:
    users = len(distinct(validation.user_rows))
    if 0 < users < _FEW_USERS:
        summary.warnings.append(
            f"the validation part has {users} {'user' if users == 1 else 'users'}: differences "
            "between models that are measured on it are uncertain"
        )


def _rows_of_table(ids: NodeIds, table: NodeTable | None) -> Rows:
    """Return the rows of the nodes in a table with features (N,), empty for one without.

    Nodes that have no interactions get the next rows.
    """
    if table is None or not table.features:
        return np.empty(0, np.int32)
    return ids.add(table.ids)


def _seen_only(
    data: DataConfig, low: list[Interactions], interactions: Interactions, ids: Ids
) -> Interactions:
    """Return each pair once that is below data.min_weight and not an interaction of any part."""
    if data.low_weights == "drop" or not any(map(len, low)):
        return no_interactions()
    below = low[0] if len(low) == 1 else concatenate(*low)
    keys = ids.keys(below)
    _, first_of_pair = np.unique(keys, return_index=True)
    first_of_pair = np.sort(first_of_pair)
    return below.take(first_of_pair[~among(keys[first_of_pair], ids.keys(interactions))])
