"""The ids of a version in a compact form: far smaller than a dict of as many texts."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from gnnrec_registry.files.arrays import distinct
from gnnrec_registry.scoring.ranking import NO_ROW, Rows


class IdTable:
    """Ids by row and rows by id.

    Each id stands in one long text as UTF-8 behind its length in base 128: the form that messages
    take, so an answer copies it. Rows are found in buckets by hash, about one id to a bucket.
    """

    def __init__(self, ids: Sequence[str]) -> None:
        """Take distinct ids in the order of their rows."""
        encoded = [text.encode() for text in ids]
        lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
        prefixes = {int(length): varint(int(length)) for length in distinct(lengths)}
        self._content = b"".join([prefixes[len(text)] + text for text in encoded])
        sizes = lengths + 1 + (lengths >> 7 > 0) + (lengths >> 14 > 0) + (lengths >> 21 > 0)
        self._starts: NDArray[np.int64] = np.concatenate([[0], np.cumsum(sizes)])
        buckets = 1 << len(encoded).bit_length()
        self._mask = buckets - 1
        hashes = np.fromiter(map(hash, encoded), np.int64, len(encoded)) & self._mask
        # as views whose elements are Python's own numbers, which are read one at a time
        self._rows = np.argsort(hashes, kind="stable").astype(np.int32).data
        counts = np.bincount(hashes, minlength=buckets)
        self._buckets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32).data
        self._places = self._starts.data

    def __len__(self) -> int:
        """Count the ids."""
        return len(self._starts) - 1

    def row(self, text: str) -> int:
        """Return an id's row, or NO_ROW; without its outer spaces if the version has no such id."""
        row = self._row(text)
        if row == NO_ROW and (trimmed := text.strip()) != text:
            return self._row(trimmed)
        return row

    def _row(self, text: str) -> int:
        encoded = text.encode()
        wanted = varint(len(encoded)) + encoded
        bucket = hash(encoded) & self._mask
        for place in range(self._buckets[bucket], self._buckets[bucket + 1]):
            row: int = self._rows[place]
            if self._content[self._places[row] : self._places[row + 1]] == wanted:
                return row
        return NO_ROW

    def rows(self, texts: Iterable[str]) -> Rows:
        """Return the row of each id (C,), NO_ROW where it is unknown."""
        find = self.row
        return np.array([find(text) for text in texts], np.int64)

    def text(self, row: int) -> str:
        """Return the id of a row."""
        return _unframed(self._content[self._places[row] : self._places[row + 1]])

    def texts(self, rows: Rows) -> list[str]:
        """Return the ids of rows (C,)."""
        return [_unframed(text) for text in self.framed(rows)]

    def framed(self, rows: Rows) -> list[bytes]:
        """Return the ids of rows (C,), each as UTF-8 behind its length in base 128."""
        content, places = self._content, self._places
        return [content[places[row] : places[row + 1]] for row in rows.tolist()]


def varint(number: int) -> bytes:
    """Return a length as messages carry it: in base 128, the lowest digit first."""
    if number < 128:
        return _SHORT[number]
    low = bytearray()
    while number >= 128:
        low.append(number & 127 | 128)
        number >>= 7
    low.append(number)
    return bytes(low)


_SHORT = [bytes([number]) for number in range(128)]


def _unframed(framed: bytes) -> str:
    start = 1
    while framed[start - 1] & 128:
        start += 1
    return framed[start:].decode()
