"""The core: queries in, answers out, from one snapshot each. It has never heard of gRPC."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import ParamSpec, TypeVar

import numpy as np

from gnnrec_registry.arrays import Embeddings
from gnnrec_registry.ranking import NO_ROW, Rows, Scores
from gnnrec_server.errors import DeadlinePassed, UnknownItem, UnknownUser
from gnnrec_server.index.exact import FlatIndex, Found, Rank
from gnnrec_server.process.cancellation import pause
from gnnrec_server.query.plan import Plan, place, plan, search
from gnnrec_server.query.queries import ScoreQuery, TopKQuery
from gnnrec_server.query.routing import Serving
from gnnrec_server.telemetry.metrics import Metrics, UnknownKind
from gnnrec_server.version.snapshot import Snapshot

P = ParamSpec("P")
T = TypeVar("T")

Query = TopKQuery | Plan | Exception
"""What is asked, the search that it comes to, or why it cannot be asked."""


class Effort(Enum):
    """How far a search goes."""

    GLANCE = auto()
    """One look at the index, together with others: always short."""
    USUAL = auto()
    """That, and what has lists or filters of its own, by itself."""
    AGAIN = auto()
    """A second look, at the embeddings themselves, for what codes could not tell."""
    WHOLE = auto()
    """Until everything has its answer."""


_KINDS: Mapping[type[Exception], UnknownKind] = {UnknownUser: "user", UnknownItem: "item"}


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


Result = TopKAnswer | Plan | Exception
"""An answer; where the effort was not enough for one, the search that is yet to be made."""

Finish = Callable[[], list[Result]]
"""Makes the answers of what was searched for, in order."""


class Recommender:
    """Answers from the versions that are served; swapping them is one assignment."""

    def __init__(self, alias: str, metrics: Metrics) -> None:
        """Answer requests that name no version by `alias`; count into `metrics`."""
        self._metrics = metrics
        self._serving = Serving(alias)
        self.numbers = 0
        """How many numbers the largest index holds: what a look at all of its items costs."""

    def swap(self, serving: Serving) -> None:
        """Answer from `serving` from now on; queries under way finish on what they began."""
        self._serving = serving.answering_like(self._serving)
        variants = [
            variant
            for resident in serving.residents.values()
            for variant in resident.snapshot.variants.values()
        ]
        self.numbers = max((variant.index.numbers for variant in variants), default=0)

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
        found = self.begin(queries, serving)()
        plans = [each for each in found if isinstance(each, Plan)]
        whole = iter(self.begin(plans, serving, Effort.WHOLE)())
        answers = [next(whole) if isinstance(each, Plan) else each for each in found]
        return [each for each in answers if not isinstance(each, Plan)]

    def begin(
        self, queries: Sequence[Query], serving: Serving, effort: Effort = Effort.USUAL
    ) -> Finish:
        """Search what is served for queries; what is returned makes their answers.

        Where several ask alike they are searched for together. Unless the effort is WHOLE, some may
        have no answer then but a plan, which this takes in place of the query.
        """
        with self._metrics.stages["embed"].time():
            plans = [self._attempt_plan(query, serving) for query in queries]
        with self._metrics.stages["search"].time():
            groups = _alike(plans, effort)
            shared = {number for members, _ in groups for number in members}
            alone: dict[int, Found | Exception] = {
                number: _attempt(search, made)
                for number, made in enumerate(plans)
                if isinstance(made, Plan)
                and number not in shared
                and (effort is Effort.WHOLE or (effort is Effort.USUAL and not made.can_share))
            }

        def finish() -> list[Result]:
            found: dict[int, Found | Exception | None] = {**alone}
            with self._metrics.stages["rank"].time():
                for members, rank in groups:
                    ranked = _attempt(rank)
                    if not isinstance(ranked, Exception):  # else each fails, or not, by itself
                        found.update(zip(members, ranked, strict=True))
            answers = [_answer(made, found.get(number)) for number, made in enumerate(plans)]
            self._count(answers, plans)
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
        distinct = list(dict.fromkeys(query.item_ids))
        found = snapshot.item_ids.rows(distinct)
        scores = np.where(
            found != NO_ROW, variant.index.scores(placed.vector, found), np.float32(0)
        )
        rows = found
        if len(distinct) < len(query.item_ids):
            places = {item_id: place for place, item_id in enumerate(distinct)}
            again = [places[item_id] for item_id in query.item_ids]
            rows, scores = found[again], scores[again]
        known = rows != NO_ROW
        unknown = len(placed.unknown_item_ids) + len(known) - int(np.count_nonzero(known))
        if unknown:
            self._metrics.count_unknown("listed_item", unknown)
        return ScoreAnswer(
            version=snapshot.version,
            variant=variant.name,
            scores=scores,
            known=known.tolist(),
            unknown_item_ids=list(placed.unknown_item_ids),
        )

    def _attempt_plan(self, query: Query, serving: Serving) -> Plan | Exception:
        pause()
        return _attempt(self._plan, serving, query) if isinstance(query, TopKQuery) else query

    def _plan(self, serving: Serving, query: TopKQuery) -> Plan:
        return plan(serving.choose(query.target, query.subject), query, self._metrics)

    def _count(self, results: Sequence[Result], plans: Sequence[Plan | Exception]) -> None:
        asked: Counter[int] = Counter()
        short = 0
        for made, result in zip(plans, results, strict=True):
            if isinstance(result, TopKAnswer) and isinstance(made, Plan):
                asked[made.query.k] += 1
                short += len(result.rows) < made.query.k
                if result.unknown_item_ids:
                    self._metrics.count_unknown("listed_item", len(result.unknown_item_ids))
            elif isinstance(result, UnknownUser | UnknownItem):
                self._metrics.count_unknown(_KINDS[type(result)])
        self._metrics.count_answers(asked, short)


def _alike(plans: Sequence[Plan | Exception], effort: Effort) -> list[tuple[list[int], Rank]]:
    """Search together for plans that differ in their vectors and exclusions alone."""
    alike: dict[tuple[FlatIndex, int], list[int]] = {}
    for number, made in enumerate(plans):
        if isinstance(made, Plan) and made.can_share:
            alike.setdefault((made.variant.index, made.query.k), []).append(number)
    groups = []
    for (index, k), members in alike.items():
        group = [made for number in members if isinstance(made := plans[number], Plan)]
        vectors = np.concatenate([made.vector for made in group]).reshape(len(group), -1)
        excluded = [made.excluded for made in group]
        rank = _attempt(_how(index, effort), vectors, k, excluded)
        if not isinstance(rank, Exception):  # else each fails, or not, by itself
            groups.append((members, rank))
    return groups


def _how(index: FlatIndex, effort: Effort) -> Callable[[Embeddings, int, Sequence[Rows]], Rank]:
    match effort:
        case Effort.AGAIN:
            return index.begin_again
        case Effort.WHOLE:
            return partial(_begin_whole, index)
        case _:
            return index.begin_many


def _begin_whole(index: FlatIndex, vectors: Embeddings, k: int, excluded: Sequence[Rows]) -> Rank:
    found: list[Found | None] = [*index.search_many(vectors, k, excluded)]
    return lambda: found


def _attempt(function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T | Exception:
    """Return what a function returns or raises: one entry's error must not be another's.

    Where nobody waits any more that ends them all.
    """
    try:
        return function(*arguments, **named)
    except DeadlinePassed:
        raise
    except Exception as error:
        return error


def _answer(made: Plan | Exception, found: Found | Exception | None) -> Result:
    if isinstance(made, Exception):
        return made
    if isinstance(found, tuple):
        return _attempt(_filled, made, *found)
    return made if found is None else found


def _filled(made: Plan, scores: Scores, rows: Rows) -> TopKAnswer:
    query = made.query
    return TopKAnswer(
        made.snapshot,
        made.variant.name,
        query,
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
    if np.isinf(scores[0]):  # beyond the range of a float: all that are there share alike
        powers = (scores == scores[0]).astype(np.float64)
    else:
        powers = np.exp(scores.astype(np.float64) - scores[0])
    shares: Scores = (powers / powers.sum()).astype(np.float32)
    return shares
