"""Descriptions of new users and items, which training has not seen."""

import numbers
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from gnnrec.client.ids import Id, id_text
from gnnrec_protos.v1 import recommender_pb2 as pb

Features = Mapping[str, float | str | Sequence[str] | Sequence[float]]
"""Raw values by column name, as in the training data: a number, a text, several texts or, for a
vector, several numbers."""


@dataclass(frozen=True)
class NewUser:
    """A user whom training has not seen: item ids (or weights by item id), features or both.

    Raises ValueError for a value of another type.
    """

    interactions: Sequence[Id] | Mapping[Any, float] = ()
    features: Features = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.to_message()

    def to_message(self) -> pb.NewUser:
        """Return the protobuf message."""
        return pb.NewUser(
            interactions=_interactions(self.interactions), features=_features(self.features)
        )


@dataclass(frozen=True)
class NewItem:
    """An item that training has not seen; raises ValueError for a value of another type."""

    features: Features

    def __post_init__(self) -> None:
        self.to_message()

    def to_message(self) -> pb.NewItem:
        """Return the protobuf message."""
        return pb.NewItem(features=_features(self.features))


def _interactions(given: Sequence[Id] | Mapping[Any, float]) -> list[pb.Interaction]:
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise ValueError(f"interactions are item ids, or weights by item id, not {given!r:.60}")
    ids = [id_text("each of interactions", item_id) for item_id in given]
    if not isinstance(given, Mapping):
        return [pb.Interaction(item_id=item_id) for item_id in ids]
    for item_id, weight in given.items():
        if not is_number(weight):
            raise ValueError(f"the weight of item {item_id!r} is a number, not {weight!r:.60}")
    weights = zip(ids, given.values(), strict=True)
    return [pb.Interaction(item_id=item_id, weight=float(weight)) for item_id, weight in weights]


def _features(features: Features) -> dict[str, pb.FeatureValue]:
    if not isinstance(features, Mapping):
        raise ValueError("features are values by column name")
    return {name: _feature(name, value) for name, value in features.items()}


def _feature(name: str, value: Any) -> pb.FeatureValue:
    if is_number(value):
        return pb.FeatureValue(number=float(value))
    if isinstance(value, str):
        return pb.FeatureValue(text=value)
    if isinstance(value, Iterable) and not isinstance(value, bytes | Mapping):
        values = list(value)
        if all(isinstance(text, str) for text in values):
            return pb.FeatureValue(texts=pb.TextList(values=values))
        if all(is_number(number) for number in values):
            return pb.FeatureValue(numbers=pb.NumberList(values=map(float, values)))
    raise ValueError(
        f"feature {name!r} is a number, a text or a list of texts or numbers, not {value!r:.60}"
    )


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a value is a number that fits a double; a bool is none."""
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) <= sys.float_info.max
    return isinstance(value, numbers.Real)  # NumPy's numbers are such too
