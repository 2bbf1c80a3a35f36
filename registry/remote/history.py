"""The moves of all aliases where nothing can be appended to: one object for each."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from pydantic import ValidationError

from registry.errors import AliasCorrupt
from registry.layout import ModelLayout
from registry.manifest import canonical_json
from registry.moves import Move
from registry.remote.objects import Objects

READERS = 16


class ObjectHistory:
    """One object for each move, history/<alias>/<generation>.json.

    The name follows from the move, so that whoever finishes for a killed writer writes the same.
    """

    def __init__(self, objects: Objects, layout: ModelLayout) -> None:
        self._objects = objects
        self._folder = layout.folder / "history"

    def moves(self) -> list[Move]:
        """Return the recorded moves by time, those of an alias always by generation."""
        keys = [
            key for key in self._objects.entries(self._folder.as_posix()) if key.endswith(".json")
        ]
        with ThreadPoolExecutor(READERS) as readers:
            moves = list(readers.map(self._read, keys))
        return _ordered(moves)

    def mend(self, last: Iterable[Move]) -> None:
        """Record those of the aliases' last moves that a killed writer did not."""
        for move in last:
            if not self._objects.has(self._key(move)):
                self.append(move)

    def append(self, move: Move) -> None:
        """Record a move."""
        content = canonical_json(move.model_dump(mode="json"))
        try:
            self._objects.create(self._key(move), content)
        except FileExistsError:
            return  # recorded by another writer, who found it in the alias

    def _read(self, key: str) -> Move:
        try:
            return Move.model_validate_json(self._objects.read(key))
        except ValidationError as error:
            where = self._objects.address(key)
            raise AliasCorrupt(f"{where} is damaged: {error.errors()[0]['msg']}") from None

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
