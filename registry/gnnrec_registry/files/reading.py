"""Reading what others keep in a folder: nothing is taken for empty that only may not be looked at.

A path that may not be read raises NotPermitted with its name. Nothing but a regular file is opened:
whoever opens a named pipe waits until somebody writes to it.
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
    """Open a regular file for reading; OSError says what it is if it is something else.

    Unless told to `follow` it, a symbolic link is something else.
    """
    try:
        _require_regular(path.stat() if follow else path.lstat(), path)
        # what it was a moment ago it need not be any more: it must not make us wait, nor be a link
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
    """Tell whether there is a regular file; NotPermitted where that cannot be seen."""
    try:
        return path.is_file()
    except PermissionError as error:
        raise not_permitted(path) from error


def is_folder(path: Path) -> bool:
    """Tell whether there is a folder; NotPermitted where that cannot be seen."""
    try:
        return path.is_dir()
    except PermissionError as error:
        raise not_permitted(path) from error


def names(folder: Path) -> list[str]:
    """Return the names in a folder, sorted; none where there is no folder."""
    try:
        return sorted(os.listdir(folder))
    except _NOT_THERE:
        return []
    except PermissionError as error:
        raise not_permitted(folder) from error


def not_permitted(path: Path, what: str = "read") -> NotPermitted:
    """Return the error for a path that this user may not read, or whatever else is said."""
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
