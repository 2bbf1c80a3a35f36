"""Files that change while the server runs: certificates, tokens."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from gnnrec_server.errors import CannotStart

_log = logging.getLogger("gnnrec.server")

T = TypeVar("T")


class WatchedFiles(Generic[T]):
    """What some files hold, read again by `look` when they have changed.

    `read` raises CannotStart for files that cannot be used; then the old content stays.
    """

    def __init__(self, what: str, paths: Sequence[Path], read: Callable[[], T]) -> None:
        """Read for the first time, or raise CannotStart."""
        self._what = what
        self._paths = tuple(paths)
        self._read = read
        self._stamp = self._look_at_files()
        self.value = read()

    def look(self) -> None:
        """Read again if a file has changed; if that fails, log why and keep what was read."""
        stamp = self._look_at_files()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            value = self._read()
        except CannotStart as error:
            _log.error("the new %s cannot be used, the old stay: %s", self._what, error)
            return
        if self._look_at_files() != stamp:
            self._stamp = None  # replaced while it was read, one file perhaps before the other
            return
        self.value = value
        _log.info("read the new %s", self._what)

    def _look_at_files(self) -> tuple[tuple[int, ...], ...] | None:
        return tuple(map(_stamp, self._paths))


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    # ctime too: where only the rights have changed, what could not be read may be readable now
    return (found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size)
