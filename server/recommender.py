"""The core: queries in, answers out, from one snapshot each. It has never heard of gRPC."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import numpy as np

from registry.ranking import NO_ROW, Rows, Scores
from server.errors import UnknownItem, UnknownUser
from server.index import FlatIndex
from server.metrics import Metrics, UnknownKind
from server.plans import Found, Plan, place, plan, search
from server.queries import ScoreQuery, TopKQuery
from server.serving import Serving
from server.snapshot import Snapshot

P = ParamSpec("P")
T = TypeVar("T")

_KINDS: Mapping[type[Exception], UnknownKind] = {UnknownUser: "user", UnknownItem: "item"}


@dataclass(slots=True, eq=False)
class TopKAnswer:
    """Items best first, as parallel sequences."""

    snapshot: Snapshot
    variant: str
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
        """The items."""
        return self.snapshot.item_ids.texts(self.rows)


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
        (answer,) = self.top_k_batch([query])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def top_k_batch(self, queries: Sequence[TopKQuery | Exception]) -> list[TopKAnswer | Exception]:
        """Return for each query the answer that top_k gives, or the error that it raises.

        What is no query but an error already is returned as it is. All queries see the same served
        versions; where several ask alike they are searched together.
        """
        serving = self._serving
        with self._metrics.stages["embed"].time():
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
                results.append(_attempt(_answer, made, result))
        self._count(results, queries)
        return results

    def score(self, query: ScoreQuery) -> ScoreAnswer:
        """Return the score of each named item."""
        snapshot = self._serving.choose(query.target, query.subject)
        variant = snapshot.variant(query.target.variant)
        try:
            with self._metrics.stages["embed"].time():
                placed = place(snapshot, variant, query.subject, self._metrics, include_seen=True)
        except (UnknownUser, UnknownItem) as error:
            self._metrics.count_unknown(_KINDS[type(error)])
            raise
        rows = snapshot.item_ids.rows(query.item_ids)
        known = rows != NO_ROW
        unknown = len(placed.unknown_item_ids) + len(known) - int(np.count_nonzero(known))
        if unknown:
            self._metrics.count_unknown("listed_item", unknown)
        return ScoreAnswer(
            version=snapshot.version,
            variant=variant.name,
            scores=np.where(known, variant.index.scores(placed.vector, rows), np.float32(0)),
            known=known.tolist(),
            unknown_item_ids=list(placed.unknown_item_ids),
        )

    def _plan(self, serving: Serving, query: TopKQuery) -> Plan:
        return plan(serving.choose(query.target, query.subject), query, self._metrics)

    def _count(
        self, results: Sequence[TopKAnswer | Exception], queries: Sequence[TopKQuery | Exception]
    ) -> None:
        asked: Counter[int] = Counter()
        short = 0
        for query, result in zip(queries, results, strict=True):
            if isinstance(result, TopKAnswer) and isinstance(query, TopKQuery):
                asked[query.k] += 1
                short += len(result.rows) < query.k
                if result.unknown_item_ids:
                    self._metrics.count_unknown("listed_item", len(result.unknown_item_ids))
            elif isinstance(result, UnknownUser | UnknownItem):
                self._metrics.count_unknown(_KINDS[type(result)])
        self._metrics.count_answers(asked, short)


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
        vectors = np.concatenate([made.vector for _, made in members]).reshape(len(members), -1)
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


def _answer(made: Plan, found: Found) -> TopKAnswer:
    query, (scores, rows) = made.query, found
    return TopKAnswer(
        made.snapshot,
        made.variant.name,
        rows,
        scores,
        _softmax(scores) if query.with_probabilities else None,
        _titles(made.snapshot, rows) if query.with_titles else None,
        list(made.unknown_item_ids),
    )


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
