"""Which front answers: what is asked for, or the fastest that keeps everything asked for."""

import importlib.util
from dataclasses import dataclass
from typing import Literal

from gnnrec_server.errors import CannotStart
from gnnrec_server.process.address import is_loopback
from gnnrec_server.settings import Settings

Front = Literal["grpcio", "native"]


@dataclass(frozen=True)
class Choice:
    """A front, and why it was taken."""

    front: Front
    why: str


def choose(settings: Settings) -> Choice:
    """Return the front of a server; raise CannotStart where the one asked for cannot do it."""
    if settings.front == "grpcio":
        return Choice("grpcio", "as asked for")
    lacking = _lacking(settings)
    if not lacking:
        asked = settings.front == "native"
        return Choice("native", "as asked for" if asked else "it is there and keeps all settings")
    if settings.front == "native":
        raise CannotStart(f"--front native cannot be used: {lacking}; --front grpcio can")
    return Choice("grpcio", lacking)


def _lacking(settings: Settings) -> str:
    """Return what the native front lacks for these settings, or nothing."""
    if importlib.util.find_spec("pygrpc_native") is None:
        return "pygrpc-native is not installed; gnnrec[fast] brings it"
    if settings.tls is not None:
        return "pygrpc-native has no TLS"
    if settings.max_connection_age_s:
        return "pygrpc-native does not close connections by their age"
    if settings.max_pending:
        return "pygrpc-native does not count what waits, as --max-pending asks"
    if settings.front == "auto" and not is_loopback(settings.host):
        return (
            "pygrpc-native takes in messages of any size, which only callers on this machine "
            "are trusted with"
        )
    return ""
