"""Tables: fitted to the width of a terminal; in a file or a pipe, aligned and never cut."""

import sys
from collections.abc import Sequence

_NUMBER = set("0123456789.,+-% e")


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of texts under a header; unprintable characters become question marks."""
    cells = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _print_fitted(header, cells)
        return
    for line in aligned([header, *cells]):
        print(line)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return each row as a line in which the cells of a column start at the same place."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def printable(text: str) -> str:
    """Return a text without control characters, for titles may hold escape sequences."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _print_fitted(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column, name in enumerate(header):
        numeric = bool(rows) and all(set(row[column]) <= _NUMBER for row in rows)
        table.add_column(
            Text(name), justify="right" if numeric else "left", overflow="fold", no_wrap=numeric
        )
    for row in rows:
        table.add_row(
            *(Text(cell) for cell in row)
        )  # Text, so that rich does not read titles as markup
    Console(highlight=False).print(table)
