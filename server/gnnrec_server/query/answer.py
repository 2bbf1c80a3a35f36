"""What is answered, as plain values: the best items of a query, or the scores of named items."""

from dataclasses import dataclass

import numpy as np

from gnnrec_registry.scoring.ranking import Rows, Scores
from gnnrec_server.query.plan import Plan
from gnnrec_server.query.queries import TopKQuery
from gnnrec_server.version.snapshot import Snapshot


@dataclass(slots=True, eq=False)
class TopKAnswer:
    """Items best first, as parallel sequences."""

    snapshot: Snapshot
    variant: str
    query: TopKQuery
    rows: Rows
    scores: Scores
    probabilities: Scores | None
    titles: list[str] | None
    unknown_item_ids: list[str]

    @property
    def version(self) -> str:
        """The version that answered."""
        return self.snapshot.version

    @property
    def item_ids(self) -> list[str]:
        """The items' ids."""
        return self.snapshot.item_ids.texts(self.rows)


@dataclass(frozen=True)
class ScoreAnswer:
    """Scores in the order of the query's items; 0 for those that the version does not know."""

    version: str
    variant: str
    scores: Scores
    known: list[bool]
    unknown_item_ids: list[str]


def top_k_answer(made: Plan, scores: Scores, rows: Rows) -> TopKAnswer:
    """Return the answer that the items found for a plan make: scores (k,), rows (k,)."""
    query = made.query
    return TopKAnswer(
        made.snapshot,
        made.variant.name,
        query,
        rows,
        scores,
        softmax(scores) if query.with_probabilities else None,
        _titles(made.snapshot, rows) if query.with_titles else None,
        list(made.unknown_item_ids),
    )


def softmax(scores: Scores) -> Scores:
    """Return exp(s) / sum exp(s) of descending scores (k,), in float64 until the last step.

    They are shifted by the largest, so that no power overflows.
    """
    if len(scores) == 0:
        return scores
    if np.isinf(scores[0]):  # beyond the range of a float: all that are infinite share alike
        powers = (scores == scores[0]).astype(np.float64)
    else:
        powers = np.exp(scores.astype(np.float64) - scores[0])
    shares: Scores = (powers / powers.sum()).astype(np.float32)
    return shares


def _titles(snapshot: Snapshot, rows: Rows) -> list[str]:
    titles = snapshot.item_titles
    return [] if titles is None else [titles[row] for row in rows]
