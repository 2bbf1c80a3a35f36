"""An HTTP proxy that cuts, slows, flips and loses bytes on their way from a store.

One connection carries one exchange, as moto's server has it.
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
    """A request that came by."""

    method: str
    path: str
    start: int
    """The first byte that a range asks for; 0 without a range."""


@dataclass(frozen=True)
class Fault:
    """What befalls an exchange."""

    cut_after: int | None = None
    """Bytes of the answer's body that still come through."""
    flip_at: int | None = None
    """The byte of the body that changes."""
    pause_s: float = 0.0
    """A wait before each piece of 8 KiB."""
    hangs: bool = False
    """The request is taken and never answered."""
    loses_answer: bool = False
    """The store does as it is told, and the caller never hears of it."""
    refuses: bool = False
    """The connection ends at once."""
    drops_header: str = ""
    """A header that the store never sees."""
    status: int = 0
    """An answer in the store's place, without a body."""


class Proxy:
    """Stands between a caller and a store; `fault` says what befalls each request."""

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
        """Return where the ranges began that were asked of the objects whose path ends so."""
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
                pass  # either side hung up
            finally:
                # the pump waits for the caller, and a close would wait for the pump
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
    """Read up to the empty line, byte by byte: what follows belongs to others."""
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
