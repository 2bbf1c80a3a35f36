"""Conversion of ids: callers have texts, integers or UUIDs, and the protocol has texts."""

import operator
from collections.abc import Iterable
from typing import Any, SupportsIndex
from uuid import UUID

Id = str | SupportsIndex | UUID
"""An id. An integer becomes its digits and a UUID its usual text, as in training."""


def id_text(name: str, value: Any) -> str:
    """Return an id as text, or raise ValueError, whose message uses `name`, for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, UUID):
        return str(value)
    if not isinstance(value, bool):
        try:
            return str(operator.index(value))
        except TypeError:
            pass
    raise ValueError(f"{name} is a text or an integer, not {value!r:.60}")


def id_list(name: str, ids: Iterable[Any]) -> list[str]:
    """Return a list of ids as texts, or raise ValueError, whose message uses `name`.

    A single text is refused, although it is iterable.
    """
    if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
        raise ValueError(f"{name} is a list of ids, not {ids!r:.60}")
    return [id_text(f"each of {name}", value) for value in ids]
