"""Aliases: mutable names for versions, moved by compare-and-swap, with a history of every move.

The alias file is the truth and carries its last move whole, so a crash between replacing it and
appending to the history loses nothing: the next writer appends the missing line first, and readers
add it in their answer.
"""

import getpass
import json
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from registry import durable
from registry.errors import (
    AliasConflict,
    AliasCorrupt,
    NoSuchAlias,
    NoSuchVersion,
    NothingToRollBack,
)
from registry.layout import MANIFEST, ModelLayout
from registry.manifest import canonical_json, now


class Move(BaseModel):
    """One move of an alias; also the content of its file, which is its last move."""

    model_config = ConfigDict(frozen=True, extra="allow")

    alias: str
    version: str
    generation: int
    """Counts the alias's moves, from 1."""
    action: Literal["promote", "rollback"]
    previous: str | None
    """The version it named before."""
    updated_at: datetime
    updated_by: str
    why: str = ""


class Aliases:
    """The aliases of one model."""

    def __init__(self, layout: ModelLayout) -> None:
        self._layout = layout

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
        with durable.locked(self._layout.lock):
            return self._move(alias, version, "promote", why, who, expected_generation)

    def rollback(
        self, *, alias: str, to: str | None = None, why: str = "", who: str | None = None
    ) -> Move:
        """Point an alias back at the version it named before, or at the earlier version `to`.

        Rolling back twice goes back two versions; it never returns to what was rolled back.
        """
        self._layout.require()
        with durable.locked(self._layout.lock):
            self.get(alias)
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
            return self._move(alias, target, "rollback", why, who, None)

    def history(self, alias: str | None = None) -> list[Move]:
        """Return every move, oldest first; of one alias or of all."""
        moves = self._recorded()
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
        path = self._layout.alias(alias)
        if not (self._layout.version(version) / MANIFEST).is_file():
            raise NoSuchVersion(
                f"no version {version!r} of {self._layout.model!r}; nothing was moved; "
                f"see: gnnrec versions --model {self._layout.model}"
            )
        last = self._find(alias)
        generation = last.generation if last else 0
        if expected_generation is not None and expected_generation != generation:
            raise AliasConflict(
                f"alias {alias!r} is at generation {generation}, not {expected_generation}: "
                "someone else moved it; look again before moving it"
            )
        self._repair_history()
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
        durable.make_folder(path.parent)
        durable.replace(path, canonical_json(move.model_dump(mode="json")))
        self._append(move)
        return move

    def _find(self, alias: str) -> Move | None:
        path = self._layout.alias(alias)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            move = Move.model_validate_json(content)
        except ValidationError as error:
            raise AliasCorrupt(f"{path} is damaged: {error.errors()[0]['msg']}") from None
        if move.alias != alias:
            raise AliasCorrupt(f"{path} is of alias {move.alias!r}")
        return move

    def _recorded(self) -> list[Move]:
        """Return the moves in the history file; a last line cut short by a crash does not count."""
        try:
            content = self._layout.history.read_bytes()
        except FileNotFoundError:
            return []
        moves = []
        for number, line in enumerate(content.split(b"\n")[:-1], start=1):
            try:
                moves.append(Move.model_validate_json(line))
            except ValidationError as error:
                message = f"{self._layout.history} line {number}: {error.errors()[0]['msg']}"
                raise AliasCorrupt(message) from None
        return moves

    def _repair_history(self) -> None:
        """Finish what a killed writer left: drop half a line, append a move not yet recorded."""
        path = self._layout.history
        if path.exists():
            content = path.read_bytes()
            if not content.endswith(b"\n"):
                durable.replace(path, content[: content.rfind(b"\n") + 1])
        for move in self.history()[len(self._recorded()) :]:
            self._append(move)

    def _append(self, move: Move) -> None:
        line = json.dumps(move.model_dump(mode="json"), ensure_ascii=False, sort_keys=True)
        with self._layout.history.open("ab") as file:
            file.write(line.encode() + b"\n")
        durable.fsync(self._layout.history)
        durable.fsync(self._layout.folder)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"  # a container's user without a passwd entry
