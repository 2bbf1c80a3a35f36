"""A data set in memory: ids by row, interactions by row, and the parts it is split into."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from gnnrec_registry import FeaturesExport, ItemAttribute
from gnnrec_registry.manifest import canonical_json
from gnnrec_training.data.account import Account
from gnnrec_training.errors import InvalidData

Rows = NDArray[np.int32]


@dataclass(frozen=True)
class Interactions:
    """Who had what: parallel arrays (E,), at most one entry a pair."""

    user_rows: Rows
    item_rows: Rows
    weights: NDArray[np.float32]
    """All 1 where the data has none."""
    times: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.user_rows)

    def take(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> "Interactions":
        """Return those that a mask or positions select."""
        return Interactions(
            self.user_rows[which],
            self.item_rows[which],
            self.weights[which],
            None if self.times is None else self.times[which],
        )


def nothing() -> Interactions:
    """Return no interactions at all."""
    rows = np.empty(0, np.int32)
    return Interactions(rows, rows, np.empty(0, np.float32))


def join(first: Interactions, second: Interactions) -> Interactions:
    """Return the interactions of both; times are kept where both have them."""
    both_timed = first.times is not None and second.times is not None
    return Interactions(
        np.concatenate([first.user_rows, second.user_rows]),
        np.concatenate([first.item_rows, second.item_rows]),
        np.concatenate([first.weights, second.weights]),
        np.concatenate([first.times, second.times]) if both_timed else None,
    )


@dataclass(frozen=True)
class Dataset:
    """A split data set. The ids are those of train, then those that tables with features add.

    In validation and test an unknown user or item has a row past the end of the ids: no model can
    reach it, and it counts as missed.
    """

    name: str
    user_ids: list[str]
    item_ids: list[str]
    train: Interactions
    validation: Interactions = field(default_factory=nothing)
    test: Interactions = field(default_factory=nothing)
    seen_only: Interactions = field(default_factory=nothing)
    """Pairs that are no interactions, for their weight is low, and yet are not recommended."""
    item_titles: list[str] | None = None
    features: FeaturesExport | None = None
    """What is known of the nodes, by row, where features are configured."""
    item_attributes: tuple[ItemAttribute, ...] = ()
    """What requests can filter the items by, by row."""
    unknown_texts: Mapping[str, int] = field(default_factory=dict)
    """How many texts of the nodes have no place in the encoding, such as {"items.tags": 12}."""
    account: Account = field(default_factory=Account)
    """What was understood of the data."""

    @property
    def known(self) -> Interactions:
        """Train and validation together, of known users and items: what a user has seen."""
        return join(self.train, self._reachable(self.validation))

    @property
    def seen(self) -> Interactions:
        """What is not recommended to a user: what is known, and what they did not like.

        The weight is 1 of what is known and 0 of the other.
        """
        known, others = self.known, self._reachable(self.seen_only)
        return join(
            replace(known, weights=np.ones_like(known.weights)),
            replace(others, weights=np.zeros_like(others.weights)),
        )

    def _reachable(self, part: Interactions) -> Interactions:
        """Return the interactions of known users with known items."""
        known = (part.user_rows < len(self.user_ids)) & (part.item_rows < len(self.item_ids))
        return part.take(known)

    def counts(self) -> dict[str, int]:
        """Return the number of interactions by part."""
        return {
            "train": len(self.train),
            "validation": len(self.validation),
            "test": len(self.test),
        }

    def fingerprint(self) -> str:
        """Return a sha256 over ids, interactions of every part and, where there are, features."""
        digest = hashlib.sha256()
        for ids in (self.user_ids, self.item_ids):
            digest.update("\n".join(ids).encode() + b"\n\n")
        for part in (self.train, self.validation, self.test):
            for array in (part.user_rows, part.item_rows, part.weights, part.times):
                digest.update(b"" if array is None else array.tobytes())
        if self.features is not None:
            digest.update(canonical_json(self.features.encoding.model_dump(mode="json")))
            for rows in (self.features.users, self.features.items):
                digest.update(rows.tobytes())
        return digest.hexdigest()


def restrict_to_catalogue(dataset: Dataset, user_table: Rows, item_table: Rows) -> Dataset:
    """Renumber so that the nodes of train come first, then those of the tables; keep those ids.

    user_table, item_table: the distinct rows of the nodes that tables add, in the tables' order.
    The nodes of train, and those that are in neither, keep their order. Raises InvalidData when
    train is empty.
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
        train=renumbered(dataset.train),
        validation=renumbered(dataset.validation),
        test=renumbered(dataset.test),
        seen_only=renumbered(dataset.seen_only),
    )


def _renumber(train: Rows, table: Rows, count: int) -> tuple[NDArray[np.intp], Rows]:
    """Return the rows to keep, in order, and for each old row its new one: those kept first."""
    trained = np.zeros(count, bool)
    trained[train] = True
    kept = np.concatenate([np.flatnonzero(trained), table[~trained[table]]])
    left = np.ones(count, bool)
    left[kept] = False
    new = np.empty(count, np.int32)
    new[np.concatenate([kept, np.flatnonzero(left)])] = np.arange(count, dtype=np.int32)
    return kept, new
