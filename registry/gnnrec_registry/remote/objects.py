"""Objects by key below a URL, through fsspec, with deadlines and clear errors."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import fsspec
from fsspec.asyn import sync

from gnnrec_registry.remote.failures import explained

_DEADLINE_S = 30.0
_RANGES_DEADLINE_S = 120.0
# The deadline of an upload allows for this speed.
_LEAST_BYTES_PER_S = 50_000


@dataclass(frozen=True)
class Entry:
    """The size and time of an object, from a listing."""

    size: int
    modified: datetime | None


class Objects:
    """The objects below a URL; keys are relative to it.

    A missing object raises FileNotFoundError, one that should not exist FileExistsError. Every
    other failure of the store is StoreRefused or StoreUnreachable.
    """

    credentials = "the credentials that its driver takes"
    read_options: ClassVar[dict[str, Any]] = {}

    def __init__(self, url: str) -> None:
        """Build the driver; the store is not contacted yet."""
        self.url = url.rstrip("/")
        with self._asking():
            self._fs = self._driver()
            self._root = self._fs._strip_protocol(self.url).rstrip("/")

    @property
    def conditional(self) -> bool:
        """Whether the store makes `create` and `replace` conditional even among several writers."""
        return False

    def address(self, key: str) -> str:
        """Return the URL of an object."""
        return f"{self.url}/{key}"

    def read(self, key: str) -> bytes:
        """Return the content of an object."""
        content: bytes = self._ask("cat_file", self._path(key), **self.read_options)
        return content

    def read_ranges(
        self, key: str, starts: Sequence[int], ends: Sequence[int]
    ) -> list[bytes | Exception]:
        """Return parts of an object, requested concurrently; a failed part is its error."""
        parts: list[bytes | Exception] = self._ask(
            "cat_ranges",
            [self._path(key)] * len(starts),
            list(starts),
            list(ends),
            on_error="return",
            deadline_s=_RANGES_DEADLINE_S,
        )
        return [
            explained(part, self.url, self.credentials) if isinstance(part, Exception) else part
            for part in parts
        ]

    def has(self, key: str) -> bool:
        """Tell whether an object is there."""
        try:
            self._info(key)
        except FileNotFoundError:
            return False
        return True

    def size(self, key: str) -> int:
        """Return the size of an object in bytes."""
        return int(self._info(key)["size"])

    def tag(self, key: str) -> str:
        """Return the object's tag for `replace`: it changes whenever the object does."""
        return ""

    def entries(self, prefix: str) -> dict[str, Entry]:
        """Return every object below a prefix, by key."""
        try:
            found = self._ask("find", self._path(prefix), detail=True)
        except FileNotFoundError:
            return {}
        return {
            path[len(self._root) :].lstrip("/"): Entry(int(info["size"]), _modified(info))
            for path, info in sorted(found.items())
            if info["type"] == "file"
        }

    def folders(self, prefix: str = "") -> list[str]:
        """Return the names of the folders directly below a prefix."""
        try:
            found = self._ask("ls", self._path(prefix), detail=True)
        except FileNotFoundError:
            return []
        return sorted(
            info["name"].rstrip("/").rpartition("/")[2]
            for info in found
            if info["type"] == "directory"
        )

    def create(self, key: str, content: bytes) -> None:
        """Write a new object; FileExistsError if it exists."""
        if self.conditional:
            self._create(key, content)
        else:
            self._refuse_present(key)
            self._ask("pipe_file", self._path(key), content)

    def replace(self, key: str, content: bytes, tag: str) -> None:
        """Write an object whose tag is `tag`, or raise ConditionFailed."""
        if self.conditional:
            self._replace(key, content, tag)
        else:
            self._ask("pipe_file", self._path(key), content)

    def upload(self, path: Path, key: str) -> None:
        """Write a file as a new object; FileExistsError if it exists."""
        if self.conditional:
            self._upload(path, key)
        else:
            self._refuse_present(key)
            self._put(path, key)

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; missing ones are ignored."""
        for key in keys:
            try:
                self._ask("rm_file", self._path(key))
            except FileNotFoundError:
                continue

    def abandon_uploads(self, prefix: str, before: datetime) -> None:
        """Abort interrupted multipart uploads, in stores that keep their parts."""

    def _driver(self) -> Any:
        """Return the driver; fsspec shares one among equal URLs, with its connections."""
        return fsspec.url_to_fs(self.url)[0]

    def _create(self, key: str, content: bytes) -> None:
        raise NotImplementedError("only of stores that can be conditional")

    def _replace(self, key: str, content: bytes, tag: str) -> None:
        raise NotImplementedError("only of stores that can be conditional")

    def _upload(self, path: Path, key: str) -> None:
        raise NotImplementedError("only of stores that can be conditional")

    def _refuse_present(self, key: str) -> None:
        if self.has(key):
            raise FileExistsError(key)

    def _put(self, path: Path, key: str, **options: Any) -> None:
        deadline_s = _DEADLINE_S + path.stat().st_size / _LEAST_BYTES_PER_S
        self._ask("put_file", str(path), self._path(key), deadline_s=deadline_s, **options)

    def _info(self, key: str) -> dict[str, Any]:
        info: dict[str, Any] = self._ask("info", self._path(key))
        return info

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}".rstrip("/")

    def _ask(
        self, method: str, *arguments: Any, deadline_s: float | None = None, **options: Any
    ) -> Any:
        """Call the driver; an asynchronous one is stopped after the deadline."""
        with self._asking():
            if not self._fs.async_impl:
                return getattr(self._fs, method)(*arguments, **options)
            work = getattr(self._fs, f"_{method}")
            timeout_s = _DEADLINE_S if deadline_s is None else deadline_s
            return sync(self._fs.loop, work, *arguments, timeout=timeout_s, **options)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            clear = explained(error, self.url, self.credentials)
            if clear is error:
                raise
            raise clear from error


def _modified(info: dict[str, Any]) -> datetime | None:
    found = info.get("LastModified") or info.get("mtime") or info.get("created")
    return found if isinstance(found, datetime) else None
