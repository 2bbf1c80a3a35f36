"""A cache of downloaded files, named by their sha256 and shared by all processes.

<folder>/sha256/<2 digits>/<sha256>   complete, verified files; they appear by one rename
<folder>/named/<digest>/...           links to them by file name, such as a report's files
<folder>/partial/<sha256>             downloads in progress or interrupted
<folder>/.staging-<random>/           a version being published
<folder>/checkpoints/<digest>/...     checkpoints of interrupted trainings of a model
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gnnrec_registry.errors import CacheUnusable, StoreUnreachable
from gnnrec_registry.storage.staging import locked_folder, sweep_folders
from gnnrec_registry.versions.manifest import FileEntry

_GIGABYTE = 10**9
_DEFAULT_GB = 20.0
# A file used within this time is kept: a process may have its path and be about to open it.
_YOUNG_S = 600.0
_ABANDONED_S = 7 * 86_400.0
# How long to wait for another process's download that makes no progress.
_STALLED_S = 180.0
_LOOK_S = 0.1


@dataclass(frozen=True)
class Usage:
    """How much is in a cache."""

    files: int
    size: int


class Cache:
    """A folder of files by content; any number of processes may use it at once."""

    def __init__(self, folder: Path, limit: int) -> None:
        """Keep at most about `limit` bytes; the folder is created when it is needed."""
        self.folder = folder
        self.limit = limit

    @classmethod
    def from_environment(cls) -> "Cache":
        """Return the cache that GNNREC_CACHE and GNNREC_CACHE_GB name."""
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        folder = Path(os.environ.get("GNNREC_CACHE") or f"{base}/gnnrec").expanduser()
        text = os.environ.get("GNNREC_CACHE_GB") or str(_DEFAULT_GB)
        try:
            limit = float(text)
        except ValueError:
            limit = -1.0
        if not 0 <= limit < float("inf"):
            raise CacheUnusable(f"GNNREC_CACHE_GB is {text!r}; set it to a number of gigabytes")
        return cls(folder, int(limit * _GIGABYTE))

    def file(self, entry: FileEntry, fill: Callable[[BinaryIO], None]) -> Path:
        """Return the path of a cached file; if it is missing, `fill` downloads it first.

        `fill` gets a file that may hold the beginning from an earlier download. It appends the rest
        and raises unless the whole is right; what it wrote is kept for the next attempt. Of several
        processes one downloads and the others wait.
        """
        path = self._path(entry.sha256)
        with self._writing():
            if self._has(path, entry.size):
                return path
            with self._partial(entry.sha256, path) as file:
                if file is not None:
                    fill(file)
                    file.flush()
                    os.fsync(file.fileno())
                    os.fchmod(file.fileno(), 0o444)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(self._partial_path(entry.sha256), path)
            self.shrink(self.limit)
        return path

    def named(self, entries: Mapping[str, FileEntry], place: Path) -> Path:
        """Return a folder, whose path ends in `place`, with links to cached files by their names.

        So a page finds the files beside it, and nothing is stored twice. The files must be cached;
        if one is deleted later, its link works again once the file is downloaded again.
        """
        digest = hashlib.sha256()
        for name, entry in sorted(entries.items()):
            digest.update(f"{name} {entry.sha256}\n".encode())
        folder = self.folder / "named" / digest.hexdigest()[:16] / place
        with self._writing():
            folder.mkdir(parents=True, exist_ok=True)
            for name, entry in entries.items():
                content = os.path.relpath(self._path(entry.sha256), folder)
                with contextlib.suppress(FileExistsError):  # then it is the same link
                    (folder / name).symlink_to(content)
        return folder

    def checkpoints(self, owner: str) -> Path:
        """Return the folder for an owner's checkpoints of trainings; it may not exist."""
        return self.folder / "checkpoints" / hashlib.sha256(owner.encode()).hexdigest()[:16]

    def discard(self, entry: FileEntry) -> None:
        """Delete a cached file, such as one that was corrupted on the disk."""
        self._path(entry.sha256).unlink(missing_ok=True)

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Yield an empty folder of this process; it is removed afterwards."""
        with self._writing():
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            sweep_folders(self.folder)
            staging = locked_folder(self.folder)
            folder = staging.__enter__()
        try:
            yield folder
        finally:
            staging.__exit__(None, None, None)

    def usage(self) -> Usage:
        """Return how many files and bytes are cached, unfinished downloads included."""
        sizes = [size for _, size, _ in self._contents()]
        return Usage(len(sizes), sum(sizes))

    def shrink(self, limit: int) -> int:
        """Delete least recently used files until `limit` bytes are left; return the bytes freed.

        Files used within ten minutes are kept. A file that a process has mapped stays readable.
        """
        now = time.time()
        contents = sorted(self._contents())
        excess = sum(size for _, size, _ in contents) - limit
        freed = 0
        for used_at, size, path in contents:
            is_partial = path.parent.name == "partial"
            if now - used_at < (_ABANDONED_S if is_partial else _YOUNG_S):
                continue
            if freed < excess or is_partial:
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()
                    freed += size
        return freed

    def _contents(self) -> Iterator[tuple[float, int, Path]]:
        """Yield when each file was used last, its size and its path."""
        for pattern in ("sha256/*/*", "partial/*"):
            for path in self.folder.glob(pattern):
                with contextlib.suppress(FileNotFoundError):
                    found = path.stat()
                    yield found.st_mtime, found.st_size, path

    def _has(self, path: Path, size: int) -> bool:
        """Tell whether a complete file is cached, and update the time of its last use."""
        try:
            if path.stat().st_size != size:
                path.unlink(missing_ok=True)
                return False
            with contextlib.suppress(
                PermissionError
            ):  # another user's file: its time is not updated
                os.utime(path)
        except FileNotFoundError:
            return False
        return True

    @contextmanager
    def _partial(self, sha256: str, whole: Path) -> Iterator[BinaryIO | None]:
        """Open and lock the partial file; None if another process finished the download."""
        partial = self._partial_path(sha256)
        partial.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        waited_s, size = 0.0, -1
        while True:
            with open(
                os.open(partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+b"
            ) as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    grown = os.fstat(file.fileno()).st_size
                    waited_s, size = (0.0 if grown != size else waited_s + _LOOK_S), grown
                    if waited_s > _STALLED_S:
                        raise StoreUnreachable(
                            f"another process has been downloading {partial} and got nothing for "
                            f"{_STALLED_S:g} s"
                        ) from None
                else:
                    if whole.exists():
                        # the locked file is the finished one, or an empty one that was created here
                        if _is_at(file, partial):
                            partial.unlink()
                        yield None
                        return
                    if _is_at(file, partial):
                        yield file
                        return
                    continue
            time.sleep(_LOOK_S)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in (
                errno.EACCES, errno.EDQUOT, errno.ENOSPC, errno.ENOTDIR, errno.EPERM, errno.EROFS,
            ):  # fmt: skip
                raise
            raise CacheUnusable(
                f"the cache {self.folder} cannot be written ({error.strerror}); "
                "name another folder with GNNREC_CACHE, or make room: gnnrec cache --keep-gb 0"
            ) from error

    def _path(self, sha256: str) -> Path:
        return self.folder / "sha256" / sha256[:2] / sha256

    def _partial_path(self, sha256: str) -> Path:
        return self.folder / "partial" / sha256


def _is_at(file: BinaryIO, path: Path) -> bool:
    """Tell whether an open file is still the one at a path."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
