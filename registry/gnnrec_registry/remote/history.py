"""The moves of all aliases where nothing can be appended to: one object for each."""

import hashlib
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from gnnrec_registry.aliases.history import MEND
from gnnrec_registry.aliases.moves import Move, Record, read_move
from gnnrec_registry.files.layout import ModelLayout
from gnnrec_registry.remote.objects import Objects
from gnnrec_registry.versions.manifest import canonical_json

READERS = 16


class ObjectHistory:
    """One object for each move, history/<alias>/<generation>.json.

    The name follows from the move, so that whoever finishes for a killed writer writes the same.
    An object that cannot be read costs none but itself; `set_aside` moves it to history.damaged/.
    """

    def __init__(self, objects: Objects, layout: ModelLayout) -> None:
        self._objects = objects
        self._folder = layout.folder / "history"
        self._damaged = layout.history_damaged

    def read(self) -> Record:
        """Return the recorded moves by time, those of an alias always by generation."""
        moves, damage = [], []
        for key, _, parsed in self._all():
            if isinstance(parsed, Move):
                moves.append(parsed)
            else:
                damage.append(self._say(key, parsed))
        return Record(_ordered(moves), damage)

    def mend(self, last: Collection[Move]) -> list[str]:
        """Record those of the aliases' last moves that a killed writer did not.

        What stands in the place of one and is no move is set aside and returned.
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
                damage.append(f"{self._say(key, parsed)} (done: the alias says what it was)")
                self._keep(key, content)
                self.append(move)
        return damage

    def append(self, move: Move) -> None:
        """Record a move; OSError where something else stands in its place."""
        key = self._key(move)
        content = canonical_json(move.model_dump(mode="json"))
        try:
            self._objects.create(key, content)
        except FileExistsError:
            # recorded by another writer, who found it in the alias; or what cannot be read
            if isinstance(parsed := self._parsed(key, self._objects.read(key)), str):
                raise OSError(self._say(key, parsed)) from None

    def set_aside(self) -> list[str]:
        """Move the objects that cannot be read to history.damaged/; return what they were."""
        damage = []
        for key, content, parsed in self._all():
            if isinstance(parsed, str):
                damage.append(self._say(key, parsed))
                self._keep(key, content)
        return damage

    def _all(self) -> list[tuple[str, bytes, Move | str]]:
        """Return every object's key and content, and the move that it is or why it is none."""
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
        """Return the move that an object is, or why it is none."""
        try:
            move = read_move(content)
        except ValueError as error:
            return str(error)
        return move if self._key(move) == key else f"is {move.alias!r} {move.generation}"

    def _keep(self, key: str, content: bytes) -> None:
        """Move an object to history.damaged/, under a name that follows from its content."""
        path = Path(key)
        name = f"{path.stem}-{hashlib.sha256(content).hexdigest()[:8]}{path.suffix}"
        kept = (self._damaged / path.parent.name / name).as_posix()
        if not self._objects.has(kept):
            self._objects.create(kept, content)
        self._objects.delete([key])

    def _say(self, key: str, problem: str) -> str:
        return f"{self._objects.address(key)} is damaged: {problem}; {MEND}"

    def _key(self, move: Move) -> str:
        return (self._folder / move.alias / f"{move.generation:08d}.json").as_posix()


def _ordered(moves: list[Move]) -> list[Move]:
    """Order moves by time; a mover whose clock is behind comes after the move it followed."""
    latest: dict[str, datetime] = {}
    timed = []
    for move in sorted(moves, key=lambda move: (move.alias, move.generation)):
        moment = max(move.updated_at, latest.get(move.alias, move.updated_at))
        latest[move.alias] = moment
        timed.append((moment, move.alias, move.generation, move))
    return [entry[-1] for entry in sorted(timed, key=lambda entry: entry[:-1])]
