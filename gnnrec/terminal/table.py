"""Tables: fitted to the width of a terminal; aligned and whole where the output is read on."""

import sys
from collections.abc import Sequence

_NUMBER = set("0123456789.,+-% e")


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of texts under a header; a letter that cannot be printed is a question mark."""
    cells = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _print_fitted(header, cells)
        return
    lines = [list(header), *cells]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for line in lines:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        )


def printable(text: str) -> str:
    """Return a text that moves no cursor and changes no colour: titles come from outside."""
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
        table.add_row(*(Text(cell) for cell in row))  # Text: titles are no markup
    Console(highlight=False).print(table)
