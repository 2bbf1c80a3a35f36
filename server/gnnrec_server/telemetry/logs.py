"""What the log looks like: a line of text or of JSON, with the request it belongs to."""

import itertools
import json
import logging
import multiprocessing
import re
import secrets
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from gnnrec_server.errors import CannotStart

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
"""The request that is being answered, if one is."""

_SANE = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_LEVELS = ("debug", "info", "warning", "error")
_FIELDS = ("rpc", "code", "duration_s", "caller")


def configure(level: str, layout: str) -> None:
    """Log to stderr from a level on, as text or json; raise CannotStart for any other name."""
    if level.lower() not in _LEVELS:
        raise CannotStart(f"log level {level!r} is unknown; use {', '.join(_LEVELS)}")
    if layout not in ("text", "json"):
        raise CannotStart(f"log format {layout!r} is unknown; use text or json")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if layout == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("grpc._cython.cygrpc").addFilter(_is_no_goodbye)


def _is_no_goodbye(record: logging.LogRecord) -> bool:
    """Leave out the error that grpc.aio logs when a caller disconnects before it is answered."""
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or kind.__name__ != "ExecuteBatchError"


# From a random start, so that processes make different ones; to draw each costs a system call.
_FRESH = itertools.count(secrets.randbits(60))


def request_id(sent: str | None) -> str:
    """Return the id that a caller sent, if it is a sane one, or a fresh one."""
    return sent if sent is not None and _SANE.fullmatch(sent) else f"{next(_FRESH):016x}"


def printable(text: str) -> str:
    """Return a text with escapes for what cannot be printed, such as a line break."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in text
    )


class TextFormatter(logging.Formatter):
    """Time, level, the request if there is one, and the message."""

    def __init__(self) -> None:
        """Times are local; one of several workers says which it is."""
        worker = "worker %(process)d: " if multiprocessing.parent_process() else ""
        super().__init__(f"%(asctime)s %(levelname)s {worker}%(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the first line; a message that quotes line breaks does not make more of them."""
        line = printable(super().formatMessage(record))
        request = REQUEST_ID.get()
        return f"{line} [{request}]" if request else line

    def formatException(self, ei: Any) -> str:
        """Return the traceback, indented: no line of it can pass for one of the log."""
        return "\n".join(
            f"  {printable(line)}" for line in super().formatException(ei).splitlines()
        )


class JsonFormatter(logging.Formatter):
    """One JSON object a line: timestamp, level, message; of a request its id, rpc, code, time.

    One of several workers says its process id.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the object."""
        at = datetime.fromtimestamp(record.created, UTC)
        entry: dict[str, object] = {
            "timestamp": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if multiprocessing.parent_process() is not None:
            entry["worker"] = record.process
        if request := REQUEST_ID.get():
            entry["request_id"] = request
        entry |= {name: value for name in _FIELDS if (value := vars(record).get(name))}
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)
