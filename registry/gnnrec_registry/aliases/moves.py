"""What an alias file says: its last move, and what it may carry beside the version it names."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from gnnrec_registry.files.layout import Name

MOST_MOVES = 2**53 - 1
"""The highest generation: every reader of JSON counts exactly so far."""


def _in_utc(moment: datetime) -> datetime:
    """Return a moment that can be said in UTC; those at the ends of the calendar cannot."""
    try:
        moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is before the year 1 or after the year 9999") from None
    return moment


class _Part(BaseModel):
    # Unknown keys of a later minor writer are kept, not refused: a reader takes what it knows.
    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)


class Guard(_Part):
    """When servers end a trial by themselves: limits on what they see of the candidate."""

    max_errors: Annotated[float | None, Field(ge=0, le=1)] = None
    """By how much the candidate's share of failed requests may exceed the named version's."""
    max_p99_ms: Annotated[float | None, Field(gt=0)] = None
    """The longest that the candidate's slowest hundredth of requests may take."""
    min_requests: Annotated[int, Field(ge=1, le=MOST_MOVES)] = 100
    """How many requests the candidate must have answered before it is judged."""


class Candidate(_Part):
    """A version that is tried beside the one an alias names."""

    version: Name
    percent: Annotated[float, Field(ge=0, lt=100)] = 0.0
    """The share of subjects that it answers for, by a stable hash."""
    shadow: bool = False
    """Whether it also computes, unseen, what the named version answers."""
    guard: Guard | None = None
    since: Annotated[int, Field(ge=0, le=MOST_MOVES)] = 0
    """The alias's generation at which it was first tried beside this version: names the trial."""

    def __str__(self) -> str:
        """Say it in a few words."""
        share = f"{self.percent:g}%" if self.percent else ""
        return f"{self.version} ({' + '.join(filter(None, [share, 'shadow' * self.shadow]))})"


class Move(_Part):
    """One move of an alias; also the content of its file, which is its last move."""

    alias: Name
    version: Name
    generation: Annotated[int, Field(ge=1, le=MOST_MOVES)]
    """Counts the alias's moves, from 1."""
    action: Literal["promote", "rollback"]
    previous: Name | None
    """The version it named before."""
    updated_at: Annotated[AwareDatetime, AfterValidator(_in_utc)]
    updated_by: str
    why: str = ""
    candidate: Candidate | None = None
    """A version on trial beside `version`, since this move."""
    forced: bool = False
    """Whether the checks before a promotion were overridden."""


@dataclass(frozen=True)
class Record:
    """What a history tells."""

    moves: list[Move] = field(default_factory=list)
    """What can be read, oldest first."""
    damage: list[str] = field(default_factory=list)
    """What cannot: where it stands, and why."""


def read_move(content: bytes) -> Move:
    """Return the move that JSON says, or raise ValueError that says in what it is none.

    A key that stands twice, and NaN, are refused: readers would take them differently.
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
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{where}: {first['msg']}" if where else first["msg"]) from None
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
    """Return the aliases that name each version, of every alias's last move."""
    named: dict[str, list[str]] = {}
    for alias, move in moves.items():
        named.setdefault(move.version, []).append(alias)
    return named
