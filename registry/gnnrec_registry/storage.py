"""What a place must do to hold a model; one is a local folder, the other an object store."""

import re
from collections.abc import Callable, Collection, Hashable, Iterator
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit
from urllib.request import url2pathname

from gnnrec_registry.errors import RegistryError
from gnnrec_registry.layout import ModelLayout
from gnnrec_registry.layout import models as local_models
from gnnrec_registry.local import LocalStorage
from gnnrec_registry.manifest import FileEntry
from gnnrec_registry.moves import Move, Record
from gnnrec_registry.remote.failures import missing_driver
from gnnrec_registry.version import Version

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")


class History(Protocol):
    """The moves of all aliases."""

    def read(self) -> Record:
        """Return the recorded moves, oldest first, and what cannot be read."""

    def mend(self, last: Collection[Move]) -> list[str]:
        """Record those of the aliases' last moves that a killed writer did not.

        Returns what was met that cannot be read.
        """

    def append(self, move: Move) -> None:
        """Record a move."""

    def set_aside(self) -> list[str]:
        """Move what cannot be read to where it harms nobody, and return what it was."""


class Storage(Protocol):
    """Where the versions, aliases and history of one model stand."""

    @property
    def layout(self) -> ModelLayout:
        """What is called what, and which models, versions and aliases there are."""

    @property
    def history(self) -> History:
        """The moves of the aliases."""

    def has_version(self, version: str) -> bool:
        """Tell whether a whole version of this name is there."""

    def open(self, version: str) -> Version:
        """Open a version, or raise NoSuchVersion or VersionCorrupt."""

    def open_all(self, versions: list[str]) -> Iterator[tuple[str, Version | RegistryError]]:
        """Open many, each with what `open` would return or raise."""

    def stamp(self, version: str) -> tuple[Hashable, ...]:
        """Return what changes whenever a file of a version does."""

    @property
    def checkpoints(self) -> Path:
        """Where on this machine stopped trainings of the model are kept."""

    def check_writable(self, size: int) -> None:
        """Raise CannotWrite unless a version of so many bytes can be published; leave no trace."""

    def staging(self) -> AbstractContextManager[Path]:
        """Yield an empty local folder for a version's files; it is gone afterwards."""

    def commit(
        self, folder: Path, version: str, files: dict[str, FileEntry], manifest: bytes
    ) -> None:
        """Publish a staged folder, whole or not at all; FileExistsError if the name is taken."""

    def delete(self, version: str, is_needed: Callable[[], bool]) -> bool:
        """Take a version away unless someone came to need it meanwhile; tell whether it went."""

    def sweep(self, needed: Collection[str]) -> None:
        """Remove what killed publishers and prunes left, and nothing of the needed versions."""

    def locked(self) -> AbstractContextManager[None]:
        """Keep others from moving aliases, where the place can; `replace_alias` holds anyway."""

    def read_alias(self, alias: str) -> bytes | None:
        """Return the content of an alias, None where there is none; AliasCorrupt, NotPermitted."""

    def replace_alias(self, alias: str, content: bytes, before: bytes | None) -> None:
        """Replace an alias in one step, or raise AliasConflict if it is no longer `before`."""


def open_storage(root: Path | str, model: str) -> Storage:
    """Return the storage of a model in a folder, or at a URL that fsspec knows."""
    place = _place(root)
    if isinstance(place, Path):
        return LocalStorage(place, model)
    _need_fsspec(place)
    # fsspec is imported only for those who name a URL
    from gnnrec_registry.remote.storage import RemoteStorage

    return RemoteStorage(place, model)


def models(root: Path | str) -> list[str]:
    """Return the names of the models in a registry, sorted."""
    place = _place(root)
    if isinstance(place, Path):
        return local_models(place)
    _need_fsspec(place)
    from gnnrec_registry.remote.storage import remote_models

    return remote_models(place)


def _need_fsspec(url: str) -> None:
    if find_spec("fsspec") is None:
        raise missing_driver(url, "fsspec is missing")


def _place(root: Path | str) -> Path | str:
    """Return a local path, or a URL of another place."""
    found = None if isinstance(root, Path) else _URL.match(root)
    if found is None:
        return Path(root)
    if found[1].lower() in ("file", "local"):
        return Path(url2pathname(urlsplit(str(root)).path))
    return str(root)
