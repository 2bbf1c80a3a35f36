"""The core: queries in, answers out, from one snapshot each. It has never heard of gRPC."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import numpy as np

from registry.ranking import NO_ROW, Rows, Scores
from server.errors import UnknownItem, UnknownUser
from server.index import FlatIndex
from server.metrics import Metrics
from server.plans import Found, Plan, place, plan, search
from server.queries import ScoreQuery, TopKQuery
from server.serving import Serving
from server.snapshot import Snapshot

P = ParamSpec("P")
T = TypeVar("T")


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


class Recommender:
    """Answers from the versions that are served; swapping them is one assignment."""

    def __init__(self, alias: str, metrics: Metrics) -> None:
        """Answer requests that name no version by `alias`; count into `metrics`."""
        self._metrics = metrics
        self._serving = Serving(alias)

    def swap(self, serving: Serving) -> None:
        """Answer from `serving` from now on; queries under way finish on what they began."""
        self._serving = serving

    @property
    def serving(self) -> Serving:
        """What is served now."""
        return self._serving

    @property
    def snapshot(self) -> Snapshot:
        """What answers requests that name no version; raises NotReady before the first."""
        return self._serving.current

    def top_k(self, query: TopKQuery) -> TopKAnswer:
        """Return the k best permitted items; the answer equals brute force over them."""
        made = self._plan(self._serving, query)
        with self._metrics.stages["search"].time():
            found = search(made)
        return self._answer(made, found)

    def top_k_batch(self, queries: Sequence[TopKQuery | Exception]) -> list[TopKAnswer | Exception]:
        """Return for each query the answer that top_k gives, or the error that it raises.

        What is no query but an error already is returned as it is. All queries see the same served
        versions; where several ask alike they are searched together.
        """
        serving = self._serving
        plans = [
            query if isinstance(query, Exception) else _attempt(self._plan, serving, query)
            for query in queries
        ]
        with self._metrics.stages["search"].time():
            found = _search_all(plans)
        results: list[TopKAnswer | Exception] = []
        for made, result in zip(plans, found, strict=True):
            if isinstance(made, Exception):
                results.append(made)
            elif isinstance(result, Exception):
                results.append(result)
            else:
                results.append(_attempt(self._answer, made, result))
        return results

    def score(self, query: ScoreQuery) -> ScoreAnswer:
        """Return the score of each named item."""
        snapshot = self._serving.choose(query.target, query.subject)
        variant = snapshot.variant(query.target.variant)
        with self._counting_unknown():
            placed = place(snapshot, variant, query.subject, self._metrics, include_seen=True)
        rows = np.array([snapshot.item_rows.get(item_id, NO_ROW) for item_id in query.item_ids])
        known = rows != NO_ROW
        unknown = len(placed.unknown_item_ids) + int((~known).sum())
        self._metrics.count_unknown("listed_item", unknown)
        return ScoreAnswer(
            version=snapshot.version,
            variant=variant.name,
            scores=np.where(known, variant.index.scores(placed.vector, rows), np.float32(0)),
            known=known.tolist(),
            unknown_item_ids=list(placed.unknown_item_ids),
        )

    def _plan(self, serving: Serving, query: TopKQuery) -> Plan:
        with self._counting_unknown():
            return plan(serving.choose(query.target, query.subject), query, self._metrics)

    def _answer(self, made: Plan, found: Found) -> TopKAnswer:
        query, snapshot = made.query, made.snapshot
        scores, rows = found
        self._metrics.count_answer(query.k, len(rows))
        self._metrics.count_unknown("listed_item", len(made.unknown_item_ids))
        return TopKAnswer(
            version=snapshot.version,
            variant=made.variant.name,
            item_ids=[snapshot.item_ids[row] for row in rows],
            scores=scores,
            probabilities=_softmax(scores) if query.with_probabilities else None,
            titles=_titles(snapshot, rows) if query.with_titles else None,
            unknown_item_ids=made.unknown_item_ids,
        )

    @contextmanager
    def _counting_unknown(self) -> Iterator[None]:
        """Time how a subject gets its embedding, and count one that the version does not know."""
        try:
            with self._metrics.stages["embed"].time():
                yield
        except UnknownUser:
            self._metrics.count_unknown("user")
            raise
        except UnknownItem:
            self._metrics.count_unknown("item")
            raise


def _search_all(plans: Sequence[Plan | Exception]) -> list[Found | Exception]:
    """Search for each plan: together where they differ in their vectors and exclusions alone.

    What is no plan but an error already is returned as it is.
    """
    shared: dict[int, Found] = {}
    alike: dict[tuple[FlatIndex, int], list[tuple[int, Plan]]] = {}
    for number, made in enumerate(plans):
        if isinstance(made, Plan) and made.can_share:
            alike.setdefault((made.variant.index, made.query.k), []).append((number, made))
    for (index, k), members in alike.items():
        vectors = np.stack([made.vector for _, made in members])
        results = _attempt(index.search_many, vectors, k, [made.excluded for _, made in members])
        if not isinstance(results, Exception):  # else each fails, or not, by itself
            numbers = [number for number, _ in members]
            shared.update(zip(numbers, results, strict=True))
    found: list[Found | Exception] = []
    for number, made in enumerate(plans):
        if isinstance(made, Exception):
            found.append(made)
        elif number in shared:
            found.append(shared[number])
        else:
            found.append(_attempt(search, made))
    return found


def _attempt(function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T | Exception:
    """Return what a function returns or raises: one entry's error must not be another's."""
    try:
        return function(*arguments, **named)
    except Exception as error:
        return error


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
