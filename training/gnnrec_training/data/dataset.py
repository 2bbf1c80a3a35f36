"""A data set in memory: the ids of users and items, and the interactions of each part of a split.

A user or item is known by its row, the position of its id. E is a number of interactions.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from gnnrec_registry import FeaturesExport, ItemAttribute
from gnnrec_registry.files.arrays import distinct
from gnnrec_registry.files.json import canonical_json
from gnnrec_training.config.defaults import Figures
from gnnrec_training.data.summary import DataSummary
from gnnrec_training.errors import InvalidData

Rows = NDArray[np.int32]
"""Rows of users or of items."""


@dataclass(frozen=True)
class Interactions:
    """Interactions as parallel arrays (E,).

    After merging, each pair of user and item is there once at most.
    """

    user_rows: Rows
    item_rows: Rows
    weights: NDArray[np.float32]
    """All 1 where the data has no weights."""
    times: NDArray[np.float64] | None = None
    """Unix seconds, or numbers that only give an order; None where the data has no times."""

    def __len__(self) -> int:
        return len(self.user_rows)

    def take(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> "Interactions":
        """Return the interactions that a mask (E,) or an array of positions selects."""
        return Interactions(
            self.user_rows[which],
            self.item_rows[which],
            self.weights[which],
            None if self.times is None else self.times[which],
        )


def no_interactions() -> Interactions:
    """Return an empty set of interactions, without times."""
    rows = np.empty(0, np.int32)
    return Interactions(rows, rows, np.empty(0, np.float32))


def concatenate(first: Interactions, second: Interactions) -> Interactions:
    """Return the first interactions followed by the second; with times if both have them."""
    both_timed = first.times is not None and second.times is not None
    return Interactions(
        np.concatenate([first.user_rows, second.user_rows]),
        np.concatenate([first.item_rows, second.item_rows]),
        np.concatenate([first.weights, second.weights]),
        np.concatenate([first.times, second.times]) if both_timed else None,
    )


@dataclass(frozen=True)
class Dataset:
    """A split data set.

    The first ids are those of train; those of nodes that only tables with features have follow.
    Users and items of validation and test that are neither have rows beyond the last id: no model
    has an embedding for them, and metrics count them as missed.
    """

    name: str
    user_ids: list[str]
    item_ids: list[str]
    train: Interactions
    validation: Interactions = field(default_factory=no_interactions)
    test: Interactions = field(default_factory=no_interactions)
    seen_only: Interactions = field(default_factory=no_interactions)
    """Pairs below data.min_weight that are known before the held-out parts: no interactions, but
    not recommended either, and a graph may count them for a little."""
    seen_later: Interactions = field(default_factory=no_interactions)
    """Such pairs that only came later, where the split is by time."""
    new_user_ids: list[str] = field(default_factory=list)
    """The ids of the users beyond user_ids, whom no model knows, by row from len(user_ids) on."""
    item_titles: list[str] | None = None
    features: FeaturesExport | None = None
    """The encoded features of all users and items, by row; None if none are configured."""
    item_attributes: tuple[ItemAttribute, ...] = ()
    """What requests can filter the items by; values by item row."""
    unknown_texts: Mapping[str, int] = field(default_factory=dict)
    """How many texts of each feature its encoding leaves out, such as {"items.tags": 12}."""
    summary: DataSummary = field(default_factory=DataSummary)
    """Counts of what was read, for people and for the manifest."""

    @property
    def known(self) -> Interactions:
        """The interactions of train and validation between users and items that have ids."""
        return concatenate(self.train, self._between_known(self.validation))

    def seen(self, disliked_weight: float) -> Interactions:
        """Return the pairs that are not recommended by what is trained on this data set.

        The weight is 1 for the edges of the graph: training, and pairs below min_weight if these
        count for anything. It is 0 for all others: validation, and pairs that came later.
        """
        edge, others = self.train, self._between_known(self.validation)
        if disliked_weight > 0:
            edge = concatenate(edge, self.disliked)
        else:
            others = concatenate(others, self.disliked)
        others = concatenate(others, self._between_known(self.seen_later))
        return concatenate(
            replace(edge, weights=np.ones_like(edge.weights)),
            replace(others, weights=np.zeros_like(others.weights)),
        )

    @property
    def disliked(self) -> Interactions:
        """The pairs of seen_only between users and items that have ids."""
        return self._between_known(self.seen_only)

    def _between_known(self, part: Interactions) -> Interactions:
        """Return the interactions between users and items that have ids."""
        known = (part.user_rows < len(self.user_ids)) & (part.item_rows < len(self.item_ids))
        return part.take(known)

    @property
    def figures(self) -> Figures:
        """What defaults follow from."""
        return Figures(
            users=len(distinct(self.train.user_rows)),
            items=len(distinct(self.train.item_rows)),
            catalogue=len(self.item_ids),
            interactions=len(self.train),
        )

    def counts(self) -> dict[str, int]:
        """Return the number of interactions by part."""
        return {
            "train": len(self.train),
            "validation": len(self.validation),
            "test": len(self.test),
        }

    def fingerprint(self) -> str:
        """Return a SHA-256, in hexadecimal, of the ids, the parts and the features."""
        digest = hashlib.sha256()
        for ids in (self.user_ids, self.item_ids):
            digest.update("\n".join(ids).encode() + b"\n\n")
        parts = self.train, self.validation, self.test, self.seen_only, self.seen_later
        for part in parts:
            for array in (part.user_rows, part.item_rows, part.weights, part.times):
                digest.update(b"" if array is None else array.tobytes())
        if self.features is not None:
            digest.update(canonical_json(self.features.encoding.model_dump(mode="json")))
            for rows in (self.features.users, self.features.items):
                digest.update(rows.tobytes())
        return digest.hexdigest()


def restrict_to_catalogue(dataset: Dataset, user_table: Rows, item_table: Rows) -> Dataset:
    """Renumber users and items, and drop the ids of those that no model can learn.

    First come those of train, then those of `user_table` and `item_table`: the distinct rows of the
    nodes in tables with features, in the order of the tables. All others, which only other parts
    have, get the rows after these and lose their ids. Those of train, and all
    others, keep their order. Raises InvalidData when train is empty.
    """
    if len(dataset.train) == 0:
        raise InvalidData(
            f"data set {dataset.name!r}: no interaction is left to train on; "
            "see data.min_weight and [split]"
        )
    users, user_row = _renumber(dataset.train.user_rows, user_table, len(dataset.user_ids))
    items, item_row = _renumber(dataset.train.item_rows, item_table, len(dataset.item_ids))

    def renumbered(part: Interactions) -> Interactions:
        return replace(part, user_rows=user_row[part.user_rows], item_rows=item_row[part.item_rows])

    return replace(
        dataset,
        user_ids=[dataset.user_ids[row] for row in users],
        item_ids=[dataset.item_ids[row] for row in items],
        new_user_ids=[dataset.user_ids[row] for row in np.argsort(user_row)[len(users) :]],
        train=renumbered(dataset.train),
        validation=renumbered(dataset.validation),
        test=renumbered(dataset.test),
        seen_only=renumbered(dataset.seen_only),
        seen_later=renumbered(dataset.seen_later),
    )


def _renumber(train: Rows, table: Rows, count: int) -> tuple[NDArray[np.intp], Rows]:
    """Return the old rows that keep an id, in their new order, and the new row of each old one.

    The old rows are 0 to count - 1; those without an id get the new rows after all others.
    """
    trained = np.zeros(count, bool)
    trained[train] = True
    kept = np.concatenate([np.flatnonzero(trained), table[~trained[table]]])
    left = np.ones(count, bool)
    left[kept] = False
    new = np.empty(count, np.int32)
    new[np.concatenate([kept, np.flatnonzero(left)])] = np.arange(count, dtype=np.int32)
    return kept, new
