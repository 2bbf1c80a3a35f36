"""The core: queries in, answers out, each from one snapshot. It has never heard of gRPC."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial

import numpy as np

from gnnrec_registry.files.arrays import Embeddings
from gnnrec_registry.scoring.ranking import NO_ROW, Rows
from gnnrec_server.errors import UnknownItem, UnknownUser
from gnnrec_server.index.exact import FlatIndex, Found, Rank
from gnnrec_server.process.cancellation import attempt, pause
from gnnrec_server.query.answer import ScoreAnswer, TopKAnswer, top_k_answer
from gnnrec_server.query.plan import Plan, list_entries, place, plan, search
from gnnrec_server.query.queries import ScoreQuery, TopKQuery
from gnnrec_server.query.routing import Serving
from gnnrec_server.telemetry.metrics import Metrics, UnknownKind
from gnnrec_server.version.snapshot import Snapshot

Query = TopKQuery | Plan | Exception
"""A query, the plan that was made of it before, or the error that it ended in."""

Result = TopKAnswer | Plan | Exception
"""An answer or an error; a plan where the effort was too small to find the answer for sure."""


class Effort(Enum):
    """How much a search may cost before it gives back its plan instead of an answer."""

    GLANCE = auto()
    """One look at the index, together with other queries: always short."""
    USUAL = auto()
    """A look at the index, and for a query with lists or filters a search of its own."""
    AGAIN = auto()
    """A second look: at the embeddings, for what the index's 8-bit codes could not tell."""
    WHOLE = auto()
    """Until there is an answer, if every item has to be scored."""


_KINDS: Mapping[type[Exception], UnknownKind] = {UnknownUser: "user", UnknownItem: "item"}


class Recommender:
    """Answers from the versions that are served; swapping them is one assignment."""

    def __init__(self, alias: str, metrics: Metrics) -> None:
        """Answer requests that name no version by `alias`; count into `metrics`."""
        self._metrics = metrics
        self.serving = Serving(alias)
        """What is served now."""
        self.numbers = 0
        """How many numbers the largest index holds: what a look at all of its items costs."""
        self._has_lists = False

    def swap(self, serving: Serving) -> None:
        """Answer from `serving` from now on; queries under way finish on what they began."""
        self.serving = serving.answering_like(self.serving)
        variants = [
            variant
            for resident in serving.residents.values()
            for variant in resident.snapshot.variants.values()
        ]
        self.numbers = max((variant.index.numbers for variant in variants), default=0)
        self._has_lists = any(variant.lists is not None for variant in variants)

    @property
    def snapshot(self) -> Snapshot:
        """What answers requests that name no version; raises NotReady before the first."""
        return self.serving.current

    def list_entries(self, query: TopKQuery | ScoreQuery) -> int:
        """Return at most how many entries of item lists add to a query's scores.

        It is 0 for a query that cannot be answered.
        """
        if not self._has_lists:
            return 0
        entries = attempt(self._list_entries, query)
        return 0 if isinstance(entries, Exception) else entries

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
        serving = self.serving
        found = self.search(queries, serving).answers()
        plans = [result for result in found if isinstance(result, Plan)]
        whole = iter(self.search(plans, serving, Effort.WHOLE).answers())
        answers = [next(whole) if isinstance(result, Plan) else result for result in found]
        return [answer for answer in answers if not isinstance(answer, Plan)]

    def search(
        self, queries: Sequence[Query], serving: Serving, effort: Effort = Effort.USUAL
    ) -> "Search":
        """Find candidates for queries in what is served; `answers` of the result ranks them.

        Queries that ask alike are searched for together. Unless the effort is WHOLE, the results
        of some may be plans, which this takes in place of the queries.
        """
        with self._metrics.stages["embed"].time():
            plans = [self._planned(query, serving) for query in queries]
        with self._metrics.stages["search"].time():
            groups = _find_together(plans, effort)
            shared = {number for members, _ in groups for number in members}
            alone: dict[int, Found | Exception] = {
                number: attempt(search, made)
                for number, made in enumerate(plans)
                if isinstance(made, Plan)
                and number not in shared
                and (effort is Effort.WHOLE or (effort is Effort.USUAL and not made.can_share))
            }
        return Search(self._metrics, plans, groups, alone)

    def score(self, query: ScoreQuery) -> ScoreAnswer:
        """Return the score of each named item."""
        snapshot = self.serving.choose(query.target, query.subject)
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
            found != NO_ROW,
            variant.scores(placed.vector, found, placed.history),
            np.float32(0),
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

    def _planned(self, query: Query, serving: Serving) -> Plan | Exception:
        pause()
        return attempt(self._plan, serving, query) if isinstance(query, TopKQuery) else query

    def _list_entries(self, query: TopKQuery | ScoreQuery) -> int:
        snapshot = self.serving.choose(query.target, query.subject)
        return list_entries(snapshot, snapshot.variant(query.target.variant), query.subject)

    def _plan(self, serving: Serving, query: TopKQuery) -> Plan:
        return plan(serving.choose(query.target, query.subject), query, self._metrics)


@dataclass(slots=True, eq=False)
class Search:
    """Candidates that were found for some queries.

    To find them is the long part, in which FAISS and ONNX Runtime leave the interpreter to other
    threads. To rank them is short and takes the interpreter, so `answers` may be called by another
    thread than the one that searched.
    """

    metrics: Metrics
    plans: Sequence[Plan | Exception]
    groups: Sequence[tuple[list[int], Rank]]
    """Queries that were searched for together, by their places, and what ranks their candidates."""
    alone: Mapping[int, Found | Exception]
    """What was found for queries that were searched for one by one, by their places."""

    def answers(self) -> list[Result]:
        """Rank the candidates and return the results in the order of the queries; call it once."""
        found: dict[int, Found | Exception | None] = {**self.alone}
        with self.metrics.stages["rank"].time():
            for members, rank in self.groups:
                ranked = attempt(rank)
                if not isinstance(ranked, Exception):  # else each fails, or not, by itself
                    found.update(zip(members, ranked, strict=True))
        results = [_result(made, found.get(number)) for number, made in enumerate(self.plans)]
        self._count(results)
        return results

    def _count(self, results: Sequence[Result]) -> None:
        asked: Counter[int] = Counter()
        short = 0
        for made, result in zip(self.plans, results, strict=True):
            if isinstance(result, TopKAnswer) and isinstance(made, Plan):
                asked[made.query.k] += 1
                short += len(result.rows) < made.query.k
                if result.unknown_item_ids:
                    self.metrics.count_unknown("listed_item", len(result.unknown_item_ids))
            elif isinstance(result, UnknownUser | UnknownItem):
                self.metrics.count_unknown(_KINDS[type(result)])
        self.metrics.count_answers(asked, short)


def _result(made: Plan | Exception, found: Found | Exception | None) -> Result:
    if isinstance(made, Exception):
        return made
    if isinstance(found, tuple):
        return attempt(top_k_answer, made, *found)
    return made if found is None else found


def _find_together(
    plans: Sequence[Plan | Exception], effort: Effort
) -> list[tuple[list[int], Rank]]:
    """Find candidates for plans that differ in their vectors and exclusions alone, in one search.

    Returns for each such search the places of its plans, and what ranks the candidates.
    """
    alike: dict[tuple[FlatIndex, int], list[int]] = {}
    for number, made in enumerate(plans):
        if isinstance(made, Plan) and made.can_share:
            alike.setdefault((made.variant.index, made.depth), []).append(number)
    groups = []
    for (index, depth), members in alike.items():
        group = [made for number in members if isinstance(made := plans[number], Plan)]
        vectors = np.concatenate([made.vector for made in group]).reshape(len(group), -1)
        excluded = [made.excluded for made in group]
        rank = attempt(_finder(index, effort), vectors, depth, excluded)
        if any(made.has_lists for made in group) and not isinstance(rank, Exception):
            rank = attempt(_with_lists, group, rank)
        if not isinstance(rank, Exception):  # else each fails, or not, by itself
            groups.append((members, rank))
    return groups


def _with_lists(group: Sequence[Plan], rank: Rank) -> Rank:
    """Rank candidates, and again with what lists add, which takes too long for the event loop."""
    found: list[Found | None] = []
    for made, line in zip(group, rank(), strict=True):
        pause()
        found.append(None if line is None else made.with_lists(line))
    return lambda: found


def _finder(index: FlatIndex, effort: Effort) -> Callable[[Embeddings, int, Sequence[Rows]], Rank]:
    match effort:
        case Effort.AGAIN:
            return index.find_again
        case Effort.WHOLE:
            return partial(_find_whole, index)
        case _:
            return index.find_many


def _find_whole(index: FlatIndex, vectors: Embeddings, k: int, excluded: Sequence[Rows]) -> Rank:
    found: list[Found | None] = [*index.search_many(vectors, k, excluded)]
    return lambda: found
