"""Where the rows of a table come from, so that an error can name the file and the line."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """The place that consecutive rows of a table were read from.

    A table joined from several files has one origin for each of them.
    """

    name: str
    """The file, query or collection, as errors call it."""
    first: int
    """The number that the first of these rows has there, counted from 1."""
    unit: str = "row"
    """What the number counts: row, line, object or document."""
    start: int = 0
    """The position of the first of these rows in the table, counted from 0."""
    locate: Callable[[int], int] | None = None
    """Turns a number into the one to show, such as a row into its line. It reads the file again, so
    it is called for an error only."""
    held: object = None
    """Keeps the temporary copies that `locate` reads from being deleted."""

    def place(self, row: int) -> str:
        """Return where a row of the table was read, such as `x.csv line 7`."""
        return f"{self.name} {self.unit} {self.number(row)}"

    def number(self, row: int) -> int:
        """Return the number alone, such as the 7 of `x.csv line 7`."""
        number = row - self.start + self.first
        return number if self.locate is None else self.locate(number)
