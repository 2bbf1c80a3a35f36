"""The content of an alias's file: its last move, and the trial under it if there is one."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, Field, ValidationError

from gnnrec_registry.files.json import Part, first_problem
from gnnrec_registry.files.layout import Name

MOST_MOVES = 2**53 - 1
"""The highest generation: the largest integer that every JSON reader represents exactly."""


def _in_utc(moment: datetime) -> datetime:
    """Return a time that can be converted to UTC; times at the ends of the calendar cannot."""
    try:
        moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is before the year 1 or after the year 9999") from None
    return moment


class Guard(Part):
    """Limits on a candidate; when one is exceeded, servers end the trial by themselves."""

    max_errors: Annotated[float | None, Field(ge=0, le=1)] = None
    """The most by which the candidate's share of failed requests may exceed the named version's."""
    max_p99_ms: Annotated[float | None, Field(gt=0)] = None
    """The longest 99th percentile of the candidate's latency, in milliseconds."""
    min_requests: Annotated[int, Field(ge=1, le=MOST_MOVES)] = 100
    """How many requests the candidate must have answered before it is judged."""


class Candidate(Part):
    """A version that is tried beside the one an alias names."""

    version: Name
    percent: Annotated[float, Field(ge=0, lt=100)] = 0.0
    """The percentage of users and items asked about that it answers, chosen by a stable hash."""
    shadow: bool = False
    """Whether it also computes answers that are compared with the named version's and not sent."""
    guard: Guard | None = None
    since: Annotated[int, Field(ge=0, le=MOST_MOVES)] = 0
    """The alias's generation when the trial began: it identifies the trial."""

    def __str__(self) -> str:
        """Return the version with its share and `shadow`, such as "v2 (5% + shadow)"."""
        share = f"{self.percent:g}%" if self.percent else ""
        return f"{self.version} ({' + '.join(filter(None, [share, 'shadow' * self.shadow]))})"


class Move(Part):
    """One move of an alias; the alias's file holds its last move."""

    alias: Name
    version: Name
    generation: Annotated[int, Field(ge=1, le=MOST_MOVES)]
    """The number of this move among the alias's moves, from 1."""
    action: Literal["promote", "rollback"]
    previous: Name | None
    """The version that the alias named before; None for its first move."""
    updated_at: Annotated[AwareDatetime, AfterValidator(_in_utc)]
    updated_by: str
    why: str = ""
    candidate: Candidate | None = None
    """A version that is on trial beside `version` after this move."""
    forced: bool = False
    """Whether the checks before a promotion were overridden."""


@dataclass(frozen=True)
class Record:
    """A history as far as it can be read."""

    moves: list[Move] = field(default_factory=list)
    """The readable moves, oldest first."""
    damage: list[str] = field(default_factory=list)
    """For each unreadable part: where it is, and why it cannot be read."""


def read_move(content: bytes) -> Move:
    """Return the move in a JSON text, or raise ValueError that says what is wrong.

    A repeated key and NaN are refused, for JSON readers interpret them differently.
    """
    try:
        json.loads(
            content, object_pairs_hook=_once, parse_constant=_refuse_number, parse_float=_finite
        )
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    try:
        move = Move.model_validate_json(content, strict=True)
    except ValidationError as error:
        # the place is empty when the JSON is not an object at all
        raise ValueError(first_problem(error).removeprefix(": ")) from None
    if move.generation == MOST_MOVES:
        raise ValueError(f"generation: none follows {MOST_MOVES}")
    return move


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!a:.60} stands twice")
    return found


def _finite(text: str) -> float:
    return float(text) if math.isfinite(float(text)) else _refuse_number(text)


def _refuse_number(text: str) -> float:
    raise ValueError(f"{text:.20} is no number of JSON")


def by_version(moves: Mapping[str, Move]) -> dict[str, list[str]]:
    """Return the names of the aliases of each version, from every alias's last move."""
    named: dict[str, list[str]] = {}
    for alias, move in moves.items():
        named.setdefault(move.version, []).append(alias)
    return named
