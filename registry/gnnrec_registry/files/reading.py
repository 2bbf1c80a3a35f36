"""Reading files and folders that other users own: unreadable is never mistaken for missing.

A path that may not be read raises NotPermitted with its name. Only regular files are opened, for
opening a named pipe would block until somebody writes to it.
"""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from gnnrec_registry.errors import NotPermitted

_NOT_THERE = (FileNotFoundError, NotADirectoryError)


def read(path: Path) -> bytes:
    """Return a regular file's content, or raise FileNotFoundError, NotPermitted or OSError."""
    with opened(path, follow=True) as file:
        return file.read()


def opened(path: Path, *, follow: bool) -> BinaryIO:
    """Open a regular file for reading; OSError names the kind of anything else.

    A symbolic link is refused unless `follow` is set.
    """
    try:
        _require_regular(path.stat() if follow else path.lstat(), path)
        # it may have been replaced since the check: neither block on a pipe nor follow a new link
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
        descriptor = os.open(path, flags)
    except PermissionError as error:
        raise not_permitted(path) from error
    except NotADirectoryError as error:
        raise FileNotFoundError(error.errno, error.strerror, str(path)) from None
    try:
        _require_regular(os.fstat(descriptor), path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def is_file(path: Path) -> bool:
    """Tell whether a path is a regular file; raise NotPermitted if that cannot be known."""
    try:
        return path.is_file()
    except PermissionError as error:
        raise not_permitted(path) from error


def is_folder(path: Path) -> bool:
    """Tell whether a path is a folder; raise NotPermitted if that cannot be known."""
    try:
        return path.is_dir()
    except PermissionError as error:
        raise not_permitted(path) from error


def names(folder: Path) -> list[str]:
    """Return the names in a folder, sorted; empty if the folder does not exist."""
    try:
        return sorted(os.listdir(folder))
    except _NOT_THERE:
        return []
    except PermissionError as error:
        raise not_permitted(folder) from error


def not_permitted(path: Path, what: str = "read") -> NotPermitted:
    """Return the error for a path that may not be `what`, such as read, by this user."""
    closed = next(
        (parent for parent in reversed(path.parents) if not os.access(parent, os.X_OK)), path
    )
    return NotPermitted(
        f"permission denied: {closed} may not be {what} by user id {os.geteuid()}; "
        "ask its owner for the right, or run as its owner"
    )


def _require_regular(found: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(None, f"is {_kind(found.st_mode)}, not a regular file", str(path))


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(mode), "a device")
