"""A finished TopK or Score, or an entry of a batch, as trials look at it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gnnrec_server.query.queries import ScoreQuery, Subject, Target, TopKQuery


class Asked(Protocol):
    """A request as it came; what costs time is read only when it is wanted."""

    @property
    def version(self) -> str:
        """The version that it names, empty for none."""

    @property
    def alias(self) -> str:
        """The alias that it names, empty for none."""

    @property
    def size_bytes(self) -> int:
        """The size of its message."""

    def target_and_subject(self) -> tuple[Target, Subject]:
        """Return of which version and for whom it asks, or raise InvalidQuery."""

    def query(self) -> TopKQuery | ScoreQuery:
        """Return its query, or raise InvalidQuery."""

    def copied(self) -> Callable[[], TopKQuery | ScoreQuery]:
        """Return a function like `query` that has a copy, and so keeps no batch in memory."""


class Answered(Protocol):
    """An answer's message; TopK has item_ids and scores, Score has scores and known."""

    version: str

    @property
    def item_ids(self) -> Sequence[str]:
        """The items, best first."""

    @property
    def scores(self) -> Sequence[float]:
        """Their scores, or those of the items that were asked for."""

    @property
    def known(self) -> Sequence[bool]:
        """Which of the items that were asked for the version knows."""


@dataclass(slots=True, eq=False)
class Exchange:
    """A request, how it ended, and within how many seconds; an entry of a batch has no time."""

    asked: Asked
    answer: Answered | None
    """None where it has failed."""
    code: str
    """The status code by name, such as OK."""
    seconds: float | None
