"""Where a server listens: HOST:PORT, [IPV6]:PORT, or unix:PATH for a socket in the file system."""

import ipaddress
import os
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from gnnrec_server.errors import CannotStart

_LONGEST_PATH = 107
"""What Linux and gRPC take for the path of a socket, in bytes."""


@dataclass(frozen=True)
class Tcp:
    """A host, as a name or an IP without brackets, and a port; port 0 takes a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return HOST:PORT, as clients and URLs take it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def target(self) -> str:
        """What gRPC calls it."""
        return str(self)

    def at(self, port: int) -> "Tcp":
        """Return the address with the port that was taken for it."""
        return replace(self, port=port)

    def resolved(self) -> tuple[socket.AddressFamily, tuple[object, ...]]:
        """Return the first of the host's addresses, as sockets take it; raises OSError."""
        family, _, _, _, where = socket.getaddrinfo(
            self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return family, where

    def listener(self) -> socket.socket:
        """Return a socket bound to the address; raises OSError."""
        family, where = self.resolved()
        both = family == socket.AF_INET6 and where[0] == "::" and socket.has_dualstack_ipv6()
        return socket.create_server(where, family=family, dualstack_ipv6=both)

    def problem(self) -> str:
        """Return why nothing can listen there."""
        try:
            self.listener().close()
        except OSError as error:
            return error.strerror or str(error)
        return "it is taken"  # it was, at least


@dataclass(frozen=True)
class UnixSocket:
    """A socket in the file system, by its absolute path."""

    path: Path

    def __str__(self) -> str:
        """Return unix:PATH, as clients take it."""
        return f"unix:{self.path}"

    @property
    def target(self) -> str:
        """What gRPC calls it: a URI."""
        return f"unix:{quote(os.fsencode(self.path))}"

    def at(self, port: int) -> "UnixSocket":
        """Return the address itself: it has no port."""
        return self

    def make_way(self) -> None:
        """Remove the socket of a server that has died; raise CannotStart if anything else is there.

        gRPC would take the place of a socket that a living server listens on, and say nothing.
        """
        try:
            if not stat.S_ISSOCK(self.path.lstat().st_mode):
                raise self._cannot("there is something that is no socket")
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as asking:
                asking.connect(str(self.path))
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            self.path.unlink(missing_ok=True)
            return
        except BlockingIOError:
            pass  # so many wait there that it takes no more
        except OSError as error:
            raise self._cannot(error.strerror or str(error)) from None
        raise self._cannot("a server listens there")

    def remover(self) -> Callable[[], None]:
        """Return a function that removes this socket's file, unless another has replaced it."""
        own = self._identity()

        def remove() -> None:
            with suppress(FileNotFoundError):  # as gRPC removes it too, when all goes well
                if self._identity() == own:
                    self.path.unlink()

        return remove

    def problem(self) -> str:
        """Return why nothing can listen there."""
        folder = self.path.parent
        if not folder.is_dir():
            return f"there is no folder {folder}"
        if not os.access(folder, os.W_OK | os.X_OK):
            return f"nothing can be written to the folder {folder}"
        return "no socket can be made there"

    def _identity(self) -> tuple[int, int, int]:
        found = self.path.lstat()
        return found.st_dev, found.st_ino, found.st_ctime_ns  # inodes are used again

    def _cannot(self, why: str) -> CannotStart:
        return CannotStart(f"address {self} cannot be used: {why}; choose another with --address")


def read(text: str) -> Tcp | UnixSocket:
    """Return the address that a text states; raises CannotStart."""
    if text.startswith("unix:"):
        return _read_path(text)
    host, _, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    problem = ""
    if not bare:
        problem = "it lacks a host (127.0.0.1, say, or 0.0.0.0 for all) or a port"
    elif not (port.isascii() and port.isdigit()) or int(port) > 65535:
        problem = "its port must be a number from 0 to 65535"
    elif ":" in host and bare == host:
        problem = f"an IPv6 address stands in brackets, such as [::1]:{port}"
    elif any(character in bare for character in "[]/, \t\n"):
        problem = "there is no such host"
    if problem:
        raise CannotStart(
            f"address {text!r} cannot be used: {problem}; "
            "--address takes HOST:PORT, [IPV6]:PORT or unix:PATH"
        )
    return Tcp(bare, int(port))


def _read_path(text: str) -> UnixSocket:
    path = text.removeprefix("unix:")
    if path.startswith("///"):
        path = path[2:]  # as a URI has it
    problem = ""
    if not path or path.startswith("//") or "\0" in path:
        problem = "it takes a path, such as unix:/run/gnnrec.sock"
    elif "," in path:
        problem = "gRPC clients take a comma for the end of a path"
    else:
        path = os.path.abspath(path)
        size = len(os.fsencode(path))
        if size > _LONGEST_PATH:
            problem = f"the path has {size} bytes, and that of a socket {_LONGEST_PATH} at most"
    if problem:
        raise CannotStart(
            f"address {text!r} cannot be used: {problem}; choose another with --address"
        )
    return UnixSocket(Path(path))


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches a host, an IP or a name, or unix:PATH."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.startswith("unix:")
