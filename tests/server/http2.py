"""A raw HTTP/2 client that does what no well-behaved one does: it asks, and reads nothing."""

import socket
import struct
import threading
from contextlib import suppress

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS, _PING = 0, 1, 4, 6
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_INITIAL_WINDOW_SIZE = 4


class RawClient:
    """A connection whose flow-control window for answers is `window` bytes, and stays so."""

    def __init__(self, port: int, window: int = 0) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        setting = struct.pack(">HI", _INITIAL_WINDOW_SIZE, window)
        self._socket.sendall(_PREFACE + _frame(_SETTINGS, 0, 0, setting))
        self._next_stream = 1
        self.is_closed = False
        """Whether the server has hung up."""
        self.headers = 0
        """How many headers and trailers have come."""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def call(self, path: str, message: bytes = b"") -> None:
        """Send a whole request, such as of /grpc.health.v1.Health/Watch, and wait for nothing."""
        fields = {
            ":method": "POST",
            ":scheme": "http",
            ":path": path,
            ":authority": "x",
            "te": "trailers",
            "content-type": "application/grpc",
        }
        header = b"".join(_literal(name, value) for name, value in fields.items())
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        body = b"\x00" + struct.pack(">I", len(message)) + message
        frames = [_frame(_HEADERS, _END_HEADERS, stream, header)]
        parts = [body[start : start + 16_384] for start in range(0, len(body), 16_384)]
        for place, part in enumerate(parts, start=1):
            end = _END_STREAM if place == len(parts) else 0
            frames.append(_frame(_DATA, end, stream, part))
        self._socket.sendall(b"".join(frames))

    def close(self) -> None:
        """Hang up."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join(10)
        self._socket.close()

    def _read(self) -> None:
        """Acknowledge settings and pings, so that the server takes it for alive."""
        content = b""
        try:
            while more := self._socket.recv(65_536):
                content += more
                while len(content) >= 9:
                    size = int.from_bytes(content[:3], "big")
                    if len(content) < 9 + size:
                        break
                    kind, flags, body = content[3], content[4], content[9 : 9 + size]
                    if kind in (_PING, _SETTINGS) and not flags & _ACK:
                        answer = body if kind == _PING else b""
                        self._socket.sendall(_frame(kind, _ACK, 0, answer))
                    self.headers += kind == _HEADERS
                    content = content[9 + size :]
        except OSError:
            pass
        self.is_closed = True


def _frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    return (
        struct.pack(">I", len(body))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + body
    )


def _literal(name: str, value: str) -> bytes:
    return b"\x00" + b"".join(bytes([len(text)]) + text.encode() for text in (name, value))
