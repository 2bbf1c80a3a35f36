"""What can go wrong with a registry; every message says what, which, and what to do next."""

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
    """A file or folder is there that this user may not read or write."""


class VersionCorrupt(RegistryError):
    """A version's files are not what its manifest says."""


class AliasCorrupt(RegistryError):
    """An alias or the history cannot be read."""


class AliasConflict(RegistryError):
    """Someone else moved the alias between reading and moving it."""


class InvalidTrial(RegistryError):
    """A trial that could not be one: no share, or the version that is named already."""


class PromotionRefused(RegistryError):
    """The version is damaged, or worse than the one that is served."""


class NothingToRollBack(RegistryError):
    """The alias has named no earlier version."""


class StoreError(RegistryError, OSError):
    """The store behind a URL does not do what it was asked."""


class StoreUnreachable(StoreError):
    """It does not answer, or fails; it may be better in a while."""


class StoreRefused(StoreError):
    """It refuses: credentials, rights, a bucket that is not there."""


class MissingDriver(RegistryError):
    """The package that speaks a URL's protocol is not installed."""


class CacheUnusable(RegistryError):
    """The folder that keeps what was downloaded cannot be written."""


class InvalidExport(RegistryError):
    """What is to be published breaks the format: shapes, ids or numbers."""


class InvalidFeature(RegistryError):
    """A raw feature value that the encoding of its column does not take."""

    def __init__(self, name: str, problem: str) -> None:
        """Name the column and what is wrong with the value."""
        super().__init__(f"feature {name!r} {problem}")
        self.name = name
        self.problem = problem

    def __reduce__(self) -> tuple[Any, ...]:
        """Be pickled by what it was made of."""
        return type(self), (self.name, self.problem)
