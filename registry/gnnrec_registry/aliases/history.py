"""The moves of all aliases, oldest first, as lines that are appended to one file."""

import json
import os
from collections.abc import Collection
from pathlib import Path

from gnnrec_registry.aliases.moves import Move, Record, read_move
from gnnrec_registry.errors import NotPermitted
from gnnrec_registry.files import durable, reading
from gnnrec_registry.files.layout import ModelLayout

MEND = "to set it aside, and keep the rest: gnnrec history --mend"
"""What a message suggests about an unreadable part of the history."""


class LineHistory:
    """history.jsonl in a local folder; whoever changes it holds the lock.

    An unreadable line does not affect the others. It stays where it is until `set_aside` moves it,
    byte for byte, to history.damaged.
    """

    def __init__(self, layout: ModelLayout) -> None:
        self._path = layout.history
        self._damaged = layout.history_damaged

    def read(self) -> Record:
        """Return the recorded moves; an incomplete last line, left by a crash, is ignored."""
        try:
            lines, tail = self._lines()
        except NotPermitted:
            raise
        except OSError as error:
            return Record(damage=[f"{self._path} {error.strerror}; move it away"])
        whole_tail = [tail] if isinstance(_parsed(tail), Move) else []
        return self._record([*lines, *whole_tail])

    def mend(self, last: Collection[Move]) -> list[str]:
        """Complete the history after an interrupted writer, and return what cannot be read.

        `last` is the last move of every alias; those that are not recorded are appended. An
        incomplete last line is removed; it is kept in history.damaged unless it is the beginning
        of one of these moves.
        """
        lines, tail = self._lines()
        if isinstance(
            _parsed(tail), Move
        ):  # complete but for its line break, which an editor may drop
            _append(self._path, b"\n")
            lines.append(tail)
        elif tail:
            if not any(_line(move).startswith(tail) for move in last):
                self._keep([tail])
            durable.replace(self._path, _joined(lines))
        record = self._record(lines)
        recorded = {(move.alias, move.generation) for move in record.moves}
        for move in last:
            if (move.alias, move.generation) not in recorded:
                self.append(move)
        return record.damage

    def append(self, move: Move) -> None:
        """Record a move; it is on the disk when this returns."""
        _append(self._path, _joined([_line(move)]))

    def set_aside(self) -> list[str]:
        """Move the lines that cannot be read to history.damaged; return what they were."""
        lines, tail = self._lines()
        damage = self._record(lines).damage
        if damage:
            self._keep([line for line in lines if isinstance(_parsed(line), str)])
            good = [line for line in lines if not isinstance(_parsed(line), str)]
            durable.replace(self._path, _joined(good) + tail)
        return damage

    def _record(self, lines: list[bytes]) -> Record:
        moves, damage = [], []
        for number, line in enumerate(lines, start=1):
            parsed = _parsed(line)
            if isinstance(parsed, Move):
                moves.append(parsed)
            elif parsed is not None:
                damage.append(f"{self._path} line {number}: {parsed}; {MEND}")
        return Record(moves, damage)

    def _lines(self) -> tuple[list[bytes], bytes]:
        """Return the complete lines, and the text after the last line break."""
        try:
            *lines, tail = reading.read(self._path).split(b"\n")
        except FileNotFoundError:
            return [], b""
        return lines, tail

    def _keep(self, lines: list[bytes]) -> None:
        """Add lines to history.damaged, unless it has them already."""
        try:
            there = set(reading.read(self._damaged).split(b"\n"))
        except FileNotFoundError:
            there = set()
        _append(self._damaged, _joined([line for line in lines if line not in there]))


def _parsed(line: bytes) -> Move | str | None:
    """Return the move in a line, or why it cannot be read; None for an empty line."""
    try:
        return read_move(line) if line.strip() else None
    except ValueError as error:
        return str(error)


def _line(move: Move) -> bytes:
    fields = move.model_dump(mode="json")
    return json.dumps(fields, ensure_ascii=False, sort_keys=True).encode()


def _joined(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def _append(path: Path, content: bytes) -> None:
    # O_NONBLOCK: do not wait for a reader if a named pipe stands there
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    with open(os.open(path, flags, 0o666), "ab") as file:
        file.write(content)
    durable.fsync(path)
    durable.fsync(path.parent)
