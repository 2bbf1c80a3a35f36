"""Files as readers need them: local, unpacked, in UTF-8; others are copied to temporary ones."""

import codecs
import gzip
import shutil
import tempfile
import weakref
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Any

from gnnrec_training.data.watch import Watch
from gnnrec_training.errors import InvalidData

BLOCK = 1 << 20
_GZIP = b"\x1f\x8b"

# What other kinds of files begin with, and what to do about them.
_OTHERS = {
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
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Copy:
    """A temporary file that is there while somebody refers to this."""

    def __init__(self) -> None:
        folder = tempfile.mkdtemp(prefix="gnnrec-")
        self.path = Path(folder) / "data"
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)


def is_gzipped(first: bytes) -> bool:
    """Tell by its first bytes whether a file is gzipped, whatever its name."""
    return first.startswith(_GZIP)


def unpack(source: IO[bytes], packed: bool, size: int | None, watch: Watch) -> Copy:
    """Copy a file, unpacked; `watch` hears how much of its `size` is read."""
    copy = Copy()
    with (
        gzip.open(source) if packed else nullcontext(source) as content,
        open(copy.path, "wb") as target,
    ):
        while block := content.read(BLOCK):
            target.write(block)
            watch.fetch(source.tell(), size)
    return copy


def refuse_other_kinds(head: bytes, name: str) -> None:
    """Raise InvalidData for a file that is no table of ours, with what to do."""
    for begin, problem in _OTHERS.items():
        if head.startswith(begin):
            raise InvalidData(f"{name} {problem}")


def in_utf8(path: Path, name: str, encoding: str) -> Copy | None:
    """Return a copy in UTF-8, without a mark, with line feeds; None where a file is so already.

    A mark at the beginning of the file tells its encoding whatever `encoding` says. Raises
    InvalidData, which calls the file `name`, for bytes that are not in the encoding.
    """
    with open(path, "rb") as file:
        head = file.read(BLOCK)
    told = next((found for mark, found in _MARKS if head.startswith(mark)), None)
    encoding = told or codecs.lookup(encoding).name
    # a lone carriage return ended lines on old machines
    old = b"\r" in head and b"\n" not in head
    if encoding == "utf-8" and not old:
        return None
    copy = Copy()
    line = 1
    # what is not UTF-8 is named by the reader, which knows the column
    errors = "surrogateescape" if encoding.startswith("utf-8") else "strict"
    try:
        with (
            open(path, encoding=encoding, errors=errors, newline=None if old else "") as source,
            open(copy.path, "w", encoding="utf-8", errors=errors, newline="") as target,
        ):
            while text := source.read(BLOCK):
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
