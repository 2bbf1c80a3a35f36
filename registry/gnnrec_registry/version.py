"""A published version, opened for reading."""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from gnnrec_registry import attributes, layout, reading, soundness
from gnnrec_registry.arrays import Embeddings, read_array, read_lines
from gnnrec_registry.attributes import Attribute
from gnnrec_registry.errors import NoSuchVersion, NotPermitted, VersionCorrupt
from gnnrec_registry.manifest import FileEntry, Json, Manifest, decode

_CHUNK = 1 << 20
_TOLD = 10
"""How many strange files an error names."""


@dataclass(frozen=True)
class Damaged:
    """A version whose manifest cannot be read, and why."""

    name: str
    reason: str


class Version:
    """A published version: its manifest at once, its arrays mapped when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name
        self.where = str(folder)
        self.fetched = 0
        """Bytes that had to be downloaded so far; the rest was here."""
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
        self.manifest: Manifest = decode(content, folder.name, folder.parent.parent.name)

    @cached_property
    def user_ids(self) -> list[str]:
        """Ids by user row."""
        return self.lines(layout.USER_IDS)

    @cached_property
    def item_ids(self) -> list[str]:
        """Ids by item row."""
        return self.lines(layout.ITEM_IDS)

    @cached_property
    def item_titles(self) -> list[str] | None:
        """Titles by item row; None if the version was published without."""
        if layout.ITEM_TITLES not in self.manifest.files:
            return None
        return self.lines(layout.ITEM_TITLES)

    @cached_property
    def seen(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """The training interactions as CSR: indptr (U+1,), item rows (E,), sorted per user."""
        return self.array(layout.SEEN_INDPTR), self.array(layout.SEEN_ITEMS)

    @cached_property
    def liked(self) -> NDArray[np.bool_] | None:
        """Which of the seen (E,) are interactions of the graph; None if all of them are."""
        if layout.SEEN_LIKED not in self.manifest.files:
            return None
        return self.array(layout.SEEN_LIKED).astype(bool)

    def embeddings(self, variant: str) -> tuple[Embeddings, Embeddings]:
        """Return a variant's user (U, D) and item (I, D) embeddings, memory-mapped."""
        return self.array(layout.users_array(variant)), self.array(layout.items_array(variant))

    def fold(self, variant: str) -> Embeddings:
        """Return what a variant's new users take from items: (I, D), memory-mapped."""
        return self.array(layout.fold_array(variant))

    def features(self) -> tuple[Embeddings, Embeddings]:
        """Return the encoded features of users (U, F_u) and items (I, F_i), memory-mapped."""
        return self.array(layout.USER_FEATURES), self.array(layout.ITEM_FEATURES)

    def attributes(self) -> dict[str, Attribute]:
        """Return what items can be filtered by, by name, memory-mapped."""
        return {
            entry.name: attributes.read(place, entry, self.lines, self.array)
            for place, entry in enumerate(self.manifest.attributes)
        }

    def array(self, name: str) -> NDArray[Any]:
        """Map one of the version's arrays, or raise VersionCorrupt."""
        return read_array(self.file(name), f"version {self.name!r}: {name}")

    def lines(self, name: str) -> list[str]:
        """Return the texts of one of the version's files, or raise VersionCorrupt."""
        return read_lines(self.file(name), f"version {self.name!r}: {name}")

    def read(self, name: str) -> bytes:
        """Return the content of one of the version's files, or raise VersionCorrupt."""
        try:
            return self.file(name).read_bytes()
        except OSError as error:
            raise VersionCorrupt(
                f"version {self.name!r}: {name} cannot be read: {error.strerror}"
            ) from None

    def file(self, name: str) -> Path:
        """Return the path of one of the version's files, or raise VersionCorrupt."""
        path = self.folder / name
        if name not in self.manifest.files or not reading.is_file(path):
            raise VersionCorrupt(f"version {self.name!r}: {name} is missing")
        return path

    def folder_of(self, name: str, advance: Callable[[float], None] = lambda share: None) -> Path:
        """Return a local folder where a file stands with all those beside it, by their names.

        `advance` hears which share of them is here. Raises VersionCorrupt.
        """
        return self.file(name).parent

    def verify(self, advance: Callable[[int], None] = lambda read: None) -> None:
        """Raise VersionCorrupt, naming every damaged file, unless the version is whole and sound.

        Compares sizes and sha256 with the manifest, looks for files that it does not list, and then
        whether all is as docs/registry-format.md says. `advance` hears how many bytes are read.
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

    def summary(self) -> Json:
        """Return the manifest as plain JSON values."""
        return self.manifest.model_dump(mode="json")

    def _strangers(self) -> list[str]:
        """Say what stands in the version and not in its manifest, and where it cannot be followed.

        Nothing but regular files and folders: a link may lead anywhere.
        """
        listed = {*self.manifest.files, layout.MANIFEST}
        strange = []
        for name, entry in _walk(self.folder):
            if entry.is_symlink():
                strange.append(f"{name!a:.200} is a symbolic link")
            elif name not in listed:
                strange.append(f"{name!a:.200} is not in the manifest")
        return told(strange)

    def _require_there(self) -> None:
        """Raise NoSuchVersion if it has been deleted since it was opened."""
        if not reading.is_file(self.folder / layout.MANIFEST):
            raise NoSuchVersion(f"version {self.name!r} was deleted while it was read")

    def _damage(self, name: str, entry: FileEntry) -> str | None:
        """Say in what one of the files differs from its entry, or None."""
        return damage(self.folder / name, entry)


class StagedVersion(Version):
    """A version that is to be published: its manifest is not written yet."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.name = manifest.version
        self.where = str(folder)
        self.fetched = 0
        self.manifest = manifest


def _walk(folder: Path, prefix: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield whatever is in a folder and in those below but folders, with its name; no links."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except PermissionError as error:
        raise reading.not_permitted(folder) from error
    except FileNotFoundError:
        return  # deleted meanwhile: its files will be missed
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(folder / entry.name, f"{prefix}{entry.name}/")
        else:
            yield f"{prefix}{entry.name}", entry


def told(strange: list[str]) -> list[str]:
    """Return the first of many, and how many more there are."""
    more = len(strange) - _TOLD
    return strange if more <= 0 else [*strange[:_TOLD], f"and {more} more such files"]


def damage(path: Path, entry: FileEntry) -> str | None:
    """Say in what a file differs from its entry, or None."""
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
