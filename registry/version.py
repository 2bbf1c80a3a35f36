"""A published version, opened for reading."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry import attributes, layout
from registry.arrays import Embeddings, read_array, read_lines
from registry.attributes import Attribute
from registry.errors import NoSuchVersion, VersionCorrupt
from registry.manifest import FileEntry, Json, Manifest, decode

_CHUNK = 1 << 20


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
            content = (folder / layout.MANIFEST).read_bytes()
        except OSError:
            raise NoSuchVersion(f"no version {folder.name!r} in {folder.parent}") from None
        self.manifest: Manifest = decode(content, folder.name)

    @cached_property
    def user_ids(self) -> list[str]:
        """Ids by user row."""
        return read_lines(self.file(layout.USER_IDS))

    @cached_property
    def item_ids(self) -> list[str]:
        """Ids by item row."""
        return read_lines(self.file(layout.ITEM_IDS))

    @cached_property
    def item_titles(self) -> list[str] | None:
        """Titles by item row; None if the version was published without."""
        if layout.ITEM_TITLES not in self.manifest.files:
            return None
        return read_lines(self.file(layout.ITEM_TITLES))

    @cached_property
    def seen(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """The training interactions as CSR: indptr (U+1,), item rows (E,), sorted per user."""
        return self.array(layout.SEEN_INDPTR), self.array(layout.SEEN_ITEMS)

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
            entry.name: attributes.read(
                [self.file(name) for name in attributes.names(place, entry)]
            )
            for place, entry in enumerate(self.manifest.attributes)
        }

    def array(self, name: str) -> NDArray[Any]:
        """Map one of the version's arrays."""
        return read_array(self.file(name))

    def read(self, name: str) -> bytes:
        """Return the content of one of the version's files."""
        return self.file(name).read_bytes()

    def file(self, name: str) -> Path:
        """Return the path of one of the version's files, or raise VersionCorrupt."""
        path = self.folder / name
        if name not in self.manifest.files or not path.is_file():
            raise VersionCorrupt(f"version {self.name!r}: {name} is missing")
        return path

    def folder_of(self, name: str, advance: Callable[[float], None] = lambda share: None) -> Path:
        """Return a local folder where a file stands with all those beside it, by their names.

        `advance` hears which share of them is here. Raises VersionCorrupt.
        """
        return self.file(name).parent

    def verify(self, advance: Callable[[int], None] = lambda read: None) -> None:
        """Raise VersionCorrupt, naming every damaged file, unless the version is whole and sound.

        Compares sizes and sha256 with the manifest, then shapes, ids and finiteness. `advance`
        hears how many bytes are read.
        """
        damage, read = [], 0
        for name, entry in sorted(self.manifest.files.items()):
            if problem := self._damage(name, entry):
                damage.append(f"{name} {problem}")
            read += entry.size
            advance(read)
        if damage:
            raise VersionCorrupt(f"version {self.name!r}: {'; '.join(damage)}")
        self._check_ids()
        self._check_seen()
        for variant in self.manifest.variants:
            self._check_embeddings(variant)
        self._check_features()
        self._check_attributes()

    def summary(self) -> Json:
        """Return the manifest as plain JSON values."""
        return self.manifest.model_dump(mode="json")

    def _damage(self, name: str, entry: FileEntry) -> str | None:
        """Say in what one of the files differs from its entry, or None."""
        return damage(self.folder / name, entry)

    def _check_ids(self) -> None:
        data = self.manifest.data
        for name, ids, count in (
            (layout.USER_IDS, self.user_ids, data.users),
            (layout.ITEM_IDS, self.item_ids, data.items),
        ):
            self._require(len(ids) == count, f"{name} has {len(ids)} ids, the manifest {count}")
            self._require(len(set(ids)) == count, f"{name} has an id twice")
        titles = self.item_titles
        self._require(
            titles is None or len(titles) == data.items, "items.titles has another length"
        )

    def _check_seen(self) -> None:
        indptr, items = self.seen
        data = self.manifest.data
        self._require(
            indptr.shape == (data.users + 1,)
            and int(indptr[0]) == 0
            and bool((np.diff(indptr) >= 0).all())
            and items.shape == (int(indptr[-1]),)
            and bool(((items >= 0) & (items < data.items)).all()),
            "the seen arrays are not a CSR matrix of its users and items",
        )

    def _check_embeddings(self, variant: str) -> None:
        entry = self.manifest.variants[variant]
        data = self.manifest.data
        users, items = self.embeddings(variant)
        self._check_matrix(f"{variant}/users.npy", users, (data.users, entry.embedding_dim))
        self._check_matrix(f"{variant}/items.npy", items, (data.items, entry.embedding_dim))
        if entry.fold_in is not None:
            shape = (data.items, entry.embedding_dim)
            self._check_matrix(layout.fold_array(variant), self.fold(variant), shape)
        if entry.model is not None:
            self.file(entry.model.file)
            self._require(
                self.manifest.features is not None
                and entry.model.graph in (None, *self.manifest.variants),
                f"variant {variant!r} has a model without its features or graph variant",
            )

    def _check_features(self) -> None:
        encoding, data = self.manifest.features, self.manifest.data
        if encoding is not None:
            users, items = self.features()
            self._check_matrix(layout.USER_FEATURES, users, (data.users, encoding.users.width))
            self._check_matrix(layout.ITEM_FEATURES, items, (data.items, encoding.items.width))

    def _check_attributes(self) -> None:
        entries = self.manifest.attributes
        self._require(
            len({entry.name for entry in entries}) == len(entries), "an attribute stands twice"
        )
        for entry, attribute in zip(entries, self.attributes().values(), strict=True):
            problem = attributes.problem(entry, attribute, self.manifest.data.items)
            self._require(problem is None, f"attribute {entry.name!r} {problem}")

    def _check_matrix(self, name: str, array: NDArray[Any], shape: tuple[int, int]) -> None:
        self._require(
            array.dtype == np.float32 and array.shape == shape,
            f"{name} is {array.dtype} {array.shape}, not float32 {shape}",
        )
        self._require(bool(np.isfinite(array).all()), f"{name} holds NaN")

    def _require(self, condition: bool, problem: str) -> None:
        if not condition:
            raise VersionCorrupt(f"version {self.name!r}: {problem}")


def damage(path: Path, entry: FileEntry) -> str | None:
    """Say in what a file differs from its entry, or None."""
    try:
        size = path.stat().st_size
        if size != entry.size:
            return f"has {size} bytes, not {entry.size}"
        if sha256(path) != entry.sha256:
            return "has another sha256"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None


def sha256(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
