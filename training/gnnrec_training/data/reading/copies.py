"""Temporary copies of files that readers cannot read in place: gzipped, remote, or not UTF-8."""

import codecs
import gzip
import shutil
import tempfile
import weakref
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Any

from gnnrec_training.data.reading.progress import BLOCK_BYTES, ReadProgress
from gnnrec_training.errors import InvalidData

_GZIP = b"\x1f\x8b"

# The first bytes of files that are refused, and what the user can do about them.
_OTHER_KINDS = {
    b"PK\x03\x04": "is a zip archive, or a workbook: unpack it, or save the sheet as CSV",
    b"BZh": "is packed with bzip2; unpack it: bunzip2",
    b"\xfd7zXZ\x00": "is packed with xz; unpack it: unxz",
    b"\x28\xb5\x2f\xfd": "is packed with zstd; unpack it: zstd -d",
    b"Rar!": "is a RAR archive; unpack it",
    b"7z\xbc\xaf": "is a 7z archive; unpack it",
    b"\xd0\xcf\x11\xe0": "is an old Excel workbook; save the sheet as CSV",
    b"SQLite format 3\x00": 'is a SQLite database; name {sql = "sqlite:///FILE", query = ...}',
    b"%PDF": "is a PDF",
    b"\x89HDF": "is an HDF5 file; export it as Parquet or CSV",
    b"Obj\x01": "is an Avro file; export it as Parquet or CSV",
    b"ARROW1": "is an Arrow file; export it as Parquet or CSV",
    b"ORC": "is an ORC file; export it as Parquet or CSV",
}
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Copy:
    """A temporary file, deleted when nothing refers to this object any more."""

    def __init__(self) -> None:
        folder = tempfile.mkdtemp(prefix="gnnrec-")
        self.path = Path(folder) / "data"
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)


def is_gzipped(first: bytes) -> bool:
    """Tell by its first bytes whether a file is gzipped, whatever its name."""
    return first.startswith(_GZIP)


def unpack(source: IO[bytes], packed: bool, size: int | None, progress: ReadProgress) -> Copy:
    """Copy a file to a temporary one, unpacked if it is `packed` with gzip.

    `progress` is told how many bytes of its `size` were read.
    """
    copy = Copy()
    with (
        gzip.open(source) if packed else nullcontext(source) as content,
        open(copy.path, "wb") as target,
    ):
        while block := content.read(BLOCK_BYTES):
            target.write(block)
            progress.fetched(source.tell(), size)
    return copy


def refuse_other_kinds(head: bytes, name: str) -> None:
    """Raise InvalidData for a file of a kind that cannot be read, with what to do about it."""
    for begin, problem in _OTHER_KINDS.items():
        if head.startswith(begin):
            raise InvalidData(f"{name} {problem}")


def in_utf8(path: Path, name: str, encoding: str) -> Copy | None:
    """Return a copy in UTF-8, without a byte order mark; None for a file that is that already.

    Lines that end in a lone carriage return end in a line feed in the copy. A byte order mark tells
    the encoding, whatever `encoding` says. Raises InvalidData, which calls the file `name`, for
    bytes that are not of the encoding.
    """
    with open(path, "rb") as file:
        head = file.read(BLOCK_BYTES)
    marked = next((found for mark, found in _BYTE_ORDER_MARKS if head.startswith(mark)), None)
    encoding = marked or codecs.lookup(encoding).name
    # old Macintosh files end lines with a carriage return alone
    by_carriage_return = b"\r" in head and b"\n" not in head
    if encoding == "utf-8" and not by_carriage_return:
        return None
    copy = Copy()
    line = 1
    # bytes that are not UTF-8 pass: the reader refuses them, for it knows their column
    errors = "surrogateescape" if encoding.startswith("utf-8") else "strict"
    try:
        with (
            open(
                path, encoding=encoding, errors=errors, newline=None if by_carriage_return else ""
            ) as source,
            open(copy.path, "w", encoding="utf-8", errors=errors, newline="") as target,
        ):
            while text := source.read(BLOCK_BYTES):
                target.write(text)
                line += text.count("\n")
    except UnicodeDecodeError as error:
        line += _text_before(error).count("\n")
        byte = f"byte 0x{error.object[error.start]:02x}"
        raise InvalidData(
            f"{name} line {line}: {byte} is not {encoding}; set data.encoding to what it is in"
        ) from None
    return copy


def _text_before(error: UnicodeDecodeError) -> str:
    content: Any = error.object[: error.start]
    return bytes(content).decode(error.encoding, errors="replace")
