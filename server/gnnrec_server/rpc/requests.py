"""Messages of RecommenderService to queries. They say what is wrong with a field by its name."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

import numpy as np

from gnnrec_protos.v1 import recommender_pb2 as pb
from gnnrec_registry.features.encoders import Value
from gnnrec_server.errors import InvalidQuery
from gnnrec_server.load.lanes import Unparsed
from gnnrec_server.query.filters import AnyOf, Filter, Range
from gnnrec_server.query.queries import (
    Interaction,
    KnownItem,
    KnownUser,
    Limits,
    NewItem,
    NewUser,
    ScoreQuery,
    Subject,
    Target,
    TopKQuery,
    Vector,
    check_length,
)

# Most requests have nothing behind include_seen, and to look at each empty field takes time.
_LAST_PLAIN = pb.TopKRequest.INCLUDE_SEEN_FIELD_NUMBER
_LAST_ID = pb.TopKRequest.ITEM_ID_FIELD_NUMBER

# To read so many texts or numbers, and to look them up, takes well below a millisecond.
_LIGHT = 512
_PIECE = 512
# What an item that a new user had costs beside a text: a model may look at all who had it.
_INTERACTION = 16


def top_k(request: pb.TopKRequest, limits: Limits) -> TopKQuery | Unparsed[TopKQuery]:
    """Return the query of a message, or raise InvalidQuery; unparsed if that takes long.

    A message that lists much takes tens of milliseconds to become a query, for which the event loop
    has no time.
    """
    fields = request.ListFields()
    if fields and fields[0][0].number <= _LAST_ID and fields[-1][0].number <= _LAST_PLAIN:
        return TopKQuery(subject(request), request.k, limits, include_seen=request.include_seen)
    listed = _said_of(request) + len(request.exclude_item_ids) + len(request.allow_item_ids)
    listed += sum(1 + len(entry.any_of.values) for entry in request.filters)
    if listed <= _LIGHT:
        return parse_top_k(request, limits)
    return Unparsed(lambda: parse_top_k(request, limits))


def score(request: pb.ScoreRequest, limits: Limits) -> ScoreQuery | Unparsed[ScoreQuery]:
    """Return the query of a message, or raise InvalidQuery; unparsed if that takes long."""
    if _said_of(request) + len(request.item_ids) <= _LIGHT:
        return parse_score(request, limits)
    return Unparsed(lambda: parse_score(request, limits))


def _said_of(request: pb.TopKRequest | pb.ScoreRequest) -> int:
    """Count what is said of a query's subject."""
    match request.WhichOneof("query"):
        case "embedding":
            return len(request.embedding.values) // 8  # numbers are read faster than texts
        case "new_user":
            interactions = len(request.new_user.interactions)
            return _INTERACTION * interactions + _said(request.new_user.features)
        case "new_item":
            return _said(request.new_item.features)
        case _:
            return 0


def _said(features: Mapping[str, pb.FeatureValue]) -> int:
    return sum(
        1 + len(value.texts.values) + len(value.numbers.values) for value in features.values()
    )


def parse_top_k(request: pb.TopKRequest, limits: Limits) -> TopKQuery:
    """Return the query of a message, or raise InvalidQuery."""
    return TopKQuery(
        subject=subject(request),
        k=request.k,
        limits=limits,
        target=target(request),
        include_seen=request.include_seen,
        exclude_item_ids=_texts(request.exclude_item_ids),
        allow_item_ids=_texts(request.allow_item_ids),
        filters=tuple(_filter(place, entry, limits) for place, entry in enumerate(request.filters)),
        with_probabilities=request.with_probabilities,
        with_titles=request.with_titles,
    )


def parse_score(request: pb.ScoreRequest, limits: Limits) -> ScoreQuery:
    """Return the query of a message, or raise InvalidQuery."""
    return ScoreQuery(
        subject=subject(request),
        item_ids=_texts(request.item_ids),
        limits=limits,
        target=target(request),
    )


def subject(request: pb.TopKRequest | pb.ScoreRequest) -> Subject:
    """Return whom or what a message asks about, or raise InvalidQuery."""
    match request.WhichOneof("query"):
        case "user_id":
            return KnownUser(request.user_id)
        case "item_id":
            return KnownItem(request.item_id)
        case "embedding":
            return Vector(np.array(request.embedding.values, np.float32))
        case "new_user":
            return _new_user(request.new_user)
        case "new_item":
            return NewItem(_features("new_item", request.new_item.features))
        case _:
            raise InvalidQuery(
                "query", "is not set; set one of user_id, item_id, embedding, new_user, new_item"
            )


def _new_user(user: pb.NewUser) -> NewUser:
    interactions = (
        Interaction(entry.item_id, entry.weight if entry.HasField("weight") else 1.0)
        for entry in user.interactions
    )
    return NewUser(tuple(interactions), _features("new_user", user.features))


def _features(field: str, features: Mapping[str, pb.FeatureValue]) -> dict[str, Value]:
    return {name: _value(f"{field}.features[{name}]", value) for name, value in features.items()}


def _value(field: str, value: pb.FeatureValue) -> Value:
    match value.WhichOneof("kind"):
        case "number":
            return value.number
        case "text":
            return value.text
        case "texts":
            return list(value.texts.values)
        case "numbers":
            return list(value.numbers.values)
        case _:
            raise InvalidQuery(
                field, "has no value; set number, text, texts or numbers, or leave it out"
            )


def _texts(values: Sequence[str]) -> tuple[str, ...]:
    """Return texts of a message, a piece at a time: no other thread has its turn within a piece."""
    return tuple(values) if len(values) <= _PIECE else tuple(_by_pieces(values))


def _by_pieces(values: Sequence[str]) -> Iterator[str]:
    pieces = (values[first : first + _PIECE] for first in range(0, len(values), _PIECE))
    return chain.from_iterable(pieces)


def _filter(place: int, message: pb.AttributeFilter, limits: Limits) -> Filter:
    match message.WhichOneof("condition"):
        case "any_of":
            values = message.any_of.values
            check_length(f"filters[{place}].any_of", values, limits)
            # each once: to make, compare and free texts takes longer than all that follows
            return Filter(message.field, AnyOf(tuple(dict.fromkeys(_by_pieces(values)))))
        case "range":
            ends = message.range
            low = ends.min if ends.HasField("min") else None
            return Filter(message.field, Range(low, ends.max if ends.HasField("max") else None))
        case _:
            raise InvalidQuery(f"filters[{place}]", "has no condition; set any_of or range")


def target(request: pb.TopKRequest | pb.ScoreRequest) -> Target:
    """Return of which version and variant a message asks."""
    return Target(version=request.version, alias=request.alias, variant=request.variant)
