"""Versions that cannot be served, and when each is tried again."""

from collections.abc import Collection
from dataclasses import dataclass

from gnnrec_registry import Move, RegistryError
from gnnrec_server.errors import ServingError, UnservableVersion
from gnnrec_server.rollout.problems import in_words
from gnnrec_server.version.cancellation import Load

_RETRY_S = 2.0
_RETRY_AT_MOST_S = 60.0


@dataclass(frozen=True)
class Refusal:
    """A version that was asked for and cannot be served."""

    error: Exception
    """Why, as without_frames returns it."""
    attempts: int
    tried_at: float
    """In seconds of a monotonic clock."""
    moves: frozenset[tuple[str, int]]
    """The aliases that asked for it, each with its generation."""
    stamp: object
    """The state of its files when it was tried; see ModelStore.stamp."""
    load: Load | None = None
    """The attempt itself, whose thread may still run."""

    @property
    def reason(self) -> str:
        """Why it cannot be served, as a sentence."""
        return in_words(self.error)

    @property
    def delay_s(self) -> float:
        """How long to wait before the next try, if nothing changes."""
        return float(min(_RETRY_S * 2 ** (self.attempts - 1), _RETRY_AT_MOST_S))

    def is_due(self, now: float, moves: frozenset[tuple[str, int]], stamp: object) -> bool:
        """Tell whether to try again: an alias has moved, the files have changed, or it is time.

        Files that keep changing are not read more often than every two seconds; and while an
        attempt hangs, time alone begins no other, which would hang as well.
        """
        waited_s = now - self.tried_at
        hangs = self.load is not None and self.load.is_running
        return (
            not moves <= self.moves
            or (stamp != self.stamp and waited_s >= _RETRY_S)
            or (waited_s >= self.delay_s and not hangs)
        )


def asking(moves: Collection[Move], version: str) -> frozenset[tuple[str, int]]:
    """Return the aliases that name or try a version, each with its generation."""
    return frozenset(
        (move.alias, move.generation)
        for move in moves
        if version == move.version or (move.candidate and version == move.candidate.version)
    )


def without_frames(version: str, error: Exception) -> Exception:
    """Return why a load failed, for keeping.

    An exception that was raised holds the frames it passed through and the exceptions it came
    from, and so all that had been loaded.
    """
    if not isinstance(error, RegistryError | ServingError | OSError):
        kind = type(error).__name__
        text = f": {error}" if str(error) else ""
        return UnservableVersion(f"version {version!r} cannot be loaded: {kind}{text}")
    error.__traceback__ = error.__cause__ = error.__context__ = None
    return error
