"""A model in a local folder: published by one rename, aliases moved under a lock."""

import errno
import os
import shutil
import uuid
from collections.abc import Callable, Collection, Hashable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from gnnrec_registry.aliases.history import LineHistory
from gnnrec_registry.errors import (
    AliasCorrupt,
    CannotWrite,
    NoSuchVersion,
    NotPermitted,
    RegistryError,
)
from gnnrec_registry.files import durable, reading
from gnnrec_registry.files.layout import MANIFEST, ModelLayout
from gnnrec_registry.storage.staging import STAGING, check_folder, locked_folder, sweep_folders
from gnnrec_registry.versions.manifest import FileEntry
from gnnrec_registry.versions.version import Version

_DELETED = ".deleted-"
_CHECKPOINTS = ".checkpoints"
# NumPy reports a full disk without an error number; then less than this is free.
_LITTLE = 1 << 20


class LocalStorage:
    """The versions, aliases and history of one model in a folder of a POSIX file system."""

    def __init__(self, root: Path, model: str) -> None:
        self.layout = ModelLayout(root, model)
        self.history = LineHistory(self.layout)

    def has_version(self, version: str) -> bool:
        """Tell whether a whole version of this name is there."""
        return reading.is_file(self.layout.version(version) / MANIFEST)

    def open(self, version: str) -> Version:
        """Open a version, or raise NoSuchVersion or VersionCorrupt."""
        folder = self.layout.version(version)
        self.layout.require()
        if not self.has_version(version):
            raise NoSuchVersion(
                f"no version {version!r} of {self.layout.model!r}; "
                f"see: gnnrec versions --model {self.layout.model}"
            )
        return Version(folder)

    def open_all(self, versions: list[str]) -> Iterator[tuple[str, Version | RegistryError]]:
        """Yield each name with its opened version, or with the error that `open` would raise."""
        for version in versions:
            try:
                yield version, Version(self.layout.version(version))
            except RegistryError as error:
                yield version, error

    def stamp(self, version: str) -> tuple[Hashable, ...]:
        """Return the names, inodes, times and sizes of a version's files."""
        found = []
        for parent, _, names in os.walk(self.layout.version(version)):
            for name in names:
                path = Path(parent, name)
                with suppress(OSError):  # gone or unreadable: opening the version reports it
                    stat = path.stat()
                    found.append((str(path), stat.st_ino, stat.st_mtime_ns, stat.st_size))
        return tuple(sorted(found))

    @property
    def checkpoints(self) -> Path:
        """The folder for checkpoints of interrupted trainings of the model."""
        return self.layout.folder / _CHECKPOINTS

    def check_writable(self, size: int) -> None:
        """Raise CannotWrite unless the folder, or its nearest existing parent, has room."""
        check_folder(self.layout.versions, size)

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Make a folder beside the versions; remove it unless it was renamed.

        Raises CannotWrite when the disk is full or read-only.
        """
        with self._writing():
            durable.make_folder(self.layout.versions)
            self.sweep()
            with locked_folder(self.layout.versions) as folder, self._writing():
                yield folder  # the inner _writing sees a full disk before the folder is removed

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if isinstance(error, RegistryError):
                raise
            raise self._cannot_write(error) from error

    def _cannot_write(self, error: OSError) -> CannotWrite:
        folder = self.layout.versions
        full = error.errno is None and shutil.disk_usage(folder).free < _LITTLE
        reason = os.strerror(errno.ENOSPC) if full else error.strerror or str(error)
        return CannotWrite(
            f"the version cannot be written to {self.layout.versions}: {reason}; "
            "nothing of it is left there"
        )

    def commit(
        self, folder: Path, version: str, files: dict[str, FileEntry], manifest: bytes
    ) -> None:
        """Force the files to the disk, then the manifest, then rename the folder."""
        durable.fsync_tree(folder)
        durable.replace(folder / MANIFEST, manifest)
        try:
            os.rename(folder, self.layout.version(version))
        except OSError as error:
            if self.layout.version(version).exists():
                raise FileExistsError(version) from error
            raise
        durable.fsync(self.layout.versions)

    def delete(self, version: str, is_needed: Callable[[], bool]) -> bool:
        """Hide a version by one rename, then free its space; the caller holds the lock."""
        grave = self.layout.versions / f"{_DELETED}{uuid.uuid4().hex}"
        try:
            os.rename(self.layout.version(version), grave)
        except FileNotFoundError:
            return False  # deleted by hand: other prunes wait for the lock
        except PermissionError as error:
            raise reading.not_permitted(self.layout.version(version), "deleted") from error
        durable.fsync(self.layout.versions)
        shutil.rmtree(grave, ignore_errors=True)  # the next publish sweeps what is left
        return True

    def sweep(self, needed: Collection[str] = ()) -> None:
        """Remove what interrupted publishes and prunes left, which is not named like a version."""
        sweep_folders(self.layout.versions, STAGING)
        sweep_folders(self.layout.versions, _DELETED)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock under which aliases are moved and versions pruned."""
        with ExitStack() as stack:
            try:
                stack.enter_context(durable.locked(self.layout.lock))
            except PermissionError as error:
                raise reading.not_permitted(self.layout.lock, "written") from error
            yield

    def read_alias(self, alias: str) -> bytes | None:
        """Return the content of an alias's file, None where there is none."""
        path = self.layout.alias(alias)
        try:
            return reading.read(path)
        except FileNotFoundError:
            return None
        except NotPermitted:
            raise
        except OSError as error:
            raise AliasCorrupt(f"{path} {error.strerror or error}; move it away") from None

    def replace_alias(self, alias: str, content: bytes, before: bytes | None) -> None:
        """Replace an alias's file in one step; the caller holds the lock, so it is `before`."""
        path = self.layout.alias(alias)
        try:
            durable.make_folder(path.parent)
            durable.replace(path, content)
        except PermissionError as error:
            raise reading.not_permitted(path, "written") from error
