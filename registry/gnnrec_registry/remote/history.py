"""The history of aliases in an object store, which cannot append: one object for each move."""

import hashlib
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from gnnrec_registry.aliases.history import MEND
from gnnrec_registry.aliases.moves import Move, Record, read_move
from gnnrec_registry.files.json import canonical_json
from gnnrec_registry.files.layout import ModelLayout
from gnnrec_registry.remote.objects import Objects

READERS = 16


class ObjectHistory:
    """One object for each move, history/<alias>/<generation>.json.

    The key is determined by the move, so two writers that record the same move write the same
    object. An unreadable object does not affect the others; `set_aside` moves it to
    history.damaged/.
    """

    def __init__(self, objects: Objects, layout: ModelLayout) -> None:
        self._objects = objects
        self._folder = layout.folder / "history"
        self._damaged = layout.history_damaged

    def read(self) -> Record:
        """Return the recorded moves, ordered by time and within an alias by generation."""
        moves, damage = [], []
        for key, _, parsed in self._all():
            if isinstance(parsed, Move):
                moves.append(parsed)
            else:
                damage.append(self._described(key, parsed))
        return Record(_ordered(moves), damage)

    def mend(self, last: Collection[Move]) -> list[str]:
        """Record each alias's last move where a writer was killed before recording it.

        An unreadable object in the place of such a move is set aside; returns what was wrong.
        """
        damage = []
        for move in last:
            key = self._key(move)
            try:
                content = self._objects.read(key)
            except FileNotFoundError:
                self.append(move)
                continue
            if isinstance(parsed := self._parsed(key, content), str):
                damage.append(f"{self._described(key, parsed)} (done: the alias says what it was)")
                self._keep(key, content)
                self.append(move)
        return damage

    def append(self, move: Move) -> None:
        """Record a move; OSError if an unreadable object has its key."""
        key = self._key(move)
        content = canonical_json(move.model_dump(mode="json"))
        try:
            self._objects.create(key, content)
        except FileExistsError:
            # another writer recorded the move from the alias, or the object is unreadable
            if isinstance(parsed := self._parsed(key, self._objects.read(key)), str):
                raise OSError(self._described(key, parsed)) from None

    def set_aside(self) -> list[str]:
        """Move the unreadable objects to history.damaged/; return what was wrong with each."""
        damage = []
        for key, content, parsed in self._all():
            if isinstance(parsed, str):
                damage.append(self._described(key, parsed))
                self._keep(key, content)
        return damage

    def _all(self) -> list[tuple[str, bytes, Move | str]]:
        """Return every object's key and content, and its move or why it cannot be read."""
        prefix = f"{self._folder.as_posix()}/"
        keys = [
            key
            for key in self._objects.entries(prefix)
            if key.startswith(prefix) and key.endswith(".json")
        ]
        with ThreadPoolExecutor(READERS) as readers:
            found = zip(keys, readers.map(self._content, keys), strict=True)
            return [
                (key, content, self._parsed(key, content))
                for key, content in found
                if content is not None
            ]

    def _content(self, key: str) -> bytes | None:
        try:
            return self._objects.read(key)
        except FileNotFoundError:
            return None  # set aside since it was listed

    def _parsed(self, key: str, content: bytes) -> Move | str:
        """Return the move in an object, or why it cannot be read."""
        try:
            move = read_move(content)
        except ValueError as error:
            return str(error)
        return move if self._key(move) == key else f"is {move.alias!r} {move.generation}"

    def _keep(self, key: str, content: bytes) -> None:
        """Move an object to history.damaged/, under a name with a hash of its content."""
        path = Path(key)
        name = f"{path.stem}-{hashlib.sha256(content).hexdigest()[:8]}{path.suffix}"
        kept = (self._damaged / path.parent.name / name).as_posix()
        if not self._objects.has(kept):
            self._objects.create(kept, content)
        self._objects.delete([key])

    def _described(self, key: str, problem: str) -> str:
        return f"{self._objects.address(key)} is damaged: {problem}; {MEND}"

    def _key(self, move: Move) -> str:
        return (self._folder / move.alias / f"{move.generation:08d}.json").as_posix()


def _ordered(moves: list[Move]) -> list[Move]:
    """Order moves by time; a clock that is behind puts no move before the alias's previous one."""
    latest: dict[str, datetime] = {}
    timed = []
    for move in sorted(moves, key=lambda move: (move.alias, move.generation)):
        moment = max(move.updated_at, latest.get(move.alias, move.updated_at))
        latest[move.alias] = moment
        timed.append((moment, move.alias, move.generation, move))
    return [entry[-1] for entry in sorted(timed, key=lambda entry: entry[:-1])]
