"""The versions of one model: publish, open, list, verify, prune."""

import hashlib
import time
from collections.abc import Hashable
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from gnnrec_registry.aliases.aliases import Aliases
from gnnrec_registry.errors import (
    AliasCorrupt,
    InvalidExport,
    NoSuchModel,
    NoSuchVersion,
    VersionCorrupt,
    VersionExists,
)
from gnnrec_registry.files.json import canonical_json, first_problem
from gnnrec_registry.locations import open_storage
from gnnrec_registry.versions.contents import VersionContents
from gnnrec_registry.versions.export import Export
from gnnrec_registry.versions.manifest import FileEntry, Manifest, VariantEntry, decode, encode, now
from gnnrec_registry.versions.soundness import check
from gnnrec_registry.versions.version import Damaged, Version, sha256

# A default name that is taken is free again in the next second; a clock that stands still is not
# waited for.
_NEXT_SECOND_S = 2.0
_AGAIN_S = 0.05


class ModelStore:
    """One model in a registry: a folder, or a URL such as s3://bucket/registry."""

    def __init__(self, root: Path | str, model: str) -> None:
        self._storage = open_storage(root, model)
        self.layout = self._storage.layout
        self.aliases = Aliases(self._storage)

    def open(self, version: str) -> Version:
        """Open a version for reading, or raise NoSuchVersion or VersionCorrupt."""
        return self._storage.open(version)

    def versions(self) -> list[Version | Damaged]:
        """Return every version, newest first; then those whose manifest cannot be read."""
        self.layout.require()
        whole: list[Version] = []
        damaged: list[Damaged] = []
        for name, opened in self._storage.open_all(self.layout.version_names()):
            if isinstance(opened, Version):
                whole.append(opened)
            elif not isinstance(opened, NoSuchVersion | NoSuchModel):  # pruned since it was listed
                damaged.append(Damaged(name, str(opened)))
        return [*sorted(whole, key=_age, reverse=True), *damaged]

    def stamp(self, version: str) -> tuple[Hashable, ...]:
        """Return an opaque value that changes whenever a file of the version changes."""
        return self._storage.stamp(version)

    @property
    def checkpoints(self) -> Path:
        """Where on this machine stopped trainings of the model are kept."""
        return self._storage.checkpoints

    def check_writable(self, size: int = 0) -> None:
        """Raise CannotWrite if a version of `size` bytes could clearly not be published.

        To be called before a long training; it leaves no trace.
        """
        self._storage.check_writable(size)

    def publish(self, export: Export, *, version: str | None = None) -> Version:
        """Publish a new version and return it: all of it becomes visible at once, or nothing.

        `version` names it; the default is the UTC time in seconds and a short hash of the content,
        and where that is taken it waits for the next second. Raises VersionExists, or InvalidExport
        when a number or an id breaks the format.
        """
        if version is not None and self._storage.has_version(version):
            raise self._exists(version)
        with self._storage.staging() as folder:
            export.write(folder)
            files = {
                path.relative_to(folder).as_posix(): FileEntry(
                    size=path.stat().st_size, sha256=sha256(path)
                )
                for path in sorted(folder.rglob("*"))
                if path.is_file()
            }
            created_at, name = self._named(version, files)
            manifest = self._checked(folder, name, created_at, export, files)
            try:
                self._storage.commit(folder, name, files, manifest)
            except FileExistsError as error:
                raise self._exists(name) from error
        return self.open(name)

    def _named(self, version: str | None, files: dict[str, FileEntry]) -> tuple[datetime, str]:
        """Return the time of the publish and the name of the version, a free one by default."""
        created_at = now()
        if version is not None:
            return created_at, version
        name = _default_name(created_at, files)
        end = time.monotonic() + _NEXT_SECOND_S
        while self._storage.has_version(name) and time.monotonic() < end:
            time.sleep(_AGAIN_S)
            created_at = now()
            name = _default_name(created_at, files)
        return created_at, name

    def prune(self, keep: int, *, dry_run: bool = False) -> list[str]:
        """Delete all but the `keep` newest versions and return the names deleted, newest first.

        Versions that an alias names, tries, or would name after a rollback are kept. With `dry_run`
        nothing is deleted. If a version would be deleted while an alias or a part of the history
        cannot be read, AliasCorrupt is raised and nothing is deleted.
        """
        if dry_run:
            return self._doomed(keep)[0]
        with self._storage.locked():
            doomed, protected = self._doomed(keep)
            if protected is not None:
                self._storage.sweep(protected)
            return [name for name in doomed if self._delete(name)]

    def _doomed(self, keep: int) -> tuple[list[str], set[str] | None]:
        """Return the versions to delete, and those to protect; None if that is unknown."""
        old = [found.name for found in self.versions() if isinstance(found, Version)][keep:]
        try:
            protected = self.aliases.in_use()
        except AliasCorrupt:
            if old:
                raise
            return [], None
        return [name for name in old if name not in protected], protected

    def _delete(self, version: str) -> bool:
        return self._storage.delete(version, lambda: version in self.aliases.in_use())

    def _checked(
        self,
        folder: Path,
        name: str,
        created_at: datetime,
        export: Export,
        files: dict[str, FileEntry],
    ) -> bytes:
        """Return the manifest of a staged version, or raise InvalidExport if it is not sound."""
        try:
            canonical_json(export.config)  # refuses NaN, which pydantic would write as null
            content = encode(self._manifest(name, created_at, export, files))
            manifest = decode(content, name, self.layout.model)
            check(VersionContents(folder, manifest, str(folder)), finite=False)
        except (VersionCorrupt, ValueError, TypeError) as error:
            problem = first_problem(error) if isinstance(error, ValidationError) else error
            raise InvalidExport(f"{problem}; nothing was published") from error
        return content

    def _manifest(
        self, name: str, created_at: datetime, export: Export, files: dict[str, FileEntry]
    ) -> Manifest:
        return Manifest(
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
                    lists=variant.lists_entry,
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
            verdict=export.verdict,
            fits=export.fits,
            start=export.start,
            search=export.search,
            libraries=dict(export.libraries),
            seconds=dict(export.seconds),
            files=files,
        )

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
