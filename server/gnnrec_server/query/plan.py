"""From a query to a search: which snapshot and variant, which vector, which items."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from gnnrec_registry.files.arrays import Embeddings
from gnnrec_registry.scoring.ranking import Rows
from gnnrec_server.errors import InvalidQuery
from gnnrec_server.index.exact import Found, Mask, contains
from gnnrec_server.query.filters import meet
from gnnrec_server.query.queries import (
    KnownItem,
    KnownUser,
    NewItem,
    NewUser,
    Subject,
    TopKQuery,
    Vector,
)
from gnnrec_server.telemetry.metrics import NewcomerKind
from gnnrec_server.version.newcomers import embed_item, embed_user
from gnnrec_server.version.snapshot import NO_ROWS, LoadedVariant, Snapshot


class Newcomers(Protocol):
    """What counts the users and items unseen in training that are embedded."""

    def count_newcomer(self, kind: NewcomerKind, variant: str, unknown: Mapping[str, int]) -> None:
        """Count one."""


# Made for each request, and never changed: slots, because to freeze them costs three times as much.


@dataclass(slots=True, eq=False)
class Placed:
    """A subject's embedding (D,), the rows to leave out for it, and its unknown item ids."""

    vector: Embeddings
    left_out: Rows
    history: Rows
    """The items whose lists add to its scores, distinct and ascending."""
    unknown_item_ids: Sequence[str] = ()


@dataclass(slots=True, eq=False)
class Plan:
    """A search to be made: for k items near a vector (D,), of all but some or only among some."""

    snapshot: Snapshot
    variant: LoadedVariant
    query: TopKQuery
    vector: Embeddings
    excluded: Rows
    """Distinct rows, ascending; none where `among` or `met` say which items may be returned."""
    among: Rows | None
    """With an allow list: the distinct rows that are permitted."""
    met: Mask | None
    """With filters and no allow list: which items (I,) are permitted."""
    history: Rows
    """The items whose lists add to the scores, distinct and ascending."""
    unknown_item_ids: Sequence[str]

    @property
    def has_lists(self) -> bool:
        """Whether lists add to its scores."""
        return self.variant.lists is not None and len(self.history) > 0

    @property
    def depth(self) -> int:
        """How many items to search for, of which `with_lists` makes the answer."""
        return self.variant.depth(self.query.k, self.history)

    def with_lists(self, found: Found) -> Found:
        """Return the k best items, from the `depth` best by inner product."""
        return self.variant.with_lists(
            self.vector, self.query.k, found, self.history, self._permits
        )

    def _permits(self, rows: Rows) -> Mask:
        if self.among is not None:
            return contains(self.among, rows)
        if self.met is not None:
            permitted: Mask = self.met[rows]
            return permitted
        return ~contains(self.excluded, rows)

    @property
    def can_share(self) -> bool:
        """Whether others of the same index and k can be searched with it."""
        return (
            self.among is None
            and self.met is None
            and self.variant.index.can_search_many(self.excluded)
        )


def search(made: Plan) -> Found:
    """Return the k best permitted items."""
    index, depth = made.variant.index, made.depth
    if made.among is not None:
        found = index.search_among(made.vector, depth, made.among)
    elif made.met is not None:
        found = index.search_where(made.vector, depth, made.met)
    else:
        found = index.search(made.vector, depth, made.excluded)
    return made.with_lists(found)


def plan(snapshot: Snapshot, query: TopKQuery, metrics: Newcomers) -> Plan:
    """Work out the search that answers a query; raises what the version lacks for it."""
    variant = snapshot.variant(query.target.variant)
    placed = place(snapshot, variant, query.subject, metrics, include_seen=query.include_seen)
    if not (query.allow_item_ids or query.exclude_item_ids or query.filters):
        return Plan(
            snapshot,
            variant,
            query,
            placed.vector,
            placed.left_out,
            None,
            None,
            placed.history,
            placed.unknown_item_ids,
        )
    met = _meet(snapshot, query)
    listed = tuple(dict.fromkeys(query.allow_item_ids or query.exclude_item_ids))
    allowed, unknown = snapshot.find_items(listed)
    excluded, among = NO_ROWS, None
    if query.allow_item_ids:
        among = np.setdiff1d(allowed, placed.left_out, assume_unique=True)
        among, met = among if met is None else among[met[among]], None
    elif met is None:
        excluded = np.union1d(placed.left_out, allowed)
    else:
        met[placed.left_out] = False
        met[allowed] = False
    unknown = list(dict.fromkeys([*placed.unknown_item_ids, *unknown]))
    return Plan(
        snapshot, variant, query, placed.vector, excluded, among, met, placed.history, unknown
    )


def place(
    snapshot: Snapshot,
    variant: LoadedVariant,
    subject: Subject,
    metrics: Newcomers,
    *,
    include_seen: bool,
) -> Placed:
    """Find or make the subject's embedding.

    Items are left out where they are the subject itself, or were had by it and
    `include_seen` is off. The lists of what it had add to its scores in either case; an item's own
    list adds to its own.
    """
    match subject:
        case KnownUser(user_id):
            row = snapshot.user_row(user_id)
            seen = NO_ROWS if include_seen else snapshot.seen(row).astype(np.int64)
            return Placed(variant.users[row], seen, snapshot.history(variant, row))
        case KnownItem(item_id):
            row = snapshot.item_row(item_id)
            itself = np.array([row], np.int64)
            return Placed(variant.index.embedding(row), itself, itself)
        case Vector(values):
            if len(values) != variant.embedding_dim:
                raise InvalidQuery(
                    "embedding.values",
                    f"has {len(values)} numbers; variant {variant.name!r} of version "
                    f"{snapshot.version!r} has embedding_dim {variant.embedding_dim}",
                )
            return Placed(values, NO_ROWS, NO_ROWS)
        case NewUser():
            user = embed_user(snapshot, variant, subject.weights, subject.features)
            metrics.count_newcomer("new_user", variant.name, user.unknown_features)
            had = NO_ROWS if include_seen else user.item_rows
            return Placed(user.vector, had, user.item_rows, user.unknown_item_ids)
        case NewItem():
            item = embed_item(snapshot, variant, subject.features)
            metrics.count_newcomer("new_item", variant.name, item.unknown_features)
            return Placed(item.vector, NO_ROWS, NO_ROWS)


def list_entries(snapshot: Snapshot, variant: LoadedVariant, subject: Subject) -> int:
    """Return at most how many entries of item lists add to a subject's scores."""
    if variant.lists is None:
        return 0
    match subject:
        case KnownUser(user_id):
            had = len(snapshot.seen(snapshot.user_row(user_id)))
        case KnownItem():
            had = 1
        case NewUser(interactions):
            had = len(interactions)
        case _:
            had = 0
    return had * variant.lists.longest


def _meet(snapshot: Snapshot, query: TopKQuery) -> Mask | None:
    if not query.filters:
        return None
    return meet(query.filters, snapshot.attributes, len(snapshot.item_ids), snapshot.version)
