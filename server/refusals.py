"""Versions that cannot be served, and when each is tried again."""

from collections.abc import Collection
from dataclasses import dataclass

from registry import Move

_RETRY_S = 2.0
_RETRY_AT_MOST_S = 60.0


@dataclass(frozen=True)
class Refusal:
    """A version that was asked for and cannot be served."""

    error: Exception
    attempts: int
    tried_at: float
    moves: frozenset[tuple[str, int]]
    """The aliases that asked for it, each with its generation."""
    stamp: object
    """The state of its files when it was tried; see ModelStore.stamp."""

    @property
    def reason(self) -> str:
        """Why, in words."""
        return str(self.error) or type(self.error).__name__

    @property
    def delay_s(self) -> float:
        """How long to wait before the next try, if nothing changes."""
        return float(min(_RETRY_S * 2 ** (self.attempts - 1), _RETRY_AT_MOST_S))

    def is_due(self, now: float, moves: frozenset[tuple[str, int]], stamp: object) -> bool:
        """Tell whether to try again: an alias has moved, the files have changed, or it is time.

        Files that keep changing are not read more often than every two seconds.
        """
        waited_s = now - self.tried_at
        return (
            not moves <= self.moves
            or (stamp != self.stamp and waited_s >= _RETRY_S)
            or waited_s >= self.delay_s
        )


def asking(moves: Collection[Move], version: str) -> frozenset[tuple[str, int]]:
    """Return the aliases that name or try a version, each with its generation."""
    return frozenset(
        (move.alias, move.generation)
        for move in moves
        if version == move.version or (move.candidate and version == move.candidate.version)
    )
