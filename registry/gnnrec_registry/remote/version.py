"""A version in an object store: opening reads the manifest, files are downloaded when needed."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import BinaryIO

from gnnrec_registry.errors import NoSuchVersion, VersionCorrupt
from gnnrec_registry.files.layout import MANIFEST, MANIFEST_KEPT
from gnnrec_registry.remote.cache import Cache
from gnnrec_registry.remote.download import Damage, download
from gnnrec_registry.remote.history import READERS
from gnnrec_registry.remote.objects import Objects
from gnnrec_registry.versions import version
from gnnrec_registry.versions.contents import VersionContents
from gnnrec_registry.versions.manifest import FileEntry, decode


class RemoteVersion(version.Version):
    """A version whose files are mapped from the cache; `folder` is the prefix of its keys."""

    def __init__(self, objects: Objects, cache: Cache, prefix: Path) -> None:
        """Read the manifest; FileNotFoundError without one, VersionCorrupt for a damaged one."""
        content = objects.read((prefix / MANIFEST).as_posix())
        manifest = decode(content, prefix.name, prefix.parent.parent.name)
        VersionContents.__init__(self, prefix, manifest, objects.address(prefix.as_posix()))
        self._objects = objects
        self._cache = cache

    def file(self, name: str) -> Path:
        """Return the path of one of the version's files in the cache, or raise VersionCorrupt."""
        entry = self.manifest.files.get(name)
        if entry is None:
            raise VersionCorrupt(f"version {self.name!r}: {name} is missing")
        try:
            return self._file(name, entry)
        except Damage as damage:
            where = self._objects.address(self._key(name))
            raise VersionCorrupt(f"version {self.name!r}: {name} {damage} ({where})") from None

    def folder_of(self, name: str, advance: Callable[[float], None] = lambda share: None) -> Path:
        """Return a folder in the cache with a file and all the files of its folder, by their names.

        `advance` is called with the share that is here, up to 1. Raises VersionCorrupt.
        """
        place = Path(name).parent
        names = [file for file in self.manifest.files if Path(file).parent == place]
        with ThreadPoolExecutor(READERS) as readers:
            for done, _ in enumerate(readers.map(self.file, names), start=1):
                advance(done / len(names))
        entries = {Path(file).name: self.manifest.files[file] for file in names}
        return self._cache.named(entries, Path("versions") / self.name / place)

    def verify(self, advance: Callable[[int], None] = lambda read: None) -> None:
        """Raise VersionCorrupt, naming every damaged file, unless the version is whole and sound.

        First the sizes of the objects are compared. Then every file is downloaded if it is not in
        the cache, and its sha256 compared.
        """
        there = self._objects.entries(self.folder.as_posix())
        damage = []
        for name, entry in sorted(self.manifest.files.items()):
            found = there.pop(self._key(name), None)
            if found is None:
                damage.append(f"{name} is missing")
            elif found.size != entry.size:
                damage.append(f"{name} has {found.size} bytes, not {entry.size}")
        prefix = self._key("")
        strange = [
            f"{key.removeprefix(prefix)!a:.200} is not in the manifest"
            for key in there.keys() - {self._key(MANIFEST), self._key(MANIFEST_KEPT)}
            if key.startswith(prefix)
        ]
        if damage or strange:
            self._require_there()
            raise VersionCorrupt(
                f"version {self.name!r}: {'; '.join(damage + version.shortened(sorted(strange)))}"
            )
        super().verify(advance)

    def _strangers(self) -> list[str]:
        return []  # `verify` has looked for them in the store

    def _require_there(self) -> None:
        if not self._objects.has(self._key(MANIFEST)):
            raise NoSuchVersion(f"version {self.name!r} was deleted while it was read")

    def _damage(self, name: str, entry: FileEntry) -> str | None:
        """Compare a file, downloading it if needed; a corrupted copy is downloaded again."""
        try:
            if version.damage(self._file(name, entry), entry) is None:
                return None
            self._cache.discard(entry)
            return version.damage(self._file(name, entry), entry)
        except Damage as damage:
            return str(damage)

    def _file(self, name: str, entry: FileEntry) -> Path:
        return self._cache.file(entry, partial(self._fill, name, entry))

    def _fill(self, name: str, entry: FileEntry, file: BinaryIO) -> None:
        self.fetched += download(self._objects, self._key(name), entry, file)

    def _key(self, name: str) -> str:
        return f"{self.folder.as_posix()}/{name}"
