"""How a training tells how far it is: the protocol of whoever shows it, and one that is silent."""

from collections.abc import Callable
from typing import Protocol

Progress = Callable[[float, str], None]
"""progress(epochs, note): how many epochs are done, parts of one included, and how it goes."""

ShareDone = Callable[[float], None]
"""share_done(share): how much of a computation is done, from 0 to 1."""


class Reporter(Protocol):
    """Shows a person how far a training is."""

    def start(self, step: str, total: float) -> None:
        """Say that a step of so much work begins; the one before is done."""

    def advance(self, done: float, note: str = "") -> None:
        """Say how much of the step is done."""

    def count(self, done: float, total: float | None, note: str = "") -> None:
        """Say how much is done; the total is exact, an estimate, or None where it is unknown."""

    def tell(self, line: str) -> None:
        """Show a line that stays: what was understood of the data, or a warning."""


class Silent:
    """A reporter that shows nothing."""

    def tell(self, line: str) -> None:
        """Do nothing."""

    def start(self, step: str, total: float) -> None:
        """Do nothing."""

    def advance(self, done: float, note: str = "") -> None:
        """Do nothing."""

    def count(self, done: float, total: float | None, note: str = "") -> None:
        """Do nothing."""
