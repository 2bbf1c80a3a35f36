"""An HTTP proxy to a store that cuts, slows, corrupts and loses answers.

Each connection carries one request, as with moto's server.
"""

import contextlib
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass

_PIECE = 8192


@dataclass(frozen=True)
class Asked:
    """A request that the proxy has received."""

    method: str
    path: str
    start: int
    """The first byte of the requested range; 0 without a range."""


@dataclass(frozen=True)
class Fault:
    """A fault in the exchange of a request and its answer."""

    cut_after: int | None = None
    """The bytes of the answer's body that are passed on before the connection is cut."""
    flip_at: int | None = None
    """The position of a byte of the body that is changed."""
    pause_s: float = 0.0
    """The wait before each 8 KiB, in seconds."""
    hangs: bool = False
    """Whether the request is accepted and never answered."""
    loses_answer: bool = False
    """Whether the store gets the request and its answer is lost."""
    refuses: bool = False
    """Whether the connection is closed at once."""
    drops_header: str = ""
    """A header that is removed from the request."""
    status: int = 0
    """A status that is answered in place of the store, without a body."""


class Proxy:
    """A proxy between a caller and a store; `fault` returns the fault of each request."""

    def __init__(self, target: int) -> None:
        self.asked: list[Asked] = []
        self.body_bytes = 0
        self.fault: Callable[[Asked], Fault | None] = lambda asked: None
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._over = threading.Event()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> "Proxy":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def fetched(self, name: str) -> list[int]:
        """Return the first bytes of the requested ranges of objects whose path has this ending."""
        return [
            each.start for each in self.asked if each.method == "GET" and each.path.endswith(name)
        ]

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._exchange, args=(caller,), daemon=True).start()

    def _exchange(self, caller: socket.socket) -> None:
        with caller, socket.create_connection(("127.0.0.1", self._target)) as store:
            try:
                head = _head(caller)
                asked = _read(head)
                self.asked.append(asked)
                fault = self.fault(asked) or Fault()
                if fault.hangs:
                    self._over.wait(60)
                if fault.hangs or fault.refuses:
                    return
                if fault.status:
                    answer = f"HTTP/1.0 {fault.status} Failed\r\nContent-Length: 0\r\n\r\n"
                    caller.sendall(answer.encode())
                    return
                if fault.drops_header:
                    head = re.sub(
                        rb"(?im)^" + fault.drops_header.encode() + rb":", b"X-Lost:", head
                    )
                store.sendall(head)
                threading.Thread(target=_pump, args=(caller, store), daemon=True).start()
                self._answer(store, caller, fault)
            except OSError:
                pass  # either side closed the connection
            finally:
                # close would wait for the pump, which waits for the caller
                for each in (caller, store):
                    with contextlib.suppress(OSError):
                        each.shutdown(socket.SHUT_RDWR)

    def _answer(self, store: socket.socket, caller: socket.socket, fault: Fault) -> None:
        head = _head(store)
        while head.split(b" ", 2)[1] == b"100":
            caller.sendall(head)
            head = _head(store)
        if fault.loses_answer:
            return
        caller.sendall(head)
        sent = 0
        while piece := store.recv(_PIECE):
            if fault.pause_s:
                self._over.wait(fault.pause_s)
            if fault.flip_at is not None and sent <= fault.flip_at < sent + len(piece):
                at = fault.flip_at - sent
                piece = piece[:at] + bytes([piece[at] ^ 1]) + piece[at + 1 :]
            if fault.cut_after is not None and sent + len(piece) > fault.cut_after:
                caller.sendall(piece[: fault.cut_after - sent])
                return
            caller.sendall(piece)
            sent += len(piece)
            self.body_bytes += len(piece)


def _head(peer: socket.socket) -> bytes:
    """Read up to the empty line, byte by byte, so that the body is left unread."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = peer.recv(1)
        if not byte:
            raise ConnectionError("hung up")
        head += byte
    return head


def _read(head: bytes) -> Asked:
    method, path, _ = head.decode("latin-1").split(" ", 2)
    found = re.search(rb"(?im)^range: bytes=(\d+)-", head)
    return Asked(method, path, int(found[1]) if found else 0)


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while piece := source.recv(65536):
            target.sendall(piece)
    except OSError:
        return
