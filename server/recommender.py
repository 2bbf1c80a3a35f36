"""The core: queries in, answers out, from one snapshot each. It has never heard of gRPC."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from registry.arrays import Embeddings
from registry.ranking import NO_ROW, Rows, Scores
from server.errors import InvalidQuery, NotOffered, NotReady
from server.metrics import Metrics
from server.newcomers import embed_item, embed_user
from server.queries import (
    KnownItem,
    KnownUser,
    NewItem,
    NewUser,
    ScoreQuery,
    Subject,
    Target,
    TopKQuery,
    Vector,
)
from server.snapshot import LoadedVariant, Snapshot


@dataclass(frozen=True)
class TopKAnswer:
    """Items best first, as parallel sequences."""

    version: str
    variant: str
    item_ids: list[str]
    scores: Scores
    probabilities: Scores | None
    titles: list[str] | None
    unknown_item_ids: list[str]


@dataclass(frozen=True)
class ScoreAnswer:
    """Scores in the order of the query; 0 where not known."""

    version: str
    variant: str
    scores: Scores
    known: list[bool]
    unknown_item_ids: list[str]


_NO_ROWS: Rows = np.empty(0, np.int64)


@dataclass(frozen=True)
class _Placed:
    """A subject's embedding (D,), the rows that it rules out, and its unknown items."""

    vector: Embeddings
    left_out: Rows
    unknown_item_ids: Sequence[str] = ()


class Recommender:
    """Answers from the current snapshot; swapping it is one assignment."""

    def __init__(self, alias: str, metrics: Metrics) -> None:
        """Answer for the version that `alias` names; count newcomers into `metrics`."""
        self._alias = alias
        self._metrics = metrics
        self._snapshot: Snapshot | None = None

    def swap(self, snapshot: Snapshot) -> None:
        """Answer from `snapshot` from now on; queries under way finish on the one they began."""
        self._snapshot = snapshot

    @property
    def snapshot(self) -> Snapshot:
        """The current snapshot; raises NotReady before the first."""
        if self._snapshot is None:
            raise NotReady("no version is loaded yet; try again soon")
        return self._snapshot

    def top_k(self, query: TopKQuery) -> TopKAnswer:
        """Return the k best permitted items; the answer equals brute force over them."""
        snapshot = self._choose(query.target)
        variant = snapshot.variant(query.target.variant)
        placed = self._place(snapshot, variant, query.subject, include_seen=query.include_seen)
        vector, left_out = placed.vector, placed.left_out
        if query.allow_item_ids:
            allowed, unknown = snapshot.find_items(query.allow_item_ids)
            permitted = np.setdiff1d(allowed, left_out, assume_unique=True)
            scores, rows = variant.index.search_among(vector, query.k, permitted)
        else:
            excluded, unknown = snapshot.find_items(query.exclude_item_ids)
            scores, rows = variant.index.search(vector, query.k, np.union1d(left_out, excluded))
        return TopKAnswer(
            version=snapshot.version,
            variant=variant.name,
            item_ids=[snapshot.item_ids[row] for row in rows],
            scores=scores,
            probabilities=_softmax(scores) if query.with_probabilities else None,
            titles=_titles(snapshot, rows) if query.with_titles else None,
            unknown_item_ids=list(dict.fromkeys([*placed.unknown_item_ids, *unknown])),
        )

    def score(self, query: ScoreQuery) -> ScoreAnswer:
        """Return the score of each named item."""
        snapshot = self._choose(query.target)
        variant = snapshot.variant(query.target.variant)
        placed = self._place(snapshot, variant, query.subject, include_seen=True)
        rows = np.array([snapshot.item_rows.get(item_id, NO_ROW) for item_id in query.item_ids])
        known = rows != NO_ROW
        return ScoreAnswer(
            version=snapshot.version,
            variant=variant.name,
            scores=np.where(known, variant.index.scores(placed.vector, rows), np.float32(0)),
            known=known.tolist(),
            unknown_item_ids=list(placed.unknown_item_ids),
        )

    def _choose(self, target: Target) -> Snapshot:
        snapshot = self.snapshot
        if target.version not in ("", snapshot.version) or target.alias not in ("", self._alias):
            raise NotOffered(
                f"this server answers from version {snapshot.version!r} (alias {self._alias!r}) "
                "only; leave version and alias unset"
            )
        return snapshot

    def _place(
        self, snapshot: Snapshot, variant: LoadedVariant, subject: Subject, *, include_seen: bool
    ) -> _Placed:
        """Find or make the subject's embedding.

        Items are left out where they are the subject itself, or were had by it and
        `include_seen` is off.
        """
        match subject:
            case KnownUser(user_id):
                row = snapshot.user_row(user_id)
                seen = _NO_ROWS if include_seen else snapshot.seen(row).astype(np.int64)
                return _Placed(np.array(variant.users[row]), seen)
            case KnownItem(item_id):
                row = snapshot.item_row(item_id)
                return _Placed(variant.index.embedding(row), np.array([row], np.int64))
            case Vector(values):
                if len(values) != variant.embedding_dim:
                    raise InvalidQuery(
                        "embedding.values",
                        f"has {len(values)} numbers; variant {variant.name!r} of version "
                        f"{snapshot.version!r} has embedding_dim {variant.embedding_dim}",
                    )
                return _Placed(values, _NO_ROWS)
            case NewUser():
                user = embed_user(snapshot, variant, subject)
                self._metrics.count_newcomer("new_user", variant.name, user.unknown_features)
                had = _NO_ROWS if include_seen else user.item_rows
                return _Placed(user.vector, had, user.unknown_item_ids)
            case NewItem():
                item = embed_item(snapshot, variant, subject)
                self._metrics.count_newcomer("new_item", variant.name, item.unknown_features)
                return _Placed(item.vector, _NO_ROWS)


def _titles(snapshot: Snapshot, rows: Rows) -> list[str]:
    titles = snapshot.item_titles
    return [] if titles is None else [titles[row] for row in rows]


def _softmax(scores: Scores) -> Scores:
    """Return exp(s) / sum exp(s), shifted by the maximum so that it cannot overflow."""
    if len(scores) == 0:
        return scores
    powers = np.exp(scores.astype(np.float64) - scores.max())
    shares: Scores = (powers / powers.sum()).astype(np.float32)
    return shares
