"""Answers to the bytes of their messages, without protobuf's help.

To make 20 texts and hand them to protobuf would cost as much as to search for them; the ids of a
version stand in memory as messages hold them. A field of a message is its number and kind, its
length, and its content; a test has protobuf write the same bytes.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from google.rpc import status_pb2
from numpy.typing import NDArray

from gnnrec_protos.v1 import recommender_pb2 as pb
from gnnrec_server.load.answer_cache import Reply
from gnnrec_server.query.answer import ScoreAnswer, TopKAnswer
from gnnrec_server.query.queries import KnownItem, KnownUser, Vector
from gnnrec_server.version.ids import varint


def top_k_reply(answer: TopKAnswer) -> Reply:
    """Convert an answer."""
    query = answer.query
    plain = isinstance(query.subject, KnownUser | KnownItem | Vector)
    k = query.k if plain and not answer.unknown_item_ids else 0
    short = len(answer.rows) < query.k
    return Reply(_top_k(answer), answer.snapshot.version, answer.variant, k, short)


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


# A field's number and its kind, "bytes of a length that follows".
_1, _2, _3, _4, _5 = (bytes([number << 3 | 2]) for number in range(1, 6))


def _top_k(answer: TopKAnswer) -> bytes:
    parts = [_head(answer.snapshot.version, answer.variant)]
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
