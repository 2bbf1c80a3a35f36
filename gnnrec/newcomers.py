"""Users and items that training has not seen, as a caller describes them."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from protos.gnnrec.v1 import recommender_pb2 as pb

Features = Mapping[str, float | str | Sequence[str] | Sequence[float]]
"""Raw values by column name, as in the training data: a number, a text, several texts or, for a
vector, several numbers."""


@dataclass(frozen=True)
class NewUser:
    """A user whom training has not seen: item ids (or weights by item id), features or both.

    Raises ValueError for a value of another type.
    """

    interactions: Sequence[str] | Mapping[str, float] = ()
    features: Features = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.to_message()

    def to_message(self) -> pb.NewUser:
        """Return it as the wire has it."""
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
        """Return it as the wire has it."""
        return pb.NewItem(features=_features(self.features))


def _interactions(given: Sequence[str] | Mapping[str, float]) -> list[pb.Interaction]:
    is_list = isinstance(given, Sequence) and not isinstance(given, str)
    if not (is_list or isinstance(given, Mapping)) or not all(isinstance(i, str) for i in given):
        raise ValueError(f"interactions are item ids, or weights by item id, not {given!r:.60}")
    if not isinstance(given, Mapping):
        return [pb.Interaction(item_id=item_id) for item_id in given]
    for item_id, weight in given.items():
        if not is_number(weight):
            raise ValueError(f"the weight of item {item_id!r} is a number, not {weight!r:.60}")
    return [pb.Interaction(item_id=item_id, weight=weight) for item_id, weight in given.items()]


def _features(features: Features) -> dict[str, pb.FeatureValue]:
    if not isinstance(features, Mapping):
        raise ValueError("features are values by column name")
    return {name: _feature(name, value) for name, value in features.items()}


def _feature(name: str, value: Any) -> pb.FeatureValue:
    if is_number(value):
        return pb.FeatureValue(number=value)
    if isinstance(value, str):
        return pb.FeatureValue(text=value)
    if isinstance(value, Sequence) and all(isinstance(text, str) for text in value):
        return pb.FeatureValue(texts=pb.TextList(values=value))
    if isinstance(value, Sequence) and all(is_number(number) for number in value):
        return pb.FeatureValue(numbers=pb.NumberList(values=value))
    raise ValueError(
        f"feature {name!r} is a number, a text or a list of texts or numbers, not {value!r:.60}"
    )


def is_number(value: object) -> TypeGuard[float]:
    """Tell whether it is a number that a double can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, float) or abs(value) <= sys.float_info.max
