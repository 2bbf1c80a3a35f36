"""What a version holds, opened for reading: its manifest at once, its arrays as they are needed."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnrec_registry.errors import VersionCorrupt
from gnnrec_registry.features import attributes
from gnnrec_registry.features.attributes import Attribute
from gnnrec_registry.files import layout, reading
from gnnrec_registry.files.arrays import Embeddings, read_array, read_lines
from gnnrec_registry.files.json import Json
from gnnrec_registry.scoring.lists import ItemLists
from gnnrec_registry.versions.manifest import Manifest


class VersionContents:
    """The files of a version, published or staged for it; arrays are memory-mapped.

    `where` names the place for messages.
    """

    def __init__(self, folder: Path, manifest: Manifest, where: str) -> None:
        self.folder = folder
        self.manifest = manifest
        self.name = manifest.version
        self.where = where

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
        """Titles by item row; None if the version has none."""
        if layout.ITEM_TITLES not in self.manifest.files:
            return None
        return self.lines(layout.ITEM_TITLES)

    @cached_property
    def seen(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """The training interactions as CSR: indptr (U+1,), item rows (E,), sorted per user."""
        return self.array(layout.SEEN_INDPTR), self.array(layout.SEEN_ITEMS)

    @cached_property
    def liked(self) -> NDArray[np.bool_] | None:
        """Which of the seen interactions (E,) are edges of the training graph; None if all are."""
        if layout.SEEN_LIKED not in self.manifest.files:
            return None
        return self.array(layout.SEEN_LIKED).astype(bool)

    def embeddings(self, variant: str) -> tuple[Embeddings, Embeddings]:
        """Return a variant's user (U, D) and item (I, D) embeddings, memory-mapped."""
        return self.array(layout.users_array(variant)), self.array(layout.items_array(variant))

    def fold(self, variant: str) -> Embeddings:
        """Return the item vectors from which new users are embedded: (I, D), memory-mapped."""
        return self.array(layout.fold_array(variant))

    def lists(self, variant: str) -> ItemLists | None:
        """Return a variant's item lists, memory-mapped; None for a variant without."""
        entry = self.manifest.variants[variant].lists
        if entry is None:
            return None
        # as plain arrays, whose look-ups are quicker
        return ItemLists(
            indptr=np.asarray(self.array(layout.lists_array(variant, "indptr"))),
            items=np.asarray(self.array(layout.lists_array(variant, "items"))),
            weights=np.asarray(self.array(layout.lists_array(variant, "weights"))),
            degree_exponent=entry.degree_exponent,
        )

    def features(self) -> tuple[Embeddings, Embeddings]:
        """Return the encoded features of users (U, F_u) and items (I, F_i), memory-mapped."""
        return self.array(layout.USER_FEATURES), self.array(layout.ITEM_FEATURES)

    def attributes(self) -> dict[str, Attribute]:
        """Return the item attributes by name, memory-mapped."""
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
        """Return a local folder with a file and all the files of its folder, by their names.

        `advance` is called with the share that is here, up to 1. Raises VersionCorrupt.
        """
        return self.file(name).parent

    def summary(self) -> Json:
        """Return the manifest as plain JSON values."""
        return self.manifest.model_dump(mode="json")
