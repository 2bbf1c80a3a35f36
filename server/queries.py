"""What callers ask, as plain values. A query that exists is valid in shape.

Whether its ids exist depends on the version and is the recommender's business.
"""

from dataclasses import InitVar, dataclass

import numpy as np
from numpy.typing import NDArray

from server.errors import InvalidQuery

_LARGEST = 1e15


@dataclass(frozen=True)
class Limits:
    """The largest requests that are answered."""

    k: int = 1000
    list_length: int = 10_000


@dataclass(frozen=True)
class KnownUser:
    """A user of the training data."""

    user_id: str


@dataclass(frozen=True)
class KnownItem:
    """An item of the catalogue."""

    item_id: str


@dataclass(frozen=True, eq=False)
class Vector:
    """A raw embedding (D,)."""

    values: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Refuse an empty vector, NaN, and numbers whose products would overflow a float."""
        if len(self.values) == 0:
            raise InvalidQuery("embedding.values", "is empty")
        if not (np.abs(self.values) <= _LARGEST).all():
            raise InvalidQuery(
                "embedding.values", f"holds a number that is not within {_LARGEST:g}"
            )


Subject = KnownUser | KnownItem | Vector


@dataclass(frozen=True)
class Target:
    """Which version and variant are to answer; empty text means the server's own choice."""

    version: str = ""
    alias: str = ""
    variant: str = ""


@dataclass(frozen=True)
class TopKQuery:
    """The k best items for a subject."""

    subject: Subject
    k: int
    limits: InitVar[Limits]
    target: Target = Target()
    include_seen: bool = False
    exclude_item_ids: tuple[str, ...] = ()
    allow_item_ids: tuple[str, ...] = ()
    with_probabilities: bool = False
    with_titles: bool = False

    def __post_init__(self, limits: Limits) -> None:
        """Check k and the lists."""
        if not 1 <= self.k <= limits.k:
            raise InvalidQuery("k", f"is {self.k}; it must be 1 to {limits.k}")
        if self.exclude_item_ids and self.allow_item_ids:
            raise InvalidQuery("allow_item_ids", "cannot be combined with exclude_item_ids")
        for field in ("exclude_item_ids", "allow_item_ids"):
            _check_length(field, getattr(self, field), limits)


@dataclass(frozen=True)
class ScoreQuery:
    """The scores of named items for a subject."""

    subject: Subject
    item_ids: tuple[str, ...]
    limits: InitVar[Limits]
    target: Target = Target()

    def __post_init__(self, limits: Limits) -> None:
        """Check the list."""
        if not self.item_ids:
            raise InvalidQuery("item_ids", "is empty; name the items to score")
        _check_length("item_ids", self.item_ids, limits)


def _check_length(field: str, ids: tuple[str, ...], limits: Limits) -> None:
    if len(ids) > limits.list_length:
        raise InvalidQuery(field, f"has {len(ids)} ids; at most {limits.list_length} are taken")
