"""Downloads that resume where they stopped, and end with verified bytes or an error."""

import hashlib
import time
from typing import BinaryIO

from gnnrec_registry.errors import StoreError, StoreUnreachable
from gnnrec_registry.remote.objects import Objects
from gnnrec_registry.versions.manifest import FileEntry

_CHUNK = 2 << 20
_MOST_AT_ONCE = 8
# If a store answers within this time, the number of ranges requested at once is doubled.
_QUICK_S = 2.0
_FAILURES = 3
_PAUSE_S = 0.2


class Damage(Exception):
    """How an object differs from its entry in the manifest."""


def download(objects: Objects, key: str, entry: FileEntry, file: BinaryIO) -> int:
    """Append the missing rest of an object to `file`; return how many bytes were downloaded.

    If the sha256 is not the manifest's, everything is downloaded once more; if it is wrong again,
    `file` is emptied and Damage raised. StoreUnreachable keeps in `file` what arrived.
    """
    came = 0
    for _ in range(2):
        digest = _take_up(file, entry.size)
        came += _append(objects, key, entry.size, file, digest)
        if digest.hexdigest() == entry.sha256:
            return came
        file.truncate(0)
    raise Damage("has another sha256, fetched twice")


def _take_up(file: BinaryIO, size: int) -> "hashlib._Hash":
    """Return the digest of the content of `file`, and leave its position at the end."""
    digest = hashlib.sha256()
    file.seek(0)
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    if file.tell() > size:
        file.truncate(0)
        file.seek(0)
        return hashlib.sha256()
    return digest


def _append(objects: Objects, key: str, size: int, file: BinaryIO, digest: "hashlib._Hash") -> int:
    """Fetch the rest in ranges, more at once while the store is quick; return the bytes fetched."""
    begun = file.tell()
    at_once, failures = 1, 0
    while (place := file.tell()) < size:
        starts = list(range(place, size, _CHUNK))[:at_once]
        ends = [min(start + _CHUNK, size) for start in starts]
        asked_at = time.monotonic()
        error = _take(objects, key, starts, ends, file, digest)
        if error is None:
            is_quick = time.monotonic() - asked_at < _QUICK_S
            at_once = min(at_once * 2, _MOST_AT_ONCE) if is_quick else max(1, at_once // 2)
            failures = 0
            continue
        _check_size(objects, key, size)
        failures, at_once = (1 if file.tell() > place else failures + 1), 1
        if failures == _FAILURES:
            raise error
        time.sleep(_PAUSE_S * 2**failures)
    return file.tell() - begun


def _take(
    objects: Objects,
    key: str,
    starts: list[int],
    ends: list[int],
    file: BinaryIO,
    digest: "hashlib._Hash",
) -> Exception | None:
    """Append ranges up to the first that failed; return its error, or None."""
    try:
        parts = objects.read_ranges(key, starts, ends)
    except StoreError as error:
        return error
    for part, start, end in zip(parts, starts, ends, strict=True):
        if isinstance(part, Exception):
            return part
        file.write(part[: end - start])
        digest.update(part[: end - start])
        if len(part) < end - start:
            return StoreUnreachable(f"{objects.address(key)} was cut after {start + len(part)}")
    return None


def _check_size(objects: Objects, key: str, size: int) -> None:
    """Raise Damage if the object is missing or has another size; ignore a store's failure."""
    try:
        found = objects.size(key)
    except FileNotFoundError:
        raise Damage("is missing") from None
    except StoreError:
        return
    if found != size:
        raise Damage(f"has {found} bytes, not {size}")
