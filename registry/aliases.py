"""Aliases: mutable names for versions, moved by compare-and-swap, with a history of every move.

The alias file is the truth and carries its last move whole, so a crash between replacing it and
appending to the history loses nothing: the next writer appends the missing line first, and readers
add it in their answer.
"""

import getpass
from typing import Literal

from pydantic import ValidationError

from registry.errors import (
    AliasConflict,
    AliasCorrupt,
    NoSuchAlias,
    NoSuchVersion,
    NothingToRollBack,
)
from registry.manifest import canonical_json, now
from registry.moves import Move
from registry.storage import Storage


class Aliases:
    """The aliases of one model."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._layout = storage.layout

    def all(self) -> dict[str, Move]:
        """Return the last move of every alias, by name."""
        return {name: self.get(name) for name in self._layout.alias_names()}

    def get(self, alias: str) -> Move:
        """Return the last move of an alias, or raise NoSuchAlias or AliasCorrupt."""
        move = self._find(alias)
        if move is None:
            there = ", ".join(self._layout.alias_names()) or "none yet"
            raise NoSuchAlias(
                f"no alias {alias!r} of {self._layout.model!r}; aliases there: {there}; "
                f"set it: gnnrec promote VERSION --model {self._layout.model} --alias {alias}"
            )
        return move

    def promote(
        self,
        version: str,
        *,
        alias: str,
        why: str = "",
        who: str | None = None,
        expected_generation: int | None = None,
    ) -> Move:
        """Point an alias at a version and return the move.

        With `expected_generation` (0 for an alias not there yet) it moves only if the alias is
        still at that generation, and raises AliasConflict otherwise.
        """
        self._layout.require()
        with self._storage.locked():
            return self._move(alias, version, "promote", why, who, expected_generation)

    def rollback(
        self, *, alias: str, to: str | None = None, why: str = "", who: str | None = None
    ) -> Move:
        """Point an alias back at the version it named before, or at the earlier version `to`.

        Rolling back twice goes back two versions; it never returns to what was rolled back.
        """
        self._layout.require()
        with self._storage.locked():
            generation = self.get(alias).generation
            earlier = self._stack(alias)[:-1]
            if not earlier:
                raise NothingToRollBack(
                    f"alias {alias!r} of {self._layout.model!r} has named no earlier version"
                )
            target = to or earlier[-1]
            if target not in earlier:
                raise NothingToRollBack(
                    f"alias {alias!r} has not named {target!r} before; "
                    f"it can go back to: {', '.join(reversed(earlier))}"
                )
            return self._move(alias, target, "rollback", why, who, generation)

    def history(self, alias: str | None = None) -> list[Move]:
        """Return every move, oldest first; of one alias or of all."""
        moves = self._storage.history.moves()
        there = {(move.alias, move.generation) for move in moves}
        for last in self.all().values():
            if (last.alias, last.generation) not in there:
                moves.append(last)
        return [move for move in moves if alias in (None, move.alias)]

    def in_use(self) -> set[str]:
        """Return the versions that an alias names or would name after a rollback."""
        return {version for alias in self.all() for version in self._stack(alias)[-2:]}

    def _stack(self, alias: str) -> list[str]:
        """Return the versions a rollback can walk back through, the current one last."""
        stack: list[str] = []
        for move in self.history(alias):
            if move.action == "rollback" and move.version in stack:
                while stack[-1] != move.version:
                    stack.pop()
            elif not stack or stack[-1] != move.version:
                stack.append(move.version)
        return stack

    def _move(
        self,
        alias: str,
        version: str,
        action: Literal["promote", "rollback"],
        why: str,
        who: str | None,
        expected_generation: int | None,
    ) -> Move:
        """Write one move; the caller holds the lock."""
        if not self._storage.has_version(version):
            raise NoSuchVersion(
                f"no version {version!r} of {self._layout.model!r}; nothing was moved; "
                f"see: gnnrec versions --model {self._layout.model}"
            )
        before = self._storage.read_alias(alias)
        last = self._parse(alias, before)
        generation = last.generation if last else 0
        if expected_generation is not None and expected_generation != generation:
            raise AliasConflict(
                f"alias {alias!r} is at generation {generation}, not {expected_generation}: "
                "someone else moved it; look again before moving it"
            )
        self._storage.history.mend(self.all().values())
        move = Move(
            alias=alias,
            version=version,
            generation=generation + 1,
            action=action,
            previous=last.version if last else None,
            updated_at=now(),
            updated_by=who or _user(),
            why=why,
        )
        self._storage.replace_alias(alias, canonical_json(move.model_dump(mode="json")), before)
        self._storage.history.append(move)
        self._check_still_there(version, alias)
        return move

    def _check_still_there(self, version: str, alias: str) -> None:
        """Raise NoSuchVersion if, where nothing locks, a prune came between look and move."""
        if not self._storage.has_version(version):
            raise NoSuchVersion(
                f"version {version!r} of {self._layout.model!r} was pruned while {alias!r} moved "
                "to it; servers keep what they serve; promote another"
            )

    def _find(self, alias: str) -> Move | None:
        return self._parse(alias, self._storage.read_alias(alias))

    def _parse(self, alias: str, content: bytes | None) -> Move | None:
        if content is None:
            return None
        path = self._layout.alias(alias)
        try:
            move = Move.model_validate_json(content)
        except ValidationError as error:
            raise AliasCorrupt(f"{path} is damaged: {error.errors()[0]['msg']}") from None
        if move.alias != alias:
            raise AliasCorrupt(f"{path} is of alias {move.alias!r}")
        return move


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"  # a container's user without a passwd entry
