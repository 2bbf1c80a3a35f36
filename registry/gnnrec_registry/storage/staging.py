"""Folders for versions that are being published: locked while in use, swept once abandoned."""

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gnnrec_registry.errors import CannotWrite

STAGING = ".staging-"
"""How the names of such folders begin."""

# A symbolic link is not followed, and a named pipe, which would block, is refused.
_FOLDER = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY | os.O_NOFOLLOW


def check_folder(folder: Path, size: int) -> None:
    """Raise CannotWrite unless the folder, or its nearest existing parent, has room for a version.

    size: in bytes. The folder must be writable too.
    """
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
    """Make a staging folder, hold its lock so that nobody sweeps it, and remove it at the end."""
    folder, lock = _make_locked(parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _make_locked(parent: Path) -> tuple[Path, int]:
    """Make a staging folder and lock it; try again if it is swept before the lock is held.

    A sweeper takes the lock before it removes a folder. So a folder that still exists when its
    maker gets the lock is safe for as long as the maker's process lives.
    """
    while True:
        folder = parent / f"{STAGING}{uuid.uuid4().hex}"
        folder.mkdir()
        with suppress(FileNotFoundError):
            lock = os.open(folder, _FOLDER)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.is_dir():
                return folder, lock
            os.close(lock)


def sweep_folders(parent: Path, prefix: str = STAGING) -> None:
    """Remove the folders with this prefix whose makers have ended; a living maker holds a lock."""
    for left in parent.glob(f"{prefix}*"):
        try:
            lock = os.open(left, _FOLDER)
        except OSError:
            continue  # removed meanwhile, another user's, or not a folder
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(lock)
