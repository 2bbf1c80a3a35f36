"""The errors of a registry; every message says what is wrong, with which thing, and what to do."""

from typing import Any


class RegistryError(Exception):
    """Base of all errors of this package."""


class InvalidName(RegistryError):
    """A model, version, alias or variant name that could not be a safe file name."""


class NoSuchModel(RegistryError):
    """The registry, or the model in it, does not exist."""


class NoSuchVersion(RegistryError):
    """The model has no such published version."""


class NoSuchAlias(RegistryError):
    """The model has no such alias."""


class VersionExists(RegistryError):
    """A version of this name is already published, and versions never change."""


class CannotWrite(RegistryError):
    """The disk is full, or may not be written to."""


class NotPermitted(RegistryError, PermissionError):
    """A file or folder exists, and this user may not read or write it."""


class VersionCorrupt(RegistryError):
    """A version's files differ from its manifest, or break the format."""


class AliasCorrupt(RegistryError):
    """An alias or the history cannot be read."""


class AliasConflict(RegistryError):
    """Someone else moved the alias between reading and moving it."""


class InvalidTrial(RegistryError):
    """A trial with neither a share nor a shadow, or of the version that the alias names."""


class PromotionRefused(RegistryError):
    """The version is damaged, or worse than a simple baseline or what the alias names."""


class NothingToRollBack(RegistryError):
    """The alias has named no earlier version."""


class StoreError(RegistryError, OSError):
    """The object store at a URL failed to do what it was asked."""


class StoreUnreachable(StoreError):
    """The store does not answer, or fails; trying again later may help."""


class StoreRefused(StoreError):
    """The store refuses: wrong credentials, missing rights, or no such bucket."""


class MissingDriver(RegistryError):
    """The package for a URL's protocol is not installed."""


class CacheUnusable(RegistryError):
    """The folder for downloaded files cannot be written."""


class InvalidExport(RegistryError):
    """The data of a publish break the format: shapes, ids or numbers."""


class InvalidFeature(RegistryError):
    """A raw feature value that its column's encoding does not accept."""

    def __init__(self, name: str, problem: str) -> None:
        """Name the column and what is wrong with the value."""
        super().__init__(f"feature {name!r} {problem}")
        self.name = name
        self.problem = problem

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the error by the arguments it was built with."""
        return type(self), (self.name, self.problem)
