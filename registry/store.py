"""The versions of one model: publish, open, list, verify, prune."""

import errno
import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from registry import durable
from registry.aliases import Aliases
from registry.errors import CannotWrite, NoSuchVersion, RegistryError, VersionExists
from registry.export import Export
from registry.layout import MANIFEST, ModelLayout
from registry.manifest import FileEntry, Manifest, VariantEntry, encode, now
from registry.version import Damaged, Version, sha256

_STAGING = ".staging-"
_DELETED = ".deleted-"
# NumPy does not say that a disk is full when it is; so much may be left of its last block.
_LITTLE = 1 << 20


class ModelStore:
    """One model in a registry directory."""

    def __init__(self, root: Path, model: str) -> None:
        self.layout = ModelLayout(root, model)
        self.aliases = Aliases(self.layout)

    def open(self, version: str) -> Version:
        """Open a version for reading, or raise NoSuchVersion or VersionCorrupt."""
        folder = self.layout.version(version)
        self.layout.require()
        if not (folder / MANIFEST).is_file():
            raise NoSuchVersion(
                f"no version {version!r} of {self.layout.model!r}; "
                f"see: gnnrec versions --model {self.layout.model}"
            )
        return Version(folder)

    def versions(self) -> list[Version | Damaged]:
        """Return every version, newest first; then those whose manifest cannot be read."""
        self.layout.require()
        whole: list[Version] = []
        damaged: list[Damaged] = []
        for name in self.layout.version_names():
            try:
                whole.append(Version(self.layout.version(name)))
            except NoSuchVersion:
                continue  # pruned between listing and opening
            except RegistryError as error:
                damaged.append(Damaged(name, str(error)))
        return [*sorted(whole, key=_age, reverse=True), *damaged]

    def stamp(self, version: str) -> tuple[tuple[str, int, int, int], ...]:
        """Return what changes whenever a file of a version does: names, inodes, times, sizes."""
        found = []
        for parent, _, names in os.walk(self.layout.version(version)):
            for name in names:
                path = Path(parent, name)
                with suppress(FileNotFoundError):
                    stat = path.stat()
                    found.append((str(path), stat.st_ino, stat.st_mtime_ns, stat.st_size))
        return tuple(sorted(found))

    def publish(self, export: Export, *, version: str | None = None) -> Version:
        """Write a new version and return it; it is there whole, or not at all.

        `version` names it; the default is the UTC time and a short hash of the content. Raises
        VersionExists, or InvalidExport when a number or an id breaks the format.
        """
        if version is not None and self.layout.version(version).exists():
            raise self._exists(version)
        with self._staging() as folder:
            export.write(folder)
            files = {
                path.relative_to(folder).as_posix(): FileEntry(
                    size=path.stat().st_size, sha256=sha256(path)
                )
                for path in sorted(folder.rglob("*"))
                if path.is_file()
            }
            created_at = now()
            name = _default_name(created_at, files) if version is None else version
            durable.fsync_tree(folder)
            self._write_manifest(folder, name, created_at, export, files)
            try:
                os.rename(folder, self.layout.version(name))
            except OSError as error:
                if self.layout.version(name).exists():
                    raise self._exists(name) from error
                raise
            durable.fsync(self.layout.versions)
        return self.open(name)

    def prune(self, keep: int, *, dry_run: bool = False) -> list[str]:
        """Delete all but the `keep` newest versions and return the names deleted, newest first.

        Versions that an alias names, or would name after a rollback, always stay. With `dry_run`
        nothing is deleted.
        """
        with durable.locked(self.layout.lock):
            protected = self.aliases.in_use()
            whole = [version for version in self.versions() if isinstance(version, Version)]
            doomed = [version.name for version in whole[keep:] if version.name not in protected]
            if not dry_run:
                for name in doomed:
                    self._delete(name)
        return doomed

    def _delete(self, version: str) -> None:
        """Take a version away in one step, then free its space."""
        grave = self.layout.versions / f"{_DELETED}{uuid.uuid4().hex}"
        os.rename(self.layout.version(version), grave)
        durable.fsync(self.layout.versions)
        shutil.rmtree(grave, ignore_errors=True)  # the next publish sweeps what is left

    @contextmanager
    def _staging(self) -> Iterator[Path]:
        """Make a folder beside the versions and hold its lock; remove it unless it was renamed."""
        durable.make_folder(self.layout.versions)
        self._sweep()
        folder = self.layout.versions / f"{_STAGING}{uuid.uuid4().hex}"
        folder.mkdir()
        lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
        except OSError as error:
            full = error.errno is None and shutil.disk_usage(folder).free < _LITTLE
            reason = os.strerror(errno.ENOSPC) if full else error.strerror or str(error)
            raise CannotWrite(
                f"the version cannot be written to {self.layout.versions}: {reason}; "
                "nothing of it is left there"
            ) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)

    def _sweep(self) -> None:
        """Remove what killed publishers and prunes left; a living publisher holds its lock."""
        for left in [
            *self.layout.versions.glob(f"{_STAGING}*"),
            *self.layout.versions.glob(f"{_DELETED}*"),
        ]:
            try:
                lock = os.open(left, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            except BlockingIOError:
                pass
            finally:
                os.close(lock)

    def _write_manifest(
        self,
        folder: Path,
        name: str,
        created_at: datetime,
        export: Export,
        files: dict[str, FileEntry],
    ) -> None:
        manifest = Manifest(
            model=self.layout.model,
            version=name,
            created_at=created_at,
            config=export.config,
            data=export.data,
            metric_definition=export.metric_definition,
            variants={
                key: VariantEntry(
                    embedding_dim=variant.users.shape[1],
                    metrics={split: dict(values) for split, values in variant.metrics.items()},
                    fold_in=variant.fold_in,
                    model=variant.model,
                )
                for key, variant in export.variants.items()
            },
            default_variant=export.default_variant,
            features=None if export.features is None else export.features.encoding,
            attributes=tuple(attribute.entry for attribute in export.attributes),
            baselines={
                key: {split: dict(values) for split, values in splits.items()}
                for key, splits in export.baselines.items()
            },
            libraries=dict(export.libraries),
            seconds=dict(export.seconds),
            files=files,
        )
        durable.replace(folder / MANIFEST, encode(manifest))

    def _exists(self, version: str) -> VersionExists:
        return VersionExists(
            f"version {version!r} of {self.layout.model!r} exists and never changes; "
            "choose another name"
        )


def _default_name(created_at: datetime, files: dict[str, FileEntry]) -> str:
    content = "".join(entry.sha256 for entry in files.values())
    return f"{created_at:%Y%m%dT%H%M%SZ}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"


def _age(version: Version) -> tuple[datetime, str]:
    return version.manifest.created_at, version.name
