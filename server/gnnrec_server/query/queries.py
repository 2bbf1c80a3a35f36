"""What callers ask, as plain values. A query that exists is valid in shape.

Whether its ids exist depends on the version and is the recommender's business.
"""

from collections.abc import Mapping, Sized
from dataclasses import InitVar, dataclass, field

import numpy as np
from numpy.typing import NDArray

from gnnrec_registry.features.encoders import Value
from gnnrec_server.errors import InvalidQuery
from gnnrec_server.query.filters import AnyOf, Filter

_LARGEST = 1e15

# So many items are scored within a fraction of a millisecond.
_SHORT = 256


@dataclass(frozen=True)
class Limits:
    """The largest requests that are answered."""

    k: int = 1000
    list_length: int = 10_000
    batch_size: int = 256
    filters: int = 32


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


@dataclass(frozen=True)
class Interaction:
    """An item that a new user has interacted with, and how much that counts."""

    item_id: str
    weight: float = 1.0


@dataclass(frozen=True)
class NewUser:
    """A user unseen in training."""

    interactions: tuple[Interaction, ...] = ()
    features: Mapping[str, Value] = field(default_factory=dict)

    @property
    def weights(self) -> dict[str, float]:
        """How much the interactions with each item count together, by item id."""
        weights: dict[str, float] = {}
        for interaction in self.interactions:
            before = weights.get(interaction.item_id, 0.0)
            weights[interaction.item_id] = before + interaction.weight
        return weights

    def __post_init__(self) -> None:
        """Refuse a user of no interactions and features, and weights not in (0, 1e15]."""
        if not self.interactions and not self.features:
            raise InvalidQuery("new_user", "is empty; give interactions, features or both")
        for place, interaction in enumerate(self.interactions):
            if not 0 < interaction.weight <= _LARGEST:
                raise InvalidQuery(
                    f"new_user.interactions[{place}].weight",
                    f"is {interaction.weight:g}; it must be above 0 and at most {_LARGEST:g}",
                )


@dataclass(frozen=True)
class NewItem:
    """An item unseen in training."""

    features: Mapping[str, Value]

    def __post_init__(self) -> None:
        """Refuse an item without features."""
        if not self.features:
            raise InvalidQuery("new_item", "has no features; give at least one")


_KNOWN = KnownUser | KnownItem | Vector
Subject = KnownUser | KnownItem | Vector | NewUser | NewItem


def key_of(subject: Subject) -> bytes:
    """Return the bytes that identify a subject: its id, or the whole of its description."""
    match subject:
        case KnownUser(name) | KnownItem(name):
            return name.strip().encode()
        case Vector(values):
            return values.tobytes()
        case _:
            return repr(subject).encode()


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
    filters: tuple[Filter, ...] = ()
    with_probabilities: bool = False
    with_titles: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether it has no lists or filters and asks for a known user or item, or a vector."""
        lists = self.exclude_item_ids or self.allow_item_ids or self.filters
        return not lists and isinstance(self.subject, _KNOWN)

    def __post_init__(self, limits: Limits) -> None:
        """Check k, the lists and the filters."""
        if not 1 <= self.k <= limits.k:
            raise InvalidQuery("k", f"is {self.k}; it must be 1 to {limits.k}")
        if self.exclude_item_ids and self.allow_item_ids:
            raise InvalidQuery("allow_item_ids", "cannot be combined with exclude_item_ids")
        check_length("exclude_item_ids", self.exclude_item_ids, limits)
        check_length("allow_item_ids", self.allow_item_ids, limits)
        _check_subject(self.subject, limits)
        if len(self.filters) > limits.filters:
            raise InvalidQuery(
                "filters", f"has {len(self.filters)} entries; at most {limits.filters} are taken"
            )
        for place, entry in enumerate(self.filters):
            entry.check(f"filters[{place}]")
            if isinstance(entry.condition, AnyOf):
                check_length(f"filters[{place}].any_of", entry.condition.values, limits)


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
        check_length("item_ids", self.item_ids, limits)
        _check_subject(self.subject, limits)

    @property
    def is_short(self) -> bool:
        """Whether it is answered sooner than it could be given to another thread."""
        return len(self.item_ids) <= _SHORT and isinstance(self.subject, _KNOWN)


def check_batch(size: int, limits: Limits) -> None:
    """Raise InvalidQuery unless a batch has a size that is answered."""
    if not 1 <= size <= limits.batch_size:
        raise InvalidQuery("requests", f"has {size} entries; it must have 1 to {limits.batch_size}")


def _check_subject(subject: Subject, limits: Limits) -> None:
    if isinstance(subject, NewUser):
        check_length("new_user.interactions", subject.interactions, limits)
        _check_features("new_user", subject.features, limits)
    elif isinstance(subject, NewItem):
        _check_features("new_item", subject.features, limits)


def _check_features(field: str, features: Mapping[str, Value], limits: Limits) -> None:
    """Bound the lists of texts; one of numbers has as many as the version says."""
    for name, value in features.items():
        if not isinstance(value, str | int | float) and value and isinstance(value[0], str):
            check_length(f"{field}.features[{name:.200}]", value, limits)


def check_length(field: str, entries: Sized, limits: Limits) -> None:
    """Raise InvalidQuery for a list that is longer than what is answered."""
    if len(entries) > limits.list_length:
        raise InvalidQuery(
            field, f"has {len(entries)} entries; at most {limits.list_length} are taken"
        )
