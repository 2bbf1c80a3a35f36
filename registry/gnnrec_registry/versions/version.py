"""A published version: opened from its folder, and verified against its manifest and the format."""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gnnrec_registry.errors import NoSuchVersion, NotPermitted, VersionCorrupt
from gnnrec_registry.files import layout, reading
from gnnrec_registry.versions import soundness
from gnnrec_registry.versions.contents import VersionContents
from gnnrec_registry.versions.manifest import FileEntry, decode

_CHUNK = 1 << 20
_MOST_NAMED = 10
"""How many unexpected files an error message names."""


@dataclass(frozen=True)
class Damaged:
    """A version whose manifest cannot be read, and why."""

    name: str
    reason: str


class Version(VersionContents):
    """A published version; opening it reads its manifest alone."""

    fetched = 0
    """Bytes that were downloaded so far; 0 for a version in a local folder."""

    def __init__(self, folder: Path) -> None:
        """Read the manifest; NoSuchVersion without one, VersionCorrupt for a damaged one."""
        try:
            content = reading.read(folder / layout.MANIFEST)
        except FileNotFoundError:
            raise NoSuchVersion(f"no version {folder.name!r} in {folder.parent}") from None
        except NotPermitted:
            raise
        except OSError as error:
            raise VersionCorrupt(
                f"version {folder.name!r}: {layout.MANIFEST} {error.strerror or error}"
            ) from None
        manifest = decode(content, folder.name, folder.parent.parent.name)
        super().__init__(folder, manifest, str(folder))

    def verify(self, advance: Callable[[int], None] = lambda read: None) -> None:
        """Raise VersionCorrupt, naming every damaged file, unless the version is whole and sound.

        Compares sizes and sha256 with the manifest, looks for files that it does not list, and then
        checks the format of docs/registry-format.md. `advance` is called with the bytes read.
        """
        damage, read = self._strangers(), 0
        for name, entry in sorted(self.manifest.files.items()):
            if problem := self._damage(name, entry):
                damage.append(f"{name} {problem}")
            read += entry.size
            advance(read)
        try:
            if damage:
                raise VersionCorrupt(f"version {self.name!r}: {'; '.join(damage)}")
            soundness.check(self)
        except VersionCorrupt:
            self._require_there()
            raise

    def _strangers(self) -> list[str]:
        """Describe the files that the manifest does not list, and symbolic links.

        A link is refused, for it may lead outside of the version.
        """
        listed = {*self.manifest.files, layout.MANIFEST}
        strange = []
        for name, entry in _walk(self.folder):
            if entry.is_symlink():
                strange.append(f"{name!a:.200} is a symbolic link")
            elif name not in listed:
                strange.append(f"{name!a:.200} is not in the manifest")
        return shortened(strange)

    def _require_there(self) -> None:
        """Raise NoSuchVersion if it has been deleted since it was opened."""
        if not reading.is_file(self.folder / layout.MANIFEST):
            raise NoSuchVersion(f"version {self.name!r} was deleted while it was read")

    def _damage(self, name: str, entry: FileEntry) -> str | None:
        """Return how a file differs from its entry in the manifest, or None."""
        return damage(self.folder / name, entry)


def _walk(folder: Path, prefix: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield everything in a folder and below that is no folder, with its path; follow no links."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except PermissionError as error:
        raise reading.not_permitted(folder) from error
    except FileNotFoundError:
        return  # deleted meanwhile: its files will be reported as missing
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(folder / entry.name, f"{prefix}{entry.name}/")
        else:
            yield f"{prefix}{entry.name}", entry


def shortened(strange: list[str]) -> list[str]:
    """Return the first ten of a list of problems, and how many more there are."""
    more = len(strange) - _MOST_NAMED
    return strange if more <= 0 else [*strange[:_MOST_NAMED], f"and {more} more such files"]


def damage(path: Path, entry: FileEntry) -> str | None:
    """Return how a file differs from its entry in the manifest, or None."""
    try:
        with reading.opened(path, follow=False) as file:
            size = os.fstat(file.fileno()).st_size
            if size != entry.size:
                return f"has {size} bytes, not {entry.size}"
            if _sha256(file) != entry.sha256:
                return "has another sha256"
    except FileNotFoundError:
        return "is missing"
    except NotPermitted:
        raise
    except OSError as error:
        return f"{error.strerror}" if error.errno is None else f"cannot be read: {error.strerror}"
    return None


def sha256(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return _sha256(file)


def _sha256(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()
