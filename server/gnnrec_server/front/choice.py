"""Which front answers: what is asked for, or the fastest that keeps everything asked for."""

import importlib.util
from dataclasses import dataclass
from typing import Literal

from gnnrec_server.errors import CannotStart
from gnnrec_server.process.address import is_loopback

Front = Literal["grpcio", "native"]


@dataclass(frozen=True)
class Wanted:
    """What is asked of a front: see Settings."""

    front: Literal["auto", "grpcio", "native"]
    host: str
    has_tls: bool = False
    max_connection_age_s: float = 0.0
    max_pending: int = 0


@dataclass(frozen=True)
class Choice:
    """A front, and why it was taken."""

    front: Front
    why: str


def choose(wanted: Wanted) -> Choice:
    """Return the front of a server; raise CannotStart where the one asked for cannot do it."""
    if wanted.front == "grpcio":
        return Choice("grpcio", "as asked for")
    lacking = _lacking(wanted)
    if not lacking:
        asked = wanted.front == "native"
        return Choice("native", "as asked for" if asked else "it is there and keeps all settings")
    if wanted.front == "native":
        raise CannotStart(f"--front native cannot be used: {lacking}; --front grpcio can")
    return Choice("grpcio", lacking)


def _lacking(wanted: Wanted) -> str:
    """Return what of this the native front lacks, or nothing."""
    if importlib.util.find_spec("pygrpc_native") is None:
        return "pygrpc-native is not installed; gnnrec[fast] brings it"
    if wanted.has_tls:
        return "pygrpc-native has no TLS"
    if wanted.max_connection_age_s:
        return "pygrpc-native does not close connections by their age"
    if wanted.max_pending:
        return "pygrpc-native does not count what waits, as --max-pending asks"
    if wanted.front == "auto" and not is_loopback(wanted.host):
        return (
            "pygrpc-native takes in messages of any size, which only callers on this machine "
            "are trusted with"
        )
    return ""
