"""A model in a local folder: published by one rename, aliases moved under a lock."""

import errno
import fcntl
import os
import shutil
import uuid
from collections.abc import Callable, Collection, Hashable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from gnnrec_registry import durable, reading
from gnnrec_registry.errors import (
    AliasCorrupt,
    CannotWrite,
    NoSuchVersion,
    NotPermitted,
    RegistryError,
)
from gnnrec_registry.history import LineHistory
from gnnrec_registry.layout import MANIFEST, ModelLayout
from gnnrec_registry.manifest import FileEntry
from gnnrec_registry.version import Version

_STAGING = ".staging-"
_DELETED = ".deleted-"
_CHECKPOINTS = ".checkpoints"
# Not through a link, and a folder only: a named pipe would keep us waiting.
_FOLDER = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY | os.O_NOFOLLOW
# NumPy does not say that a disk is full when it is; so much may be left of its last block.
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
                with suppress(OSError):  # gone, or not to be looked at: that is for who opens it
                    stat = path.stat()
                    found.append((str(path), stat.st_ino, stat.st_mtime_ns, stat.st_size))
        return tuple(sorted(found))

    @property
    def checkpoints(self) -> Path:
        """Where stopped trainings of the model are kept."""
        return self.layout.folder / _CHECKPOINTS

    def check_writable(self, size: int) -> None:
        """Raise CannotWrite unless the folder, or what it would be made in, takes so much."""
        check_folder(self.layout.versions, size)

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Make a folder beside the versions; remove it unless it was renamed.

        Raises CannotWrite when the disk is full or does not take it.
        """
        with self._writing():
            durable.make_folder(self.layout.versions)
            self.sweep()
            with locked_folder(self.layout.versions) as folder, self._writing():
                yield folder  # what fills the disk is still there when the inner one looks

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
        try:
            os.rename(self.layout.version(version), grave)
        except FileNotFoundError:
            return False  # by hand: whoever prunes holds the lock
        except PermissionError as error:
            raise reading.not_permitted(self.layout.version(version), "deleted") from error
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


def check_folder(folder: Path, size: int) -> None:
    """Raise CannotWrite unless a folder, or the nearest above it, can be written and has room."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise CannotWrite(f"{folder} cannot be made: {there} is no folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise CannotWrite(f"{folder} cannot be written: {there} does not permit it to this user")
    free = shutil.disk_usage(there).free
    if free < size:
        raise CannotWrite(
            f"{folder} is to take about {size / 2**20:,.0f} MiB, and its disk has "
            f"{free / 2**20:,.0f} MiB left; make room, or name another registry"
        )


@contextmanager
def locked_folder(parent: Path) -> Iterator[Path]:
    """Make a staging folder and hold its lock, so that nobody sweeps it; then remove it."""
    folder, lock = _make_locked(parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _make_locked(parent: Path) -> tuple[Path, int]:
    """Make a staging folder and lock it; one that is swept in between is made anew.

    A sweeper takes the lock before it removes anything. So a folder that is still there once its
    maker has the lock is its maker's as long as that one lives.
    """
    while True:
        folder = parent / f"{_STAGING}{uuid.uuid4().hex}"
        folder.mkdir()
        with suppress(FileNotFoundError):
            lock = os.open(folder, _FOLDER)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.is_dir():
                return folder, lock
            os.close(lock)


def sweep_folders(parent: Path, prefix: str = _STAGING) -> None:
    """Remove the folders whose makers are gone; a living one holds its lock."""
    for left in parent.glob(f"{prefix}*"):
        try:
            lock = os.open(left, _FOLDER)
        except OSError:
            continue  # gone meanwhile, of another user, or no folder
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(lock)
