"""A model in an object store: the manifest publishes a version, aliases move conditionally."""

import hashlib
import logging
from collections.abc import Callable, Collection, Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

from gnnrec_registry.errors import (
    AliasConflict,
    NoSuchVersion,
    RegistryError,
    StoreError,
    StoreUnreachable,
    VersionCorrupt,
    VersionExists,
)
from gnnrec_registry.files.layout import MANIFEST, MANIFEST_KEPT, is_name
from gnnrec_registry.remote.cache import Cache
from gnnrec_registry.remote.history import READERS, ObjectHistory
from gnnrec_registry.remote.layout import RemoteLayout
from gnnrec_registry.remote.probe import ConditionFailed
from gnnrec_registry.remote.stores import open_objects
from gnnrec_registry.remote.version import RemoteVersion
from gnnrec_registry.storage.staging import check_folder
from gnnrec_registry.versions.manifest import FileEntry, decode, now

_log = logging.getLogger("gnnrec.registry")

_LEFT_AFTER = timedelta(days=1)
_CHUNK = 4 << 20


class RemoteStorage:
    """The versions, aliases and history of one model in an object store."""

    def __init__(self, url: str, model: str) -> None:
        self._objects = open_objects(url)
        self._cache = Cache.from_environment()
        self.layout = RemoteLayout(self._objects, model)
        self.history = ObjectHistory(self._objects, self.layout)

    def has_version(self, version: str) -> bool:
        """Tell whether a whole version of this name is there."""
        return self._objects.has(self._manifest(version))

    def open(self, version: str) -> RemoteVersion:
        """Open a version, or raise NoSuchVersion or VersionCorrupt."""
        try:
            return RemoteVersion(self._objects, self._cache, self.layout.version(version))
        except FileNotFoundError:
            self.layout.require()
            what_next = f"see: gnnrec versions --model {self.layout.model}"
            if self._objects.has(self._kept(version)):
                what_next = (
                    "a prune that has not ended took its manifest; if an alias needs it, "
                    "gnnrec prune gives it back"
                )
            raise NoSuchVersion(
                f"no version {version!r} of {self.layout.model!r} in {self._objects.url}; "
                f"{what_next}"
            ) from None

    def open_all(self, versions: list[str]) -> Iterator[tuple[str, RemoteVersion | RegistryError]]:
        """Open many concurrently; yield each name with its version or the error of `open`."""
        with ThreadPoolExecutor(READERS) as readers:
            yield from zip(versions, readers.map(self._open_or_error, versions), strict=True)

    def stamp(self, version: str) -> tuple[Hashable, ...]:
        """Return the manifest's tag, or an empty tuple if it does not exist."""
        try:
            return (self._objects.tag(self._manifest(version)),)
        except FileNotFoundError:
            return ()

    @property
    def checkpoints(self) -> Path:
        """The folder for checkpoints of interrupted trainings, in the cache."""
        return self._cache.checkpoints(f"{self._objects.url} {self.layout.model}")

    def check_writable(self, size: int) -> None:
        """Raise CannotWrite or the store's error unless a version can be published."""
        check_folder(self._cache.folder, size)
        probe = (self.layout.folder / ".writable").as_posix()
        with suppress(FileExistsError):  # left by a user who may write but not delete
            self._objects.create(probe, b"")
        with suppress(StoreError):
            self._objects.delete([probe])

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Yield an empty folder in the cache; it is removed afterwards."""
        with self._cache.staging() as folder:
            yield folder

    def commit(
        self, folder: Path, version: str, files: dict[str, FileEntry], manifest: bytes
    ) -> None:
        """Upload the files, overwriting none, then the manifest, which publishes them."""
        prefix = self.layout.version(version)
        taken_up = [
            name
            for name, entry in files.items()
            if not self._upload(folder / name, (prefix / name).as_posix(), version, entry)
        ]
        try:
            self._objects.create(self._manifest(version), manifest)
        except FileExistsError:
            # a retry after a lost answer finds our own manifest
            if self._objects.read(self._manifest(version)) != manifest:
                raise
        if taken_up:  # files that an interrupted publisher left: a prune may be sweeping them
            there = self._objects.entries(prefix.as_posix())
            for name in taken_up:
                if (prefix / name).as_posix() not in there:
                    key = (prefix / name).as_posix()
                    self._upload(folder / name, key, version, files[name])

    def delete(self, version: str, is_needed: Callable[[], bool]) -> bool:
        """Delete the manifest, then the files, unless an alias names the version meanwhile.

        A copy of the manifest is kept until that is decided. So if the prune is interrupted,
        `sweep` can restore the version. Concurrent prunes share the copy; a version that one of
        them has taken is left alone by the others.
        """
        key, kept = self._manifest(version), self._kept(version)
        try:
            self._keep(kept, self._objects.read(key))
        except FileNotFoundError:
            return False  # another prune was faster
        self._objects.delete([key])
        try:
            needed = is_needed()
        except BaseException:  # unknown whether it is needed, so it is kept
            self._restore(version)
            raise
        if needed:
            self._restore(version)
            return False
        self._objects.delete([kept])
        entries = self._objects.entries(self.layout.version(version).as_posix())
        if key in entries:
            return False  # another prune saw that it is needed, and restored it
        self._objects.delete(list(entries))
        return True

    def _keep(self, kept: str, manifest: bytes) -> None:
        """Write the copy of a manifest; a copy for an earlier version of this name is replaced."""
        try:
            self._objects.create(kept, manifest)
        except FileExistsError:
            if self._objects.read(kept) == manifest:
                return
            self._objects.delete([kept])
            self._objects.create(kept, manifest)

    def sweep(self, needed: Collection[str]) -> None:
        """Restore needed versions after interrupted prunes; remove other leftovers after a day."""
        before = now() - _LEFT_AFTER
        for name, keys in self.layout.version_keys().items():
            if self._manifest(name) in keys:
                continue
            if name in needed and self._kept(name) in keys:
                self._restore(name)
            elif all(
                entry.modified is not None and entry.modified < before for entry in keys.values()
            ):
                self._objects.delete(list(keys))
        try:
            self._objects.abandon_uploads(self.layout.versions.as_posix(), before)
        except StoreError as error:  # needs a separate right, and not every store supports it
            _log.warning("parts of uploads that were cut off may be left: %s", error)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock nothing: `replace_alias` is conditional."""
        yield

    def read_alias(self, alias: str) -> bytes | None:
        """Return the content of an alias, None where there is none."""
        try:
            return self._objects.read(self.layout.alias(alias).as_posix())
        except FileNotFoundError:
            return None

    def replace_alias(self, alias: str, content: bytes, before: bytes | None) -> None:
        """Replace an alias in one step, or raise AliasConflict if it is no longer `before`.

        A store without conditional writes is warned of.
        """
        if not self._objects.conditional:
            _log.warning(
                "%s has no conditional writes: of two moves of %s at the same moment one is lost "
                "unseen; move aliases from one place at a time", self._objects.url, alias,
            )  # fmt: skip
        key = self.layout.alias(alias).as_posix()
        try:
            self._swap(key, content, before)
        except (FileExistsError, ConditionFailed):
            # a retry after a lost answer finds our own move
            if self.read_alias(alias) != content:
                raise AliasConflict(
                    f"alias {alias!r} was moved by someone else at the same moment; "
                    "look again before moving it"
                ) from None
        except StoreUnreachable as error:
            raise StoreUnreachable(
                f"{error}; alias {alias!r} may have moved or not: look with gnnrec history"
            ) from error

    def _swap(self, key: str, content: bytes, before: bytes | None) -> None:
        if before is None:
            self._objects.create(key, content)
            return
        try:
            tag = self._objects.tag(key)
            if self._objects.read(key) != before:
                raise ConditionFailed(key)
        except FileNotFoundError:
            raise ConditionFailed(key) from None
        self._objects.replace(key, content, tag)

    def _open_or_error(self, version: str) -> RemoteVersion | RegistryError:
        try:
            return self.open(version)
        except StoreUnreachable:
            raise  # a failure of the store, not of this version
        except RegistryError as error:
            return error

    def _upload(self, path: Path, key: str, version: str, entry: FileEntry) -> bool:
        """Upload a file; return False if an object with the same content exists already."""
        try:
            self._objects.upload(path, key)
        except FileExistsError:
            self._check_same(key, version, entry)
            return False
        return True

    def _check_same(self, key: str, version: str, entry: FileEntry) -> None:
        """Raise VersionExists unless the existing object has the file's content."""
        digest = hashlib.sha256()
        if self._objects.size(key) == entry.size:
            for start in range(0, entry.size, _CHUNK):
                end = min(start + _CHUNK, entry.size)
                (part,) = self._objects.read_ranges(key, [start], [end])
                if isinstance(part, Exception):
                    raise part
                digest.update(part)
        if digest.hexdigest() != entry.sha256:
            raise VersionExists(
                f"{self._objects.address(key)} is of another publish of {version!r}: choose "
                "another name; gnnrec prune removes what a publisher that died left, after a day"
            )

    def _restore(self, version: str) -> None:
        """Restore the manifest of a version from the copy that an undecided prune made.

        The copy is kept. If the copy or a file is missing, another prune has decided to delete the
        version, and the manifest is removed again.
        """
        key, kept = self._manifest(version), self._kept(version)
        try:
            manifest = self._objects.read(kept)
            self._objects.create(key, manifest)
        except (FileExistsError, FileNotFoundError):
            return  # another process restored or deleted it
        prefix = self.layout.version(version)
        there = self._objects.entries(prefix.as_posix())
        needed = [kept, *((prefix / name).as_posix() for name in self._files(version, manifest))]
        if not all(name in there for name in needed):
            self._objects.delete([key])
            return
        _log.warning("version %s, which an alias needs, is given back after a prune", version)

    def _files(self, version: str, manifest: bytes) -> Collection[str]:
        try:
            return decode(manifest, version, self.layout.model).files
        except VersionCorrupt:
            return []  # the version was damaged already

    def _kept(self, version: str) -> str:
        return (self.layout.version(version) / MANIFEST_KEPT).as_posix()

    def _manifest(self, version: str) -> str:
        return (self.layout.version(version) / MANIFEST).as_posix()


def remote_models(url: str) -> list[str]:
    """Return the names of the models at a URL, sorted."""
    objects = open_objects(url)
    return [
        name for name in objects.folders() if is_name(name) and "versions" in objects.folders(name)
    ]
