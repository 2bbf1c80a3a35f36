"""File operations that survive a crash: when they return, the change is on the disk."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def fsync(path: Path) -> None:
    """Force a file's or a folder's content to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_tree(folder: Path) -> None:
    """Force every file and folder under `folder`, and itself, to the disk."""
    for parent, _, names in os.walk(folder):
        for name in names:
            fsync(Path(parent, name))
        fsync(Path(parent))


def make_folder(folder: Path) -> None:
    """Create `folder` and its missing parents, and force each new entry to the disk."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    fsync(folder.parent)


def replace(path: Path, content: bytes) -> None:
    """Replace a file's content atomically: a reader sees all of the old or all of the new."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(content)
        fsync(beside)
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    fsync(path.parent)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the exclusive lock on the file `path` against other processes and threads.

    The system releases the lock when the process ends, even if it is killed.
    """
    make_folder(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
