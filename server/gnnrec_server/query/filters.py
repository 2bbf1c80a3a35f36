"""Conditions on the items' attributes: as callers state them, and which items meet them.

I items.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gnnrec_registry.features.attributes import Attribute, Numbers
from gnnrec_server.errors import InvalidQuery, MissingAttributes
from gnnrec_server.index.exact import Mask
from gnnrec_server.process.cancellation import pause


@dataclass(frozen=True)
class AnyOf:
    """Items of which any text is one of these."""

    values: tuple[str, ...]


@dataclass(frozen=True)
class Range:
    """Items whose number lies between these, both included; None leaves an end open."""

    min: float | None = None
    max: float | None = None


@dataclass(frozen=True)
class Filter:
    """A condition on the attribute named `field`."""

    field: str
    condition: AnyOf | Range

    def check(self, where: str) -> None:
        """Raise InvalidQuery for a condition that could not be meant; `where` leads to it."""
        if not self.field:
            raise InvalidQuery(f"{where}.field", "is empty; name an attribute")
        if isinstance(self.condition, AnyOf):
            if not self.condition.values:
                raise InvalidQuery(f"{where}.any_of", "is empty; name the texts to keep")
            return
        low, high = self.condition.min, self.condition.max
        for name, end in (("min", low), ("max", high)):
            if end is not None and not math.isfinite(end):
                raise InvalidQuery(
                    f"{where}.range.{name}", f"is {end}; it must be finite, or unset to be open"
                )
        if low is not None and high is not None and low > high:
            raise InvalidQuery(f"{where}.range", f"has min {low:g} above max {high:g}")


def meet(
    filters: Sequence[Filter], attributes: Mapping[str, Attribute], items: int, version: str
) -> Mask:
    """Return which items meet every filter: (I,).

    Raises MissingAttributes for a version without attributes, InvalidQuery for an attribute that
    it lacks and a condition that is not for the attribute's kind.
    """
    if not attributes:
        raise MissingAttributes(
            f"version {version!r} was published without attributes to filter by; name the items "
            "in allow_item_ids or exclude_item_ids instead"
        )
    met = np.ones(items, bool)
    applied: set[Filter] = set()
    for place, condition in enumerate(filters):
        before = len(applied)
        applied.add(condition)  # hashes once what may be ten thousand texts
        if len(applied) == before:
            continue
        pause()
        met &= _meets(condition, f"filters[{place}]", attributes, items, version)
    return met


def _meets(
    one: Filter, where: str, attributes: Mapping[str, Attribute], items: int, version: str
) -> Mask:
    """Return which items meet one filter: (I,)."""
    if one.field not in attributes:
        raise InvalidQuery(
            f"{where}.field",
            f"is {one.field!r:.200}, which version {version!r} lacks; its attributes: "
            f"{', '.join(attributes)}",
        )
    attribute = attributes[one.field]
    if isinstance(attribute, Numbers):
        if isinstance(one.condition, AnyOf):
            raise InvalidQuery(f"{where}.any_of", f"{one.field!r} is a number; set range")
        return _within(attribute, one.condition)
    if isinstance(one.condition, Range):
        raise InvalidQuery(f"{where}.range", f"{one.field!r} is of texts; set any_of")
    met = np.zeros(items, bool)
    met[attribute.rows_of_any(one.condition.values)] = True
    return met


def _within(attribute: Numbers, condition: Range) -> Mask:
    low = -math.inf if condition.min is None else condition.min
    high = math.inf if condition.max is None else condition.max
    met: Mask = (attribute.values >= low) & (attribute.values <= high)  # a missing NaN is in none
    return met
