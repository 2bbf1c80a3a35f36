"""Messages of RecommenderService to plain values and back."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
from google.rpc import code_pb2, status_pb2
from numpy.typing import NDArray

from gnnrec_protos.v1 import recommender_pb2 as pb
from gnnrec_registry.features import Value
from gnnrec_server.errors import InvalidQuery
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
from gnnrec_server.query.recommender import ScoreAnswer, TopKAnswer
from gnnrec_server.version.ids import varint

# Most requests have nothing behind include_seen, and to look at each empty field takes time.
_LAST_PLAIN = pb.TopKRequest.INCLUDE_SEEN_FIELD_NUMBER
_LAST_ID = pb.TopKRequest.ITEM_ID_FIELD_NUMBER

# To read so many texts or numbers, and to look them up, takes well below a millisecond.
_LIGHT = 512
_PIECE = 512
# What an item that a new user had costs beside a text: a model may look at all who had it.
_INTERACTION = 16


def light_top_k(request: pb.TopKRequest, limits: Limits) -> TopKQuery | None:
    """Return the query of a message, or raise InvalidQuery; None unless it is light to read.

    A message that lists much takes tens of milliseconds to become a query, for which the event loop
    has no time.
    """
    fields = request.ListFields()
    if fields and fields[0][0].number <= _LAST_ID and fields[-1][0].number <= _LAST_PLAIN:
        return TopKQuery(_subject(request), request.k, limits, include_seen=request.include_seen)
    listed = _said_of(request) + len(request.exclude_item_ids) + len(request.allow_item_ids)
    listed += sum(1 + len(each.any_of.values) for each in request.filters)
    return parse_top_k(request, limits) if listed <= _LIGHT else None


def light_score(request: pb.ScoreRequest, limits: Limits) -> ScoreQuery | None:
    """Return the query of a message, or raise InvalidQuery; None unless it is light to read."""
    listed = _said_of(request) + len(request.item_ids)
    return parse_score(request, limits) if listed <= _LIGHT else None


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
        subject=_subject(request),
        k=request.k,
        limits=limits,
        target=_target(request),
        include_seen=request.include_seen,
        exclude_item_ids=_texts(request.exclude_item_ids),
        allow_item_ids=_texts(request.allow_item_ids),
        filters=tuple(_filter(place, each, limits) for place, each in enumerate(request.filters)),
        with_probabilities=request.with_probabilities,
        with_titles=request.with_titles,
    )


def parse_score(request: pb.ScoreRequest, limits: Limits) -> ScoreQuery:
    """Return the query of a message, or raise InvalidQuery."""
    return ScoreQuery(
        subject=_subject(request),
        item_ids=_texts(request.item_ids),
        limits=limits,
        target=_target(request),
    )


def parse(request: pb.TopKRequest | pb.ScoreRequest, limits: Limits) -> TopKQuery | ScoreQuery:
    """Return the query of either message, or raise InvalidQuery."""
    if isinstance(request, pb.ScoreRequest):
        return parse_score(request, limits)
    return parse_top_k(request, limits)


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


def _target(request: pb.TopKRequest | pb.ScoreRequest) -> Target:
    return Target(version=request.version, alias=request.alias, variant=request.variant)


@dataclass(slots=True, eq=False)
class Reply:
    """An answer as it goes over the wire, and what is counted of it."""

    content: bytes
    version: str
    variant: str
    k: int = 0
    """Of a TopK whose answer depends on nothing but its bytes and what is served; else 0."""
    short: bool = False


_MESSAGES: dict[str, tuple[Any, Any]] = {
    "TopK": (pb.TopKRequest, pb.TopKResponse),
    "BatchTopK": (pb.BatchTopKRequest, pb.BatchTopKResponse),
    "Score": (pb.ScoreRequest, pb.ScoreResponse),
}


def read_request(rpc: str, content: bytes) -> Any:
    """Return the request of an RPC of which its bytes are kept."""
    return _MESSAGES[rpc][0].FromString(content)


def read_answer(rpc: str, reply: Reply) -> Any:
    """Return the message that a reply stands for."""
    return _MESSAGES[rpc][1].FromString(reply.content)


def top_k_reply(answer: TopKAnswer) -> Reply:
    """Convert an answer."""
    query = answer.query
    plain = isinstance(query.subject, KnownUser | KnownItem | Vector)
    k = query.k if plain and not answer.unknown_item_ids else 0
    short = len(answer.rows) < query.k
    return Reply(_top_k(answer), answer.version, answer.variant, k, short)


def batch_entry(answer: TopKAnswer | status_pb2.Status) -> bytes:
    """Convert the answer, or the error in its place, of one entry of a batch."""
    if isinstance(answer, status_pb2.Status):
        entry = _field(_2, answer.SerializeToString())
    else:
        entry = _field(_1, _top_k(answer))
    return _field(_1, entry)


def batch_reply(entries: Sequence[bytes], max_bytes: int, too_large: bytes) -> Reply:
    """Put a batch's entries together.

    Those that would make more than `max_bytes` of it have the entry `too_large` in their places;
    those before them are whole.
    """
    entries = list(entries)
    if sum(map(len, entries)) > max_bytes:
        left = max_bytes - len(too_large) * len(entries)
        for place, entry in enumerate(entries):
            if len(entry) - len(too_large) > left:
                entries[place] = too_large
            else:
                left -= len(entry) - len(too_large)
    return Reply(b"".join(entries), "", "")


def score_reply(answer: ScoreAnswer) -> Reply:
    """Convert an answer."""
    unknown = answer.unknown_item_ids
    content = [
        _head(answer.version, answer.variant),
        _floats(_3, answer.scores),
        _field(_4, bytes(answer.known)),
        pb.ScoreResponse(unknown_item_ids=unknown).SerializeToString() if unknown else b"",
    ]
    return Reply(b"".join(content), answer.version, answer.variant)


# Messages are put together from bytes that stand ready. To make 20 texts and hand them to protobuf
# would cost as much as to search for them. A field is its number and kind, its length, its content.
_1, _2, _3, _4, _5 = (bytes([number << 3 | 2]) for number in range(1, 6))


def _top_k(answer: TopKAnswer) -> bytes:
    parts = [_head(answer.version, answer.variant)]
    if len(answer.rows):
        parts += [_3, _3.join(answer.snapshot.item_ids.framed(answer.rows))]
        parts.append(_floats(_4, answer.scores))
        if answer.probabilities is not None:
            parts.append(_floats(_5, answer.probabilities))
    if answer.titles or answer.unknown_item_ids:
        rest = pb.TopKResponse(titles=answer.titles, unknown_item_ids=answer.unknown_item_ids)
        parts.append(rest.SerializeToString())
    return b"".join(parts)


@lru_cache(64)
def _head(version: str, variant: str) -> bytes:
    return _field(_1, version.encode()) + _field(_2, variant.encode())


def _floats(field: bytes, values: NDArray[np.float32]) -> bytes:
    return _field(field, values.astype("<f4", copy=False).tobytes())


def _field(field: bytes, content: bytes) -> bytes:
    return field + varint(len(content)) + content
