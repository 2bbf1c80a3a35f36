"""What a place must do to hold a model; one such place is a local folder, another a bucket."""

from collections.abc import Callable, Collection, Hashable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from gnnrec_registry.aliases.storage import AliasStorage
from gnnrec_registry.errors import RegistryError
from gnnrec_registry.versions.manifest import FileEntry
from gnnrec_registry.versions.version import Version


class Storage(AliasStorage, Protocol):
    """Where the versions, aliases and history of one model are kept."""

    def open(self, version: str) -> Version:
        """Open a version, or raise NoSuchVersion or VersionCorrupt."""

    def open_all(self, versions: list[str]) -> Iterator[tuple[str, Version | RegistryError]]:
        """Yield each name with its opened version, or with the error that `open` would raise."""

    def stamp(self, version: str) -> tuple[Hashable, ...]:
        """Return a value that changes whenever a file of the version changes."""

    @property
    def checkpoints(self) -> Path:
        """The local folder for checkpoints of interrupted trainings of the model."""

    def check_writable(self, size: int) -> None:
        """Raise CannotWrite unless a version of `size` bytes can be published; leaves no trace."""

    def staging(self) -> AbstractContextManager[Path]:
        """Yield an empty local folder for a version's files; it is removed afterwards."""

    def commit(
        self, folder: Path, version: str, files: dict[str, FileEntry], manifest: bytes
    ) -> None:
        """Publish a staged folder, whole or not at all; FileExistsError if the name is taken."""

    def delete(self, version: str, is_needed: Callable[[], bool]) -> bool:
        """Delete a version unless `is_needed` says that an alias came to name it meanwhile.

        Returns whether it was deleted.
        """

    def sweep(self, needed: Collection[str]) -> None:
        """Remove what interrupted publishes and prunes left; the `needed` versions stay whole."""
