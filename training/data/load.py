"""From a configuration to a split data set."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from training.config import Config
from training.config_data import data_folder
from training.data import split
from training.data.dataset import Dataset, Rows, join, restrict_to_catalogue
from training.data.encodings import describe
from training.data.ids import Numbering
from training.data.interactions import Ids, read_interactions, refuse_overlap
from training.data.nodes import NodeTable, read_nodes
from training.data.readers import describe as describe_source
from training.data.watch import Watch
from training.reporter import Reporter, Silent


def load_dataset(config: Config, beside: Path, reporter: Reporter | None = None) -> Dataset:
    """Read, check, number and split the data set of a configuration.

    `beside`: the folder that the configuration's relative paths start from.
    """
    reporter = reporter or Silent()
    data, ids = config.data, Ids()
    folder = data_folder(data, beside)
    watch = Watch(reporter, "interactions")
    interactions = read_interactions(data, data.interactions, folder, ids, watch)
    given = None
    if data.test is not None:
        watch = Watch(reporter, "the test part")
        test = read_interactions(data, data.test, folder, ids, watch)
        refuse_overlap(interactions, test, describe_source(data.test, folder), ids)
        given = np.arange(len(interactions) + len(test)) >= len(interactions)
        interactions = join(interactions, test)
    users = None if data.users is None else read_nodes(data.users, folder, reporter)
    items = None if data.items is None else read_nodes(data.items, folder, reporter)
    reporter.start("splitting", 1)
    user_table, item_table = _added(ids.users, users), _added(ids.items, items)
    generator = np.random.default_rng([config.seed, _SPLIT_STREAM])
    parts = split.split(interactions, config.split, given, generator)
    dataset = restrict_to_catalogue(
        Dataset(config.name, ids.users.ids.to_list(), ids.items.ids.to_list(), *parts),
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


def _added(ids: Numbering, table: NodeTable | None) -> Rows:
    """Number the nodes that a table adds, and return their rows."""
    if table is None or not table.features:
        return np.empty(0, np.int32)
    return ids.number(pl.Series("id", table.ids, pl.String))
