"""The first rows of files that somebody names, read with as little said about them as possible."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gnnrec_training.addresses import is_url, shown
from gnnrec_training.config import ReadOptions
from gnnrec_training.data.reading.files import FORMAT_OF_SUFFIX
from gnnrec_training.data.reading.sources import read_tables
from gnnrec_training.data.tables.dialects import Dialect
from gnnrec_training.data.tables.table import Table
from gnnrec_training.errors import InvalidData

_ENCODINGS = ("utf-8", "windows-1252")


@dataclass
class NamedTable:
    """A file, or the files of a pattern, and their first batch of rows."""

    name: str
    """The path, pattern or URL."""
    table: Table
    encoding: str
    """The encoding that it could be read in."""
    side: str = ""
    """"users" or "items" where the user says that the table is about them; else empty."""

    @property
    def shown(self) -> str:
        """What notes and errors call it, without passwords."""
        return shown(self.name)

    @property
    def lacks_header(self) -> bool:
        """Whether its first line is data, so that columns go by number."""
        return self.table.dialect is not None and not self.table.dialect.header

    def relative_to(self, folder: Path) -> str:
        """Return its name as a configuration in `folder` writes it."""
        if is_url(self.name) or Path(self.name).is_absolute():
            return self.name
        return Path(os.path.relpath(self.name, folder)).as_posix()


def read_first_rows(name: str, side: str = "") -> NamedTable:
    """Read the first batch of a file in UTF-8, or else in Windows-1252.

    A first line with numbers in place of names is read as data. Raises InvalidData for a file that
    cannot be read, or is in another encoding.
    """
    for encoding in _ENCODINGS:
        try:
            table = _first_batch(name, ReadOptions(encoding=encoding))
        except InvalidData as error:
            if "is not UTF-8" in str(error) and encoding == _ENCODINGS[0]:
                continue
            raise
        if any("\ufffd" in column for column in table.columns):
            continue
        if table.dialect is not None and table.dialect.header and _is_data(table.dialect):
            table = _first_batch(name, ReadOptions(encoding=encoding, header=False))
        return NamedTable(name, table, encoding, side)
    raise InvalidData(f"{name} is not UTF-8; write a configuration with data.encoding")


def file_names(data: Sequence[str]) -> list[str]:
    """Return the files, patterns and URLs that `data` names, where a folder names all its tables.

    A folder of nothing but part files, as Spark writes them, is one pattern.
    """
    names: list[str] = []
    for name in data:
        path = Path(name)
        if is_url(name) or not path.is_dir():
            names.append(name)
            continue
        files = sorted(file for file in path.iterdir() if _is_table(file))
        parts = [file for file in files if re.match(r"part[-_]?\d", file.name)]
        if parts and len(parts) == len(files):
            names.append(str(path / f"part*{parts[0].suffix}"))
        else:
            names += map(str, files)
        if not files:
            raise InvalidData(f"{name} is a folder without tables; name files")
    return names


def _first_batch(name: str, options: ReadOptions) -> Table:
    return next(iter(read_tables(name, options=options)))


def _is_table(path: Path) -> bool:
    """Tell by its name whether a file of a folder is a table."""
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    has_suffix = bool(suffixes) and suffixes[-1] in FORMAT_OF_SUFFIX
    return path.is_file() and has_suffix and not path.name.lower().startswith(("readme", ".", "_"))


def _is_data(dialect: Dialect) -> bool:
    """Tell whether the line of names has numbers: two of them, or nothing else."""
    are_numbers = [
        bool(re.fullmatch(r"[-+]?\d+([.,]\d+)?( \(column \d+\))?", column))
        for column in dialect.columns
    ]
    return sum(are_numbers) >= 2 or all(are_numbers)
