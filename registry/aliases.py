"""Aliases: mutable names for versions, moved by compare-and-swap, with a history of every move.

The alias file is the truth and carries its last move whole, so a crash between replacing it and
appending to the history loses nothing: the next writer appends the missing line first, and readers
add it in their answer.
"""

import getpass
from contextlib import suppress
from typing import Literal

from pydantic import ValidationError

from registry.errors import (
    AliasConflict,
    AliasCorrupt,
    InvalidTrial,
    NoSuchAlias,
    NoSuchVersion,
    NothingToRollBack,
)
from registry.manifest import canonical_json, now
from registry.moves import Candidate, Guard, Move
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
            self._layout.require()
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
        forced: bool = False,
    ) -> Move:
        """Point an alias at a version and return the move; a trial under the alias ends.

        With `expected_generation` (0 for an alias not there yet) it moves only if the alias is
        still at that generation, and raises AliasConflict otherwise. `forced` also moves an alias
        whose file is damaged, from where the history says that it was.
        """
        self._layout.require()
        with self._storage.locked():
            return self._move(
                alias, version, "promote", why, who, expected_generation, forced=forced
            )

    def try_out(
        self,
        version: str,
        *,
        alias: str,
        percent: float = 0.0,
        shadow: bool = False,
        guard: Guard | None = None,
        why: str = "",
        who: str | None = None,
        expected_generation: int | None = None,
        forced: bool = False,
    ) -> Move:
        """Try a version beside the one that an alias names, and return the move.

        The candidate answers for `percent` of the subjects (0 to below 100); with `shadow` it also
        computes unseen what the named version answers. Promoting or rolling back ends the trial.
        """
        self._layout.require()
        if not 0 <= percent < 100 or not (percent or shadow):
            raise InvalidTrial(
                f"a trial takes above 0 and below 100 percent, or a shadow, not {percent:g}"
            )
        if guard is not None and not percent:
            raise InvalidTrial("a guard judges answered requests; give the trial a percentage")
        with self._storage.locked():
            last = self.get(alias)
            named = last.version
            if named == version:
                raise InvalidTrial(f"alias {alias!r} names {version!r} already; try another")
            if expected_generation is None:
                expected_generation = last.generation  # where nothing locks: what was looked at
            goes_on = last.candidate is not None and last.candidate.version == version
            candidate = Candidate(
                version=version,
                percent=percent,
                shadow=shadow,
                guard=guard,
                since=last.candidate.since if goes_on and last.candidate else last.generation + 1,
            )
            return self._move(
                alias, named, "promote", why, who, expected_generation, candidate, forced
            )

    def rollback(
        self,
        *,
        alias: str,
        to: str | None = None,
        why: str = "",
        who: str | None = None,
        expected_generation: int | None = None,
    ) -> Move:
        """End the trial under an alias, or point it back at the version it named before.

        With `to`, point it at any version that it has named. Rolling back twice goes back two
        versions; without `to` it never returns to what was rolled back.
        """
        self._layout.require()
        with self._storage.locked():
            move = self.get(alias)
            if to is not None:
                target = self._named_before(move, to)
            elif move.candidate is not None:
                target = move.version
            else:
                target = self._before(alias)
            if expected_generation is None:
                expected_generation = move.generation  # where nothing locks: what was looked at
            return self._move(alias, target, "rollback", why, who, expected_generation)

    def earlier(self, alias: str) -> list[str]:
        """Return the versions that rollbacks would walk back through, the nearest first."""
        return self._stack(alias)[-2::-1]

    def recorded(self, alias: str) -> list[Move]:
        """Return an alias's moves by the history file alone, for when its own is damaged."""
        return [move for move in self._storage.history.moves() if move.alias == alias]

    def history(self, alias: str | None = None) -> list[Move]:
        """Return every move, oldest first; of one alias or of all."""
        moves = self._storage.history.moves()
        there = {(move.alias, move.generation) for move in moves}
        lasts = self.all().values() if alias is None else filter(None, [self._find(alias)])
        for last in lasts:
            if (last.alias, last.generation) not in there:
                moves.append(last)
        return [move for move in moves if alias in (None, move.alias)]

    def in_use(self) -> set[str]:
        """Return the versions that an alias names, tries, or would name after a rollback."""
        moves = self.all()
        tried = {move.candidate.version for move in moves.values() if move.candidate is not None}
        return tried | {version for alias in moves for version in self._stack(alias)[-2:]}

    def _before(self, alias: str) -> str:
        """Return the version that an alias named before its present one."""
        for version in self.earlier(alias):
            return version
        raise NothingToRollBack(
            f"alias {alias!r} of {self._layout.model!r} has named no earlier version"
        )

    def _named_before(self, move: Move, version: str) -> str:
        """Return `version` if the alias has named it before its present one."""
        named = [each.version for each in self.history(move.alias)]
        earlier = [each for each in dict.fromkeys(reversed(named)) if each != move.version]
        if version in earlier or (version == move.version and move.candidate is not None):
            return version
        raise NothingToRollBack(
            f"alias {move.alias!r} has not named {version!r} before; "
            f"it can go back to: {', '.join(earlier) or 'nothing'}"
        )

    def _stack(self, alias: str) -> list[str]:
        """Return the versions a rollback can walk back through, the current one last."""
        stack: list[str] = []
        try:
            moves = self.history(alias)
        except AliasCorrupt:
            moves = self.recorded(alias)
        for move in moves:
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
        candidate: Candidate | None = None,
        forced: bool = False,
    ) -> Move:
        """Write one move; the caller holds the lock."""
        needed = version if candidate is None else candidate.version
        self._require(needed)
        before = self._storage.read_alias(alias)
        last = self._last(alias, before, forced)
        generation = last.generation if last else 0
        if expected_generation is not None and expected_generation != generation:
            raise AliasConflict(
                f"alias {alias!r} is at generation {generation}, not {expected_generation}: "
                "someone else moved it; look again before moving it"
            )
        self._storage.history.mend(self._readable())
        move = Move(
            alias=alias,
            version=version,
            generation=generation + 1,
            action=action,
            previous=last.version if last else None,
            updated_at=now(),
            updated_by=who or _user(),
            why=why,
            candidate=candidate,
            forced=forced,
        )
        self._storage.replace_alias(alias, canonical_json(move.model_dump(mode="json")), before)
        self._storage.history.append(move)
        self._check_still_there(needed, alias)
        return move

    def _last(self, alias: str, content: bytes | None, forced: bool) -> Move | None:
        try:
            return self._parse(alias, content)
        except AliasCorrupt:
            if not forced:
                raise
            return next(reversed(self.recorded(alias)), None)

    def _readable(self) -> list[Move]:
        """Return the last moves of the aliases but for those whose files are damaged."""
        moves: list[Move] = []
        for alias in self._layout.alias_names():
            with suppress(AliasCorrupt):
                moves += filter(None, [self._find(alias)])
        return moves

    def _require(self, version: str) -> None:
        if not self._storage.has_version(version):
            raise NoSuchVersion(
                f"no version {version!r} of {self._layout.model!r}; nothing was moved; "
                f"see: gnnrec versions --model {self._layout.model}"
            )

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
        mend = f"to mend it: gnnrec promote VERSION --alias {alias} --force --why REASON"
        try:
            move = Move.model_validate_json(content)
        except ValidationError as error:
            raise AliasCorrupt(f"{path} is damaged: {error.errors()[0]['msg']}; {mend}") from None
        if move.alias != alias:
            raise AliasCorrupt(f"{path} is of alias {move.alias!r}; {mend}")
        return move


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"  # a container's user without a passwd entry
