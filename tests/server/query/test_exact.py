"""Every answer equals brute force over the permitted items, whatever lists and filters say."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gnnrec_protos.v1 import recommender_pb2 as pb
from gnnrec_registry import FoldIn, ItemAttribute, ItemLists, ModelStore, Segment, VariantExport
from gnnrec_registry.features.encoders import Value
from gnnrec_registry.files.arrays import Embeddings
from gnnrec_registry.scoring.ranking import Scores
from gnnrec_server.errors import UnknownUser
from gnnrec_server.load.answer_cache import Reply
from gnnrec_server.load.lanes import Lanes, Replies
from gnnrec_server.load.search_thread import SearchThread
from gnnrec_server.load.waiting import WaitingRule
from gnnrec_server.query.answer import TopKAnswer
from gnnrec_server.query.filters import AnyOf, Filter, Range
from gnnrec_server.query.queries import (
    Interaction,
    KnownItem,
    KnownUser,
    Limits,
    NewUser,
    ScoreQuery,
    Subject,
    TopKQuery,
    Vector,
)
from gnnrec_server.query.recommender import Recommender
from gnnrec_server.rpc.replies import score_reply, top_k_reply
from gnnrec_server.telemetry.metrics import Metrics
from gnnrec_server.version import loader
from tests import item_lists, made
from tests.server.serving import serving_only

LIMITS = Limits()
SIZES = (1, 2, 7, 40, 150)
TOPICS = ("Art", "Maths", "maths", "Žluť")


@dataclass(frozen=True)
class World:
    """A recommender, and all that brute force needs to know of its version."""

    recommender: Recommender
    users: Embeddings
    items: Embeddings
    fold: Embeddings
    """What each item adds to a new user (I, 3)."""
    seen: list[list[int]]
    hours: list[float | None]
    topics: list[list[str]]
    level: list[str | None]
    lists: ItemLists | None
    liked: list[list[int]]
    """What of the seen each user liked: what has lists that count."""

    def ids(self) -> list[str]:
        return [f"i{row}" for row in range(len(self.items))]


@cache
def world(number: int) -> World:
    """Return a world of SIZES[number] items; every other has many equal scores.

    The first five worlds have no item lists, and the next five do.
    """
    number, has_lists = number % len(SIZES), number >= len(SIZES)
    generator = np.random.default_rng(number)
    count = SIZES[number]
    users = generator.standard_normal((4, 3)).astype(np.float32)
    items = generator.standard_normal((count, 3)).astype(np.float32)
    if number % 2:
        users, items = users.round(), items.round()
    seen = [
        sorted(generator.choice(count, generator.integers(count + 1), replace=False).tolist())
        for _ in users
    ]
    hours = [None if draw < 0.2 else float(round(10 * draw)) for draw in generator.random(count)]
    topics = [[text for text in TOPICS if generator.random() < 0.4] for _ in range(count)]
    level = [[None, "first", "second"][place] for place in generator.integers(3, size=count)]
    texts: list[Value | None] = [values or None for values in topics]
    attributes = [
        ItemAttribute("hours", "number", hours),
        ItemAttribute("topics", "texts", texts),
        ItemAttribute("level", "text", level),
    ]
    fold = generator.integers(-2, 3, (count, 3)).astype(np.float32)
    rule = FoldIn(segments=(Segment(width=3, degree_exponent=0.5),), weighted=True)
    lists = (
        item_lists.random_lists(count, 0.15, number, whole=bool(number % 2)) if has_lists else None
    )
    with TemporaryDirectory() as folder:
        export = made.export(users, items, seen, attributes=attributes)
        variants = {"lightgcn": VariantExport(users, items, fold=fold, fold_in=rule, lists=lists)}
        is_liked = generator.random(len(export.seen_items)) < 0.7
        export = replace(export, variants=variants, seen_liked=is_liked)
        loaded = loader.load(ModelStore(Path(folder), "toy").publish(export))
    recommender = Recommender("production", Metrics())
    recommender.swap(serving_only(loaded))
    marks = iter(is_liked.tolist())
    liked = [[row for row in rows if next(marks)] for rows in seen]
    return World(recommender, users, items, fold, seen, hours, topics, level, lists, liked)


def permitted(world: World, query: TopKQuery) -> set[int]:
    """Return the rows of the items that a query permits."""
    rows = set(range(len(world.items)))
    if query.allow_item_ids:
        rows = {row for row in rows if f"i{row}" in query.allow_item_ids}
    rows -= {row for row in rows if f"i{row}" in query.exclude_item_ids}
    match query.subject:
        case KnownUser(user_id) if not query.include_seen:
            rows -= set(world.seen[int(user_id[1:])])
        case KnownItem(item_id):
            rows -= {int(item_id[1:])}
        case NewUser(interactions) if not query.include_seen:
            rows -= {int(each.item_id[1:]) for each in interactions}
    for each in query.filters:
        rows = {row for row in rows if meets(world, row, each)}
    return rows


def meets(world: World, row: int, condition: Filter) -> bool:
    match condition.condition:
        case AnyOf(values):
            has = world.topics[row] if condition.field == "topics" else [world.level[row]]
            return any(text in values for text in has)
        case Range(low, high):
            hours = world.hours[row]
            return (
                hours is not None
                and (low is None or low <= hours)
                and (high is None or hours <= high)
            )


def brute_force(world: World, query: TopKQuery) -> tuple[list[str], list[float]]:
    """Score every permitted item in double precision; equal float32 scores by the lower row."""
    scores = all_scores(world, query.subject)
    order = sorted(permitted(world, query), key=lambda row: (-scores[row], row))[: query.k]
    return [f"i{row}" for row in order], [float(scores[row]) for row in order]


def all_scores(world: World, subject: Subject) -> Scores:
    """Return the score of every item (I,), word by word as the format defines it."""
    history: list[int] = []
    match subject:
        case KnownUser(user_id):
            vector = world.users[int(user_id[1:])]
            history = world.liked[int(user_id[1:])]
        case KnownItem(item_id):
            vector = world.items[int(item_id[1:])]
            history = [int(item_id[1:])]
        case Vector(values):
            vector = values
        case NewUser(interactions):
            vector = folded(world, interactions)
            known = {int(each.item_id[1:]) for each in interactions}
            history = sorted(row for row in known if row < len(world.items))
    return item_lists.scores(vector, world.items, world.lists, history)


def folded(world: World, interactions: Sequence[Interaction]) -> Embeddings:
    """Return the embedding of a new user; an item that is named twice counts with both weights."""
    had = [(int(each.item_id[1:]), each.weight) for each in interactions]
    known = [(row, weight) for row, weight in had if row < len(world.items)]
    total = sum(weight for _, weight in known)
    summed = np.zeros(3)
    for row, weight in known:
        summed += weight * world.fold[row].astype(np.float64)
    vector: Embeddings = (summed / total**0.5).astype(np.float32)
    return vector


@st.composite
def queries(draw: st.DrawFn, count: int) -> TopKQuery:
    """Draw a query for a catalogue of `count` items; ids in lists repeat, and some are unknown."""
    ids = st.lists(st.integers(0, count + 1).map(lambda row: f"i{row}"), max_size=2 * count)
    ends = st.none() | st.integers(0, 10).map(float)
    lists: dict[str, Any] = draw(
        st.just({})
        | st.fixed_dictionaries({"exclude_item_ids": ids.map(tuple)})
        | st.fixed_dictionaries({"allow_item_ids": ids.map(tuple)})
    )
    texts = st.lists(st.sampled_from((*TOPICS, "first", "none")), min_size=1).map(tuple)
    low, high = draw(ends), draw(ends)
    if low is not None and high is not None:
        low, high = min(low, high), max(low, high)
    filters = st.lists(
        st.builds(Filter, st.sampled_from(["topics", "level"]), st.builds(AnyOf, texts))
        | st.just(Filter("hours", Range(low, high))),
        max_size=3,
    )
    numbers = st.lists(st.integers(-2, 2), min_size=3, max_size=3)
    subject: Subject = draw(
        st.integers(0, 3).map(lambda row: KnownUser(f"u{row}"))
        | st.integers(0, count - 1).map(lambda row: KnownItem(f"i{row}"))
        | numbers.map(lambda values: Vector(np.array(values, np.float32)))
        | newcomers(count)
    )
    return TopKQuery(
        subject,
        draw(st.integers(1, count + 3) | st.just(5)),
        LIMITS,
        include_seen=draw(st.booleans()),
        filters=tuple(draw(filters)),
        with_probabilities=draw(st.booleans()),
        **lists,
    )


def newcomers(count: int) -> st.SearchStrategy[Subject]:
    """Draw a new user who had a known item, and others: the same again, or unknown ones."""

    def had(last: int) -> st.SearchStrategy[Interaction]:
        return st.builds(
            Interaction,
            st.integers(0, last).map(lambda row: f"i{row}"),
            st.integers(1, 3).map(float),
        )

    several = st.lists(had(count + 1), max_size=6)
    return st.builds(lambda one, more: NewUser((one, *more)), had(count - 1), several)


def batches() -> st.SearchStrategy[tuple[World, list[TopKQuery]]]:
    """Draw a world and up to 12 queries for it."""

    def of(number: int) -> st.SearchStrategy[tuple[World, list[TopKQuery]]]:
        some = st.lists(queries(SIZES[number % len(SIZES)]), min_size=1, max_size=12)
        return st.tuples(st.just(world(number)), some)

    return st.integers(0, 2 * len(SIZES) - 1).flatmap(of)


def check(world: World, query: TopKQuery, answer: TopKAnswer | Exception) -> None:
    assert isinstance(answer, TopKAnswer)
    assert (answer.item_ids, answer.scores.tolist()) == brute_force(world, query)
    assert len(answer.item_ids) == min(query.k, len(permitted(world, query)))
    listed = [*query.allow_item_ids, *query.exclude_item_ids]
    if isinstance(query.subject, NewUser):
        listed = [*(each.item_id for each in query.subject.interactions), *listed]
    assert answer.unknown_item_ids == list(
        dict.fromkeys(each for each in listed if each not in world.ids())
    )
    if answer.probabilities is not None and answer.item_ids:
        powers = np.exp(answer.scores.astype(float) - float(answer.scores[0]))
        np.testing.assert_allclose(answer.probabilities, powers / powers.sum(), rtol=1e-6)


@given(batches())
@settings(max_examples=60, deadline=None)
def test_single_and_batch_equal_brute_force(drawn: tuple[World, list[TopKQuery]]) -> None:
    world, several = drawn
    together = world.recommender.top_k_batch(several)
    for query, answer in zip(several, together, strict=True):
        check(world, query, world.recommender.top_k(query))
        check(world, query, answer)


@given(batches())
@settings(max_examples=25, deadline=None)
def test_scores_of_named_items_are_those_of_answers(drawn: tuple[World, list[TopKQuery]]) -> None:
    world, several = drawn
    for query in several:
        ids = [f"i{row}" for row in range(len(world.items) + 1)]
        answer = world.recommender.score(ScoreQuery(query.subject, tuple(ids), LIMITS))
        assert answer.scores.tolist() == [*all_scores(world, query.subject).tolist(), 0.0]


@given(batches())
@settings(max_examples=25, deadline=None)
def test_what_is_answered_together_equals_brute_force_and_the_messages_of_protobuf(
    drawn: tuple[World, list[TopKQuery]],
) -> None:
    """As in a server: by the search thread, several queries in a search, to bytes of messages."""
    world, several = drawn
    metrics = Metrics()
    lanes = Lanes(
        SearchThread(WaitingRule(0)),
        SearchThread(WaitingRule(0), together=False),
        world.recommender,
        Replies(top_k_reply, score_reply),
        metrics,
    )

    async def ask() -> list[Reply]:
        return await asyncio.gather(*map(lanes.top_k, several))

    try:
        replies = asyncio.run(ask())
    finally:
        lanes.short.shutdown()
        lanes.long.shutdown()
    for query, reply in zip(several, replies, strict=True):
        message = pb.TopKResponse.FromString(reply.content)
        expected = brute_force(world, query)
        assert (list(message.item_ids), list(message.scores)) == expected
        assert message.SerializeToString() == reply.content
        assert (message.version, message.variant) == (reply.version, reply.variant)


@given(batches(), st.integers(0, 12))
@settings(max_examples=20, deadline=None)
def test_an_entry_that_fails_changes_no_other(
    drawn: tuple[World, list[TopKQuery]], place: int
) -> None:
    world, several = drawn
    wrong = replace(several[0], subject=KnownUser("nobody"), limits=LIMITS)
    several.insert(place, wrong)
    place = several.index(wrong)
    for number, answer in enumerate(world.recommender.top_k_batch(several)):
        if number == place:
            assert isinstance(answer, UnknownUser)
        else:
            check(world, several[number], answer)


def test_every_way_to_search_has_its_own_answer() -> None:
    ways: Sequence[dict[str, Any]] = (
        {},
        {"exclude_item_ids": ("i1", "i1", "i999")},
        {"allow_item_ids": ("i3", "i3", "i20", "i21")},
        {"filters": (Filter("hours", Range(min=3)), Filter("topics", AnyOf(("Art", "Maths"))))},
        {"filters": (Filter("level", AnyOf(("first",))),), "exclude_item_ids": ("i2",)},
        {"filters": (Filter("hours", Range()),), "allow_item_ids": ("i3", "i20", "i21")},
    )
    here = world(9)
    asked = [TopKQuery(KnownUser("u1"), 6, LIMITS, include_seen=True, **way) for way in ways]
    answers = here.recommender.top_k_batch(asked)
    for query, answer in zip(asked, answers, strict=True):
        check(here, query, answer)
    assert len({tuple(brute_force(here, query)[0]) for query in asked}) == len(ways)
