"""Aliases: mutable names for versions, moved by compare-and-swap, with a history of every move.

An alias's file holds its whole last move. So a crash between replacing the file and appending to
the history loses nothing: the next writer appends the missing move first, and readers add it.

Damage is contained: moving an alias needs no other file than its own, and the readable part of the
history is still listed. Only a prune refuses to work with damage, for a deletion cannot be undone.
"""

import getpass
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from gnnrec_registry.aliases.moves import Candidate, Guard, Move, Record, read_move
from gnnrec_registry.aliases.storage import AliasStorage
from gnnrec_registry.errors import (
    AliasConflict,
    AliasCorrupt,
    InvalidTrial,
    NoSuchAlias,
    NoSuchVersion,
    NothingToRollBack,
    NotPermitted,
    StoreRefused,
)
from gnnrec_registry.files.json import canonical_json
from gnnrec_registry.files.layout import check_name
from gnnrec_registry.versions.manifest import now

_log = logging.getLogger("gnnrec.registry")

_MOST_NAMED = 3
"""How many damaged places an error message names; the command `history` names them all."""


@dataclass(frozen=True)
class Listed:
    """All aliases of a model, as far as they can be read."""

    moves: dict[str, Move]
    """The last move of each readable alias, by name."""
    damaged: dict[str, str]
    """Why an alias cannot be read, by name."""


class Aliases:
    """The aliases of one model."""

    def __init__(self, storage: AliasStorage) -> None:
        self._storage = storage
        self._layout = storage.layout

    def all(self) -> Listed:
        """Return the last move of every readable alias, and why the others cannot be read."""
        listed = Listed({}, {})
        for name in self._layout.alias_names():
            try:
                move = self._find(name)
            except (AliasCorrupt, NotPermitted, StoreRefused) as error:
                listed.damaged[name] = str(error)
                continue
            if move is not None:  # deleted since it was listed
                listed.moves[name] = move
        return listed

    def get(self, alias: str) -> Move:
        """Return the last move of an alias, or raise NoSuchAlias, AliasCorrupt or NotPermitted."""
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
        whose file is damaged; its last move is then taken from the history.
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

        The candidate answers `percent` of the users and items asked about (0 to below 100). With
        `shadow` it also computes answers for the others, which are compared and not sent.
        Promoting or rolling back ends the trial.
        """
        self._layout.require()
        check_name("version", version)
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
                expected_generation = (
                    last.generation
                )  # without locks, another move since is a conflict
            is_same_trial = last.candidate is not None and last.candidate.version == version
            candidate = Candidate(
                version=version,
                percent=percent,
                shadow=shadow,
                guard=guard,
                since=last.candidate.since
                if is_same_trial and last.candidate
                else last.generation + 1,
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
        versions: without `to`, an alias never returns to a version that was rolled back.
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
                expected_generation = (
                    move.generation
                )  # without locks, another move since is a conflict
            return self._move(alias, target, "rollback", why, who, expected_generation)

    def earlier(self, alias: str) -> list[str]:
        """Return the versions that rollbacks would walk back through, the nearest first."""
        return _stack(self.history(alias))[-2::-1]

    def recorded(self, alias: str) -> list[Move]:
        """Return an alias's moves from the history alone, for when the alias's file is damaged."""
        return [move for move in self._storage.history.read().moves if move.alias == alias]

    def history(self, alias: str | None = None) -> list[Move]:
        """Return every move that can be read, oldest first; of one alias or of all."""
        return self.record(alias).moves

    def record(self, alias: str | None = None) -> Record:
        """Return the history of one alias or of all, and what cannot be read.

        With an alias, unreadable lines of the whole history are reported: they may be its own.
        """
        return self._look(alias)[0]

    def mend_history(self) -> list[str]:
        """Move the unreadable parts of the history to history.damaged; return what was wrong.

        They are kept byte for byte.
        """
        self._layout.require()
        with self._storage.locked():
            gone = self._storage.history.set_aside()
            self._storage.history.mend(list(self.all().moves.values()))
        return gone

    def in_use(self) -> set[str]:
        """Return the versions that an alias names, tries, or would name after a rollback.

        Raises AliasCorrupt while an alias or a part of the history cannot be read, for that part
        might name another version.
        """
        record, listed = self._look(None)
        if record.damage:
            raise AliasCorrupt(
                f"what the aliases need cannot be told: {_shortened(record.damage)}; "
                "until that is mended nothing is deleted"
            )
        candidates = [move.candidate for move in listed.moves.values()]
        named = {
            version
            for alias in listed.moves
            for version in _stack(move for move in record.moves if move.alias == alias)[-2:]
        }
        return named | {candidate.version for candidate in candidates if candidate is not None}

    def _look(self, alias: str | None) -> tuple[Record, Listed]:
        """Return the aliases, and the history with the last moves that it does not record yet."""
        recorded = self._storage.history.read()
        listed = self.all() if alias is None else self._listed(alias)
        there = {(move.alias, move.generation) for move in recorded.moves}
        unrecorded = [
            last for last in listed.moves.values() if (last.alias, last.generation) not in there
        ]
        moves = [move for move in [*recorded.moves, *unrecorded] if alias in (None, move.alias)]
        return Record(moves, [*recorded.damage, *listed.damaged.values()]), listed

    def _listed(self, alias: str) -> Listed:
        """Return what `all` would, for one alias."""
        try:
            move = self._find(alias)
        except AliasCorrupt as error:
            return Listed({}, {alias: str(error)})
        return Listed({} if move is None else {alias: move}, {})

    def _before(self, alias: str) -> str:
        """Return the version that an alias named before its present one."""
        record = self.record(alias)
        for version in _stack(record.moves)[-2::-1]:
            self._warn(record.damage)
            return version
        raise NothingToRollBack(
            f"alias {alias!r} of {self._layout.model!r} has named no earlier version"
            f"{_caveat(record.damage)}"
        )

    def _named_before(self, move: Move, version: str) -> str:
        """Return `version` if the alias has named it before its present one."""
        record = self.record(move.alias)
        # a move's `previous` also tells the version of a move before it that cannot be read
        named = [name for past in record.moves for name in (past.previous, past.version) if name]
        earlier = [name for name in dict.fromkeys(reversed(named)) if name != move.version]
        if version in earlier or (version == move.version and move.candidate is not None):
            self._warn(record.damage)
            return version
        raise NothingToRollBack(
            f"alias {move.alias!r} has not named {version!r} before; "
            f"it can go back to: {', '.join(earlier) or 'nothing'}{_caveat(record.damage)}"
        )

    def _warn(self, damage: list[str]) -> None:
        for problem in damage:
            _log.warning("%s", problem)

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
        """Move an alias; the caller holds the lock."""
        needed = version if candidate is None else candidate.version
        self._require(needed)
        before, last = self._last(alias, forced)
        generation = last.generation if last else 0
        if expected_generation is not None and expected_generation != generation:
            raise AliasConflict(
                f"alias {alias!r} is at generation {generation}, not {expected_generation}: "
                "someone else moved it; look again before moving it"
            )
        self._mend_history(last)
        move = Move(
            alias=alias,
            version=version,
            generation=generation + 1,
            action=action,
            previous=last.version if last else None,
            updated_at=now(),
            updated_by=_encodable(who or _user()),
            why=_encodable(why),
            candidate=candidate,
            forced=forced,
        )
        self._storage.replace_alias(alias, canonical_json(move.model_dump(mode="json")), before)
        self._append_history(move)
        self._check_still_there(needed, alias)
        return move

    def _last(self, alias: str, forced: bool) -> tuple[bytes | None, Move | None]:
        """Return the content of an alias's file, and its last move.

        With `forced`, the last move of a damaged file is taken from the history.
        """
        before = None
        try:
            before = self._storage.read_alias(alias)
            return before, self._parse(alias, before)
        except AliasCorrupt:
            if not forced:
                raise
            return before, next(reversed(self.recorded(alias)), None)

    def _mend_history(self, last: Move | None) -> None:
        """Record the last moves that the history lacks; a problem is logged and stops no move."""
        try:
            self._warn(self._storage.history.mend(list(self.all().moves.values())))
        except OSError as error:
            lost = "nothing" if last is None else last.model_dump_json()
            _log.warning(
                "the history of %s cannot be finished (%s); if the alias's move before this one is "
                "not in it, it never will be: %s", self._layout.model, error, lost,
            )  # fmt: skip

    def _append_history(self, move: Move) -> None:
        try:
            self._storage.history.append(move)
        except OSError as error:
            _log.warning(
                "alias %s has moved, but the history cannot be written (%s); the alias's file "
                "holds the move, and the next move records it", move.alias, error,
            )  # fmt: skip

    def _require(self, version: str) -> None:
        if not self._storage.has_version(version):
            raise NoSuchVersion(
                f"no version {version!r} of {self._layout.model!r}; nothing was moved; "
                f"see: gnnrec versions --model {self._layout.model}"
            )

    def _check_still_there(self, version: str, alias: str) -> None:
        """Raise NoSuchVersion if a prune deleted it meanwhile, which only locks prevent."""
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
            move = read_move(content)
        except ValueError as error:
            raise AliasCorrupt(f"{path} is damaged: {error}; {mend}") from None
        if move.alias != alias:
            raise AliasCorrupt(f"{path} is of alias {move.alias!r}; {mend}")
        return move


def _stack(moves: Iterable[Move]) -> list[str]:
    """Return the versions that rollbacks can walk back through, the current one last.

    The version of an unreadable move is known from the next move's `previous`. Such a move counts
    as a rollback if the alias had named that version before; otherwise a later rollback could
    return to a version that was rolled back.
    """
    stack: list[str] = []
    generation = 0
    for move in moves:
        if move.generation > generation + 1 and move.previous is not None:
            _push(stack, move.previous, back=True)
        _push(stack, move.version, back=move.action == "rollback")
        generation = move.generation
    return stack


def _push(stack: list[str], version: str, *, back: bool) -> None:
    if back and version in stack:
        while stack[-1] != version:
            stack.pop()
    elif not stack or stack[-1] != version:
        stack.append(version)


def _shortened(damage: list[str]) -> str:
    """Return the first damaged places in one line, and how many more there are."""
    more = f"; and {len(damage) - _MOST_NAMED} more" if len(damage) > _MOST_NAMED else ""
    return "; ".join(damage[:_MOST_NAMED]) + more


def _caveat(damage: list[str]) -> str:
    """Return a clause for a message that rests on a history with damage; "" without damage."""
    return f", as far as can be read: {_shortened(damage)}" if damage else ""


def _encodable(text: str) -> str:
    """Return a text that UTF-8 can encode: a command line may hold arbitrary bytes."""
    return text.encode(errors="backslashreplace").decode()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"  # a container's user without a passwd entry
