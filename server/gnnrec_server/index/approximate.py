"""Approximate indexes for large catalogues: FAISS finds candidates, which are ranked exactly.

How many lists, or how large a part of the graph, a search visits is raised when a version is loaded
until the wanted recall is reached:

    recall@100 = |found by the index and among the 100 best| / 100    mean over sample users

of candidates that are ranked as everywhere, by their scores in double precision.

B queries, I items, D dimensions.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import faiss
import numpy as np

from gnnrec_registry.files.arrays import Embeddings
from gnnrec_registry.scoring.ranking import NO_ROW, Rows, Scores, exact_scores, order
from gnnrec_server.index import codes
from gnnrec_server.index.exact import FlatIndex, Found, Rank, contains, pair_keys, results_by_query

Kind = Literal["auto", "flat", "ivf", "hnsw"]

# Up to so many items a whole look takes a few milliseconds at most.
_FLAT_UP_TO = 200_000

# Fewer items make no lists worth having.
_LEAST = 1000

# What recall is measured over.
_RECALL_AT = 100
_SAMPLE = 200

_AT_A_TIME = 65_536
_LINKS = 32
_MARGIN = 8

# How many items each list's centre is learned from, at most.
_POINTS = 40
_LEARNED_FROM = 180_000

# From so many items on there are twice as many lists: half the work of a search for twice the load.
_MANY = 2_000_000

_HARDER = 1.5

_log = logging.getLogger("gnnrec.server")


@dataclass(frozen=True)
class IndexPlan:
    """Which index to build, and how many of the 100 best items it must find."""

    kind: Kind = "flat"
    recall: float = 0.99

    def chosen(self, items: int) -> Kind:
        """Return the kind for so many items; a small catalogue is always looked at whole."""
        if self.kind == "auto":
            return "flat" if items <= _FLAT_UP_TO else "ivf"
        return self.kind if items >= _LEAST else "flat"

    def extra_bytes(self, items: int, width: int) -> int:
        """Return what the index takes beside the embeddings."""
        match self.chosen(items):
            case "ivf":
                return items * (width + 8)
            case "hnsw":
                return items * (2 * width + 8 * _LINKS + 16)
            case _:
                return codes.extra_bytes(items, width)


class ApproximateIndex(FlatIndex):
    """Inner-product search that finds most of the best items, and ranks what it finds exactly.

    Lists and filters are kept to exactly, and there are k items whenever k are permitted.
    """

    def __init__(self, items: Embeddings, kind: Literal["ivf", "hnsw"]) -> None:
        """Build over embeddings (I, D): inverted lists of 8-bit codes, or a graph over fp16."""
        super().__init__(items)
        self.kind = kind
        self.recall = 0.0
        self._effort = 1
        count, width = items.shape
        if kind == "ivf":
            self._lists = int((2 if count < _MANY else 4) * np.sqrt(count))
            made = faiss.index_factory(width, f"IVF{self._lists},SQ8", faiss.METRIC_INNER_PRODUCT)
            made.cp.niter = 5  # type: ignore[attr-defined]
            made.cp.max_points_per_centroid = _POINTS  # type: ignore[attr-defined]
            made.cp.min_points_per_centroid = 1  # type: ignore[attr-defined]
        else:
            self._lists = 4096
            made = faiss.index_factory(width, f"HNSW{_LINKS}_SQfp16", faiss.METRIC_INNER_PRODUCT)
        self._index: Any = made
        generator = np.random.default_rng(0)
        learned_from = min(count, _POINTS * self._lists, _LEARNED_FROM)
        some = np.sort(generator.choice(count, learned_from, replace=False))
        self._index.train(self._items[some])
        for first in range(0, count, _AT_A_TIME):
            self._index.add(self._items[first : first + _AT_A_TIME])

    def tune(self, queries: Embeddings, wanted: float) -> float:
        """Look harder and harder until recall@100 on queries (B, D) is as wanted; return it."""
        k = min(_RECALL_AT, len(self))
        nothing = [np.empty(0, np.int64)] * len(queries)
        best = [
            (found or super(ApproximateIndex, self).search(query, k, nothing[0]))[1]
            for query, found in zip(queries, super()._find(queries, k, nothing)(), strict=True)
        ]
        self._effort = 4
        while True:
            _, found = self._ranked(queries, self._candidates(queries, k, nothing), k, nothing)
            hits = sum(
                len(np.intersect1d(mine, true)) for mine, true in zip(found, best, strict=True)
            )
            self.recall = hits / sum(map(len, best))
            # beyond a quarter of all it would cost as much as to look at all
            harder = int(_HARDER * self._effort)
            if self.recall >= wanted or harder > max(4, self._lists // 4):
                return self.recall
            self._effort = harder

    @property
    def exact(self) -> FlatIndex:
        """The index that looks at every item."""
        return FlatIndex(self._items)

    @property
    def nbytes(self) -> int:
        """Size of what is searched: codes and lists, without the embeddings."""
        return len(self) * int(self._index.code_size if self.kind == "ivf" else 2 * self._width)

    def search(self, query: Embeddings, k: int, excluded: Rows) -> Found:
        """Return the k best that it finds of the items that are not excluded, as FlatIndex does."""
        if self.can_search_many(excluded):
            (found,) = self._find(query[None, :], k, [excluded])()
            if found is not None:
                return found
        # Where too few were found there may be more that it has not looked at.
        return super().search(query, k, excluded)

    def _find(self, queries: Embeddings, k: int, excluded: Sequence[Rows]) -> Rank:
        rows = self._candidates(queries, k, excluded)

        def rank() -> list[Found | None]:
            scores, ranked = self._ranked(queries, rows, len(rows[0]), excluded)
            there = ranked != NO_ROW
            enough = there.sum(axis=1) >= min(k, len(self))
            # Where the best and the worst candidate score alike it had nothing to choose by, and
            # which of the equal ones stand first is for a look at all of them to say.
            differ = scores[:, 0] > np.where(there, scores, np.inf).min(axis=1)
            return results_by_query(scores[:, :k], ranked[:, :k], enough & differ)

        return rank

    def _candidates(self, queries: Embeddings, k: int, excluded: Sequence[Rows]) -> Rows:
        """Return what the index finds, NO_ROW where it finds fewer."""
        count = min(2 * (k + _MARGIN) + max(map(len, excluded)), len(self))
        rows: Rows
        _, rows = self._index.search(np.ascontiguousarray(queries), count, params=self._how(count))
        return rows

    def _ranked(
        self, queries: Embeddings, rows: Rows, k: int, excluded: Sequence[Rows]
    ) -> tuple[Scores, Rows]:
        """Return the k best of candidates (B, C) not excluded; NO_ROW where there are fewer."""
        if any(map(len, excluded)):
            at = rows + np.arange(len(queries))[:, None] * len(self)
            left_out = contains(pair_keys(excluded, len(self)), at)
            rows = np.where(left_out & (rows != NO_ROW), NO_ROW, rows)
        scores = exact_scores(queries, self._items, rows)
        best = order(scores, rows)[:, :k]
        return np.take_along_axis(scores, best, 1), np.take_along_axis(rows, best, 1)

    def _how(self, count: int) -> Any:
        library: Any = faiss  # whose types lack these
        if self.kind == "ivf":
            return library.SearchParametersIVF(nprobe=self._effort)
        return library.SearchParametersHNSW(efSearch=max(self._effort, count))


def build(plan: IndexPlan, users: Embeddings, items: Embeddings, where: str) -> FlatIndex:
    """Return the index that a plan asks for over items (I, D), tuned on some of the users (U, D).

    Where the recall is not reached, all items are looked at, and the log says so.
    """
    kind = plan.chosen(len(items))
    if kind == "flat" or kind == "auto":
        if plan.kind not in ("auto", "flat"):
            _log.warning(
                "%s: %d items are too few for index %s; all of them are looked at",
                where, len(items), plan.kind,
            )  # fmt: skip
        return codes.flat_index(users, items)
    made = ApproximateIndex(items, kind)
    some = np.linspace(0, len(users) - 1, min(_SAMPLE, len(users))).astype(np.int64)
    reached = made.tune(np.array(users[some]), plan.recall)
    if reached >= plan.recall:
        _log.info("%s: index %s finds %.4f of the 100 best", where, kind, reached)
        return made
    _log.error(
        "%s: index %s finds only %.4f of the 100 best, and %.4f are asked for; "
        "all items are looked at instead",
        where, kind, reached, plan.recall,
    )  # fmt: skip
    return codes.flat_index(users, items)
