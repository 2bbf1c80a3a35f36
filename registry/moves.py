"""One move of an alias."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict


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
