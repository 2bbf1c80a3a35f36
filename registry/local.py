"""A model in a local folder: published by one rename, aliases moved under a lock."""

import errno
import fcntl
import os
import shutil
import uuid
from collections.abc import Callable, Collection, Hashable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from registry import durable
from registry.errors import CannotWrite, NoSuchVersion, RegistryError
from registry.history import LineHistory
from registry.layout import MANIFEST, ModelLayout
from registry.manifest import FileEntry
from registry.version import Version

_STAGING = ".staging-"
_DELETED = ".deleted-"
# NumPy does not say that a disk is full when it is; so much may be left of its last block.
_LITTLE = 1 << 20


class LocalStorage:
    """The versions, aliases and history of one model in a folder of a POSIX file system."""

    def __init__(self, root: Path, model: str) -> None:
        self.layout = ModelLayout(root, model)
        self.history = LineHistory(self.layout)

    def has_version(self, version: str) -> bool:
        """Tell whether a whole version of this name is there."""
        return (self.layout.version(version) / MANIFEST).is_file()

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
        """Open many, each with what `open` would return or raise."""
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
                with suppress(FileNotFoundError):
                    stat = path.stat()
                    found.append((str(path), stat.st_ino, stat.st_mtime_ns, stat.st_size))
        return tuple(sorted(found))

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Make a folder beside the versions; remove it unless it was renamed.

        Raises CannotWrite when the disk is full or does not take it.
        """
        durable.make_folder(self.layout.versions)
        self.sweep()
        with locked_folder(self.layout.versions) as folder:
            try:
                yield folder
            except OSError as error:
                if isinstance(error, RegistryError):
                    raise
                raise self._cannot_write(error, folder) from error

    def _cannot_write(self, error: OSError, folder: Path) -> CannotWrite:
        full = error.errno is None and shutil.disk_usage(folder).free < _LITTLE
        reason = os.strerror(errno.ENOSPC) if full else error.strerror or str(error)
        return CannotWrite(
            f"the version cannot be written to {self.layout.versions}: {reason}; "
            "nothing of it is left there"
        )

    def commit(
        self, folder: Path, version: str, files: dict[str, FileEntry], manifest: bytes
    ) -> None:
        """Force the files to disk, then the manifest, then give the folder its name."""
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
        """Take a version away in one step, then free its space; the caller holds the lock."""
        grave = self.layout.versions / f"{_DELETED}{uuid.uuid4().hex}"
        os.rename(self.layout.version(version), grave)
        durable.fsync(self.layout.versions)
        shutil.rmtree(grave, ignore_errors=True)  # the next publish sweeps what is left
        return True

    def sweep(self, needed: Collection[str] = ()) -> None:
        """Remove what killed publishers and prunes left; it has other names than versions."""
        sweep_folders(self.layout.versions, _STAGING)
        sweep_folders(self.layout.versions, _DELETED)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock that whoever moves an alias or prunes holds."""
        with durable.locked(self.layout.lock):
            yield

    def read_alias(self, alias: str) -> bytes | None:
        """Return the content of an alias's file, None where there is none."""
        try:
            return self.layout.alias(alias).read_bytes()
        except FileNotFoundError:
            return None

    def replace_alias(self, alias: str, content: bytes, before: bytes | None) -> None:
        """Replace an alias's file in one step; the caller holds the lock, so it is `before`."""
        path = self.layout.alias(alias)
        durable.make_folder(path.parent)
        durable.replace(path, content)


def local_models(root: Path) -> list[str]:
    """Return the names of the models in a folder, sorted."""
    return sorted(path.parent.name for path in root.glob("*/versions"))


@contextmanager
def locked_folder(parent: Path) -> Iterator[Path]:
    """Make a staging folder and hold its lock, so that nobody sweeps it; then remove it."""
    folder = parent / f"{_STAGING}{uuid.uuid4().hex}"
    folder.mkdir()
    lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def sweep_folders(parent: Path, prefix: str = _STAGING) -> None:
    """Remove the folders whose makers are gone; a living one holds its lock."""
    for left in parent.glob(f"{prefix}*"):
        try:
            lock = os.open(left, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(lock)
