"""Who is told how far a training is."""

from typing import Protocol


class Reporter(Protocol):
    """Who is told how far a training is."""

    def start(self, step: str, total: float) -> None:
        """Say that a step of so much work begins; the one before is done."""

    def advance(self, done: float, note: str = "") -> None:
        """Say how much of the step is done."""

    def count(self, done: float, total: float | None, note: str = "") -> None:
        """Say how much is done of a total that is known only now, about, or not at all."""

    def tell(self, line: str) -> None:
        """Say something that is to stay: what was understood of the data, a warning."""


class Silent:
    """A reporter that tells nobody."""

    def tell(self, line: str) -> None:
        """Do nothing."""

    def start(self, step: str, total: float) -> None:
        """Do nothing."""

    def advance(self, done: float, note: str = "") -> None:
        """Do nothing."""

    def count(self, done: float, total: float | None, note: str = "") -> None:
        """Do nothing."""
