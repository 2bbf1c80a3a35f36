"""What an alias file says: its last move, and what it may carry beside the version it names."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Guard(BaseModel):
    """When servers end a trial by themselves: limits on what they see of the candidate."""

    model_config = ConfigDict(frozen=True, extra="allow")

    max_errors: Annotated[float | None, Field(ge=0, le=1)] = None
    """By how much the candidate's share of failed requests may exceed the named version's."""
    max_p99_ms: Annotated[float | None, Field(gt=0)] = None
    """The longest that the candidate's slowest hundredth of requests may take."""
    min_requests: Annotated[int, Field(ge=1)] = 100
    """How many requests the candidate must have answered before it is judged."""


class Candidate(BaseModel):
    """A version that is tried beside the one an alias names."""

    model_config = ConfigDict(frozen=True, extra="allow")

    version: str
    percent: Annotated[float, Field(ge=0, lt=100)] = 0.0
    """The share of subjects that it answers for, by a stable hash."""
    shadow: bool = False
    """Whether it also computes, unseen, what the named version answers."""
    guard: Guard | None = None
    since: int = 0
    """The alias's generation at which it was first tried beside this version: names the trial."""

    def __str__(self) -> str:
        """Say it in a few words."""
        share = f"{self.percent:g}%" if self.percent else ""
        return f"{self.version} ({' + '.join(filter(None, [share, 'shadow' * self.shadow]))})"


class Move(BaseModel):
    """One move of an alias; also the content of its file, which is its last move."""

    model_config = ConfigDict(frozen=True, extra="allow")

    alias: str
    version: str
    generation: int
    """Counts the alias's moves, from 1."""
    action: Literal["promote", "rollback"]
    previous: str | None
    """The version it named before."""
    updated_at: datetime
    updated_by: str
    why: str = ""
    candidate: Candidate | None = None
    """A version on trial beside `version`, since this move."""
    forced: bool = False
    """Whether the checks before a promotion were overridden."""


def by_version(moves: Mapping[str, Move]) -> dict[str, list[str]]:
    """Return the aliases that name each version, of every alias's last move."""
    named: dict[str, list[str]] = {}
    for alias, move in moves.items():
        named.setdefault(move.version, []).append(alias)
    return named
