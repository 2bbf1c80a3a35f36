"""Ending a connection, for which gRPC has no call: its socket is found by the peer's address."""

import ipaddress
import os
import socket
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

_OPEN_FILES = Path("/dev/fd")

Peer = tuple[str, int]
"""An address in its shortest form, and a port."""


def end(peer: str) -> bool:
    """Shut down this process's connection with a peer, named as gRPC does; tell whether it was one.

    All that is under way on it ends, and what gRPC keeps of it is freed. The other end of a Unix
    socket has no name, so such a connection is never ended.
    """
    wanted = _parsed(peer)
    if wanted is None:
        return False
    for name in os.listdir(_OPEN_FILES):
        with suppress(OSError), _copy(int(name)) as found:
            if found.type == socket.SOCK_STREAM and _peer_of(found) == wanted:
                found.shutdown(socket.SHUT_RDWR)
                return True
    return False


def _copy(number: int) -> socket.socket:
    """Return a copy of an open socket, so that it stays what it is; raises OSError for a file."""
    copy = os.dup(number)
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        raise


def _parsed(peer: str) -> Peer | None:
    family, _, rest = unquote(peer).partition(":")
    host, _, port = rest.rpartition(":")
    if family not in ("ipv4", "ipv6") or not port.isdecimal():
        return None
    return _shortest(host.strip("[]")), int(port)


def _peer_of(found: socket.socket) -> Peer | None:
    if found.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    host, port = found.getpeername()[:2]
    return _shortest(host), port


def _shortest(host: str) -> str:
    address = ipaddress.ip_address(host.partition("%")[0])
    return str(getattr(address, "ipv4_mapped", None) or address)
