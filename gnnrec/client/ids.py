"""Ids as callers have them: texts, integers of any kind, UUIDs; the wire has texts."""

import operator
from collections.abc import Iterable
from typing import Any, SupportsIndex
from uuid import UUID

Id = str | SupportsIndex | UUID
"""An integer is the text of its digits, a UUID its usual text: as training reads both."""


def id_text(name: str, value: Any) -> str:
    """Return an id's text, or raise ValueError for what is no id; `name` is said there."""
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
    """Return the texts of ids, or raise ValueError for what is no list of ids.

    A text is refused, though it is a sequence of letters.
    """
    if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
        raise ValueError(f"{name} is a list of ids, not {ids!r:.60}")
    return [id_text(f"each of {name}", each) for each in ids]
