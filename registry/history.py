"""The moves of all aliases, oldest first, as lines that are appended to one file."""

import json
from collections.abc import Iterable

from pydantic import ValidationError

from registry import durable
from registry.errors import AliasCorrupt
from registry.layout import ModelLayout
from registry.moves import Move


class LineHistory:
    """history.jsonl in a local folder; whoever appends or mends holds the lock."""

    def __init__(self, layout: ModelLayout) -> None:
        self._path = layout.history
        self._folder = layout.folder

    def moves(self) -> list[Move]:
        """Return the recorded moves; a last line cut short by a crash does not count."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return []
        moves = []
        for number, line in enumerate(content.split(b"\n")[:-1], start=1):
            try:
                moves.append(Move.model_validate_json(line))
            except ValidationError as error:
                message = f"{self._path} line {number}: {error.errors()[0]['msg']}"
                raise AliasCorrupt(message) from None
        return moves

    def mend(self, last: Iterable[Move]) -> None:
        """Finish what a killed writer left: drop half a line, append last moves not recorded."""
        if self._path.exists():
            content = self._path.read_bytes()
            if not content.endswith(b"\n"):
                durable.replace(self._path, content[: content.rfind(b"\n") + 1])
        recorded = {(move.alias, move.generation) for move in self.moves()}
        for move in last:
            if (move.alias, move.generation) not in recorded:
                self.append(move)

    def append(self, move: Move) -> None:
        """Record a move; it is on the disk when this returns."""
        line = json.dumps(move.model_dump(mode="json"), ensure_ascii=False, sort_keys=True)
        with self._path.open("ab") as file:
            file.write(line.encode() + b"\n")
        durable.fsync(self._path)
        durable.fsync(self._folder)
