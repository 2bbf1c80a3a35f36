from typing import Protocol


class Reporter(Protocol):
    """Who is told how far a training is."""

    def start(self, step: str, total: float) -> None:
        """Say that a step of so much work begins; the one before is done."""

    def advance(self, done: float, note: str = "") -> None:
        """Say how much of the step is done."""
