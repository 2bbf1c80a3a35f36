"""The core: queries in, answers out, from one snapshot each. It has never heard of gRPC."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import numpy as np

from registry.ranking import NO_ROW, Rows, Scores
from server.errors import UnknownItem, UnknownUser
from server.index import FlatIndex, Found, Rank
from server.metrics import Metrics, UnknownKind
from server.plans import Plan, place, plan, search
from server.queries import ScoreQuery, TopKQuery
from server.serving import Serving
from server.snapshot import Snapshot

P = ParamSpec("P")
T = TypeVar("T")

Query = TopKQuery | Exception
"""What is asked, or why it cannot be."""

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


Finish = Callable[[], list[TopKAnswer | Exception | None]]
"""Makes the answers of what was searched for, in order."""


class Recommender:
    """Answers from the versions that are served; swapping them is one assignment."""

    def __init__(self, alias: str, metrics: Metrics) -> None:
        """Answer requests that name no version by `alias`; count into `metrics`."""
        self._metrics = metrics
        self._serving = Serving(alias)

    def swap(self, serving: Serving) -> None:
        """Answer from `serving` from now on; queries under way finish on what they began."""
        self._serving = serving.answering_like(self._serving)

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

    def top_k_batch(self, queries: Sequence[Query]) -> list[TopKAnswer | Exception]:
        """Return for each query the answer that top_k gives, or the error that it raises.

        What is no query but an error already is returned as it is.
        """
        serving = self._serving
        answers: list[TopKAnswer | Exception] = []
        for query, answer in zip(queries, self.begin(queries, serving)(), strict=True):
            if answer is None:
                (answer,) = self.begin([query], serving, together=False)()
            assert answer is not None
            answers.append(answer)
        return answers

    def begin(self, queries: Sequence[Query], serving: Serving, *, together: bool = True) -> Finish:
        """Search what is served for queries; what is returned makes their answers.

        Where several ask alike they are searched for together, unless told not to. Then a few may
        have no answer yet, but None: these have to be searched for by themselves.
        """
        with self._metrics.stages["embed"].time():
            plans = [
                query if isinstance(query, Exception) else _attempt(self._plan, serving, query)
                for query in queries
            ]
        with self._metrics.stages["search"].time():
            groups = _alike(plans) if together else []
            shared = {number for members, _ in groups for number in members}
            alone = {
                number: made if isinstance(made, Exception) else _attempt(search, made)
                for number, made in enumerate(plans)
                if number not in shared
            }

        def finish() -> list[TopKAnswer | Exception | None]:
            found: dict[int, Found | Exception | None] = {**alone}
            with self._metrics.stages["rank"].time():
                for members, rank in groups:
                    ranked = _attempt(rank)
                    if not isinstance(ranked, Exception):  # else each fails, or not, by itself
                        found.update(zip(members, ranked, strict=True))
            answers = [_answer(made, found.get(number)) for number, made in enumerate(plans)]
            self._count(answers, queries)
            return answers

        return finish

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
        self, results: Sequence[TopKAnswer | Exception | None], queries: Sequence[Query]
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


def _alike(plans: Sequence[Plan | Exception]) -> list[tuple[list[int], Rank]]:
    """Search together for plans that differ in their vectors and exclusions alone."""
    alike: dict[tuple[FlatIndex, int], list[int]] = {}
    for number, made in enumerate(plans):
        if isinstance(made, Plan) and made.can_share:
            alike.setdefault((made.variant.index, made.query.k), []).append(number)
    groups = []
    for (index, k), members in alike.items():
        group = [made for number in members if isinstance(made := plans[number], Plan)]
        vectors = np.concatenate([made.vector for made in group]).reshape(len(group), -1)
        rank = _attempt(index.begin_many, vectors, k, [made.excluded for made in group])
        if not isinstance(rank, Exception):  # else each fails, or not, by itself
            groups.append((members, rank))
    return groups


def _attempt(function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T | Exception:
    """Return what a function returns or raises: one entry's error must not be another's."""
    try:
        return function(*arguments, **named)
    except Exception as error:
        return error


def _answer(
    made: Plan | Exception, found: Found | Exception | None
) -> TopKAnswer | Exception | None:
    if isinstance(made, Exception):
        return made
    if isinstance(found, tuple):
        return _attempt(_filled, made, *found)
    return found


def _filled(made: Plan, scores: Scores, rows: Rows) -> TopKAnswer:
    query = made.query
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
