"""Messages of RecommenderService to plain values and back; no other module knows their fields."""

from collections.abc import Iterator, Mapping

import numpy as np
from google.rpc import code_pb2

from protos.gnnrec.v1 import recommender_pb2 as pb
from registry.features import Value
from server.errors import InvalidQuery
from server.filters import AnyOf, Filter, Range
from server.queries import (
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
)
from server.recommender import ScoreAnswer, TopKAnswer


def parse_top_k(request: pb.TopKRequest, limits: Limits) -> TopKQuery:
    """Return the query of a message, or raise InvalidQuery."""
    return TopKQuery(
        subject=_subject(request),
        k=request.k,
        limits=limits,
        target=_target(request),
        include_seen=request.include_seen,
        exclude_item_ids=tuple(request.exclude_item_ids),
        allow_item_ids=tuple(request.allow_item_ids),
        filters=tuple(_filter(place, each) for place, each in enumerate(request.filters)),
        with_probabilities=request.with_probabilities,
        with_titles=request.with_titles,
    )


def parse_score(request: pb.ScoreRequest, limits: Limits) -> ScoreQuery:
    """Return the query of a message, or raise InvalidQuery."""
    return ScoreQuery(
        subject=_subject(request),
        item_ids=tuple(request.item_ids),
        limits=limits,
        target=_target(request),
    )


def asked(request: pb.TopKRequest | pb.ScoreRequest) -> tuple[Target, Subject]:
    """Return of what and for whom a message asks, or raise InvalidQuery."""
    return _target(request), _subject(request)


def entries(
    request: pb.BatchTopKRequest, response: pb.BatchTopKResponse
) -> Iterator[tuple[pb.TopKRequest, pb.TopKRequest | pb.TopKResponse, str]]:
    """Return each request of a batch with its answer, or itself if it failed, and its code."""
    for each, entry in zip(request.requests, response.entries, strict=True):
        if entry.WhichOneof("result") == "response":
            yield each, entry.response, "OK"
        else:
            yield each, each, code_pb2.Code.Name(entry.error.code)


def _subject(request: pb.TopKRequest | pb.ScoreRequest) -> Subject:
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


def _filter(place: int, message: pb.AttributeFilter) -> Filter:
    match message.WhichOneof("condition"):
        case "any_of":
            return Filter(message.field, AnyOf(tuple(message.any_of.values)))
        case "range":
            ends = message.range
            low = ends.min if ends.HasField("min") else None
            return Filter(message.field, Range(low, ends.max if ends.HasField("max") else None))
        case _:
            raise InvalidQuery(f"filters[{place}]", "has no condition; set any_of or range")


def _target(request: pb.TopKRequest | pb.ScoreRequest) -> Target:
    return Target(version=request.version, alias=request.alias, variant=request.variant)


def top_k_response(answer: TopKAnswer) -> pb.TopKResponse:
    """Convert an answer."""
    return pb.TopKResponse(
        version=answer.version,
        variant=answer.variant,
        item_ids=answer.item_ids,
        scores=answer.scores.tolist(),
        probabilities=() if answer.probabilities is None else answer.probabilities.tolist(),
        titles=answer.titles or (),
        unknown_item_ids=answer.unknown_item_ids,
    )


def score_response(answer: ScoreAnswer) -> pb.ScoreResponse:
    """Convert an answer."""
    return pb.ScoreResponse(
        version=answer.version,
        variant=answer.variant,
        scores=answer.scores.tolist(),
        known=answer.known,
        unknown_item_ids=answer.unknown_item_ids,
    )
