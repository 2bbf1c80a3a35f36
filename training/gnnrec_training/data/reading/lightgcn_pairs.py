"""LightGCN's text format: a line for each user, `user item item ...`, with spaces between."""

import re
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gnnrec_training.config import ReadOptions
from gnnrec_training.data.reading.progress import BLOCK_BYTES
from gnnrec_training.data.tables.origins import Origin
from gnnrec_training.data.tables.table import BATCH_ROWS, Table
from gnnrec_training.errors import InvalidData

PAIR_COLUMNS = ("user", "item")
"""What the columns of its tables are called."""

_SEPARATORS = re.compile(r'[,;|\t"]|::')
"""What separates the fields of a table, and so does not occur in this format."""


def is_pairs(head: bytes, name: str, options: ReadOptions) -> bool:
    """Tell by its first bytes whether a text is in this format, and not a table with a separator.

    Raises InvalidData, which calls the file `name`, for a text that could be either.
    """
    if options.separator is not None or options.header is not None:
        return False
    lines = [line for line in head.decode("utf-8", errors="replace").splitlines() if line.strip()]
    if len(head) == BLOCK_BYTES:
        lines.pop()  # the head may end within it
    if any(_SEPARATORS.search(line) for line in lines[:1000]):
        return False
    fields = [line.split() for line in lines]
    first, rest = fields[0], fields[1:]
    named = not any(map(str.isdigit, first)) and len(rest) > 0
    if named and all(map(str.isdigit, (field for line in rest for field in line))):
        raise InvalidData(
            f"{name} begins with a line of names and is separated by spaces; "
            'set data.separator = " "'
        )
    widths, users = {len(line) for line in fields}, [line[0] for line in fields]
    if len(widths) == 1 and widths <= {3, 4, 5} and len(set(users)) < len(users):
        raise InvalidData(
            f"{name} has {widths.pop()} fields in every line and users that stand twice: for a "
            'table set data.separator = " " and name columns by number, such as user_column = 1; '
            'for LightGCN\'s format set data.format = "lightgcn"'
        )
    return True


def pair_tables(path: Path, name: str) -> Iterator[Table]:
    """Yield columns `user` and `item`, with a row for each item of a line.

    Raises InvalidData, which calls the file `name`, for a line that has a separator.
    """
    line = 1
    columns = dict.fromkeys(PAIR_COLUMNS, pl.String)
    with open(path, encoding="utf-8", errors="replace", newline="\n") as file:
        while lines := list(islice(file, BATCH_ROWS // 10)):
            for number, text in enumerate(lines, start=line):
                if odd := _SEPARATORS.search(text):
                    raise InvalidData(
                        f"{name} line {number} holds {odd[0]!r}, and LightGCN's format is a user "
                        "and their items with spaces between; for a table set data.separator"
                    )
            fields = [text.split() for text in lines]
            users = [
                line_fields[0] for line_fields in fields if line_fields for _ in line_fields[1:]
            ]
            items = [item for line_fields in fields for item in line_fields[1:]]
            rows = pl.DataFrame({"user": users, "item": items}, columns)
            lengths = np.array([max(0, len(line) - 1) for line in fields])
            yield Table(
                name, rows, PAIR_COLUMNS,
                (Origin(name, 1, "line", locate=partial(_line_of_pair, line, np.cumsum(lengths))),),
                is_pairs=True,
            )  # fmt: skip
            line += len(lines)


def _line_of_pair(first: int, ends: NDArray[np.int64], pair: int) -> int:
    """Return the line on which the pair with a number, counted from 1, stands.

    `first`: the line that the batch begins with; ends (L,): how many pairs the batch has up to and
    including each of its lines.
    """
    return first + int(np.searchsorted(ends, pair))
