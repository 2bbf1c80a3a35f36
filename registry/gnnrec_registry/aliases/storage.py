"""What a place must do to hold the aliases of a model and the history of their moves."""

from collections.abc import Collection
from contextlib import AbstractContextManager
from typing import Protocol

from gnnrec_registry.aliases.moves import Move, Record
from gnnrec_registry.files.layout import ModelLayout


class History(Protocol):
    """The moves of all aliases."""

    def read(self) -> Record:
        """Return the recorded moves, oldest first, and what cannot be read."""

    def mend(self, last: Collection[Move]) -> list[str]:
        """Record each alias's last move where a writer was killed before recording it.

        last: the last move of every alias. Returns a description of each part of the history that
        cannot be read.
        """

    def append(self, move: Move) -> None:
        """Record a move."""

    def set_aside(self) -> list[str]:
        """Move the parts that cannot be read to history.damaged; return a description of each."""


class AliasStorage(Protocol):
    """Where the aliases of one model are kept."""

    @property
    def layout(self) -> ModelLayout:
        """The paths of the model, and which versions and aliases there are."""

    @property
    def history(self) -> History:
        """The moves of the aliases."""

    def has_version(self, version: str) -> bool:
        """Tell whether a whole version of this name is there."""

    def locked(self) -> AbstractContextManager[None]:
        """Keep others from moving aliases meanwhile, where the place has locks.

        Without locks, `replace_alias` still refuses to overwrite another writer's move.
        """

    def read_alias(self, alias: str) -> bytes | None:
        """Return the content of an alias, None where there is none; AliasCorrupt, NotPermitted."""

    def replace_alias(self, alias: str, content: bytes, before: bytes | None) -> None:
        """Replace an alias in one step, or raise AliasConflict if it is no longer `before`."""
