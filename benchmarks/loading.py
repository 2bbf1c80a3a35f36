"""Load generators for a gRPC server: h2load for one repeated request, a client here for several.

The client writes HTTP/2 frames itself, because a gRPC client in Python needs more processor time
than the server under test. It makes unary calls; one with a response message counts as answered,
any other as refused.
"""

import asyncio
import re
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import uvloop

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_WIDEST = 2**31 - 1


@dataclass
class Load:
    """The outcome of a load: how many calls were answered, and how fast."""

    seconds: float
    answered: int
    refused: int
    p50_ms: float
    p99_ms: float
    ends: list[tuple[float, float, bool]] = field(default_factory=list)
    """The start and end of each call, and whether it was answered."""

    @property
    def per_second(self) -> float:
        """The answers per second."""
        return self.answered / self.seconds


def h2load(port: int, method: str, message: bytes, in_flight: int, requests: int) -> Load | None:
    """Send one message repeatedly over up to four connections; None if h2load is not installed."""
    program = shutil.which("h2load")
    if program is None:
        return None
    connections = min(4, in_flight)
    with tempfile.NamedTemporaryFile() as body:
        Path(body.name).write_bytes(framed(message))
        run = subprocess.run(
            [program, "-c", str(connections), "-m", str(in_flight // connections),
             "-n", str(requests), "-d", body.name, "-H", "content-type: application/grpc",
             "-H", "te: trailers", f"http://127.0.0.1:{port}{method}"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    seconds = _seconds(re.search(r"finished in ([\d.]+)(us|ms|s)", run.stdout))
    mean = _seconds(re.search(r"time for request:(?:\s+\S+){2}\s+([\d.]+)(us|ms|s)", run.stdout))
    done = int(re.search(r"(\d+) succeeded", run.stdout)[1])  # type: ignore[index]
    return Load(seconds, done, 0, 1000 * mean, float("nan"))


def _seconds(found: re.Match[str] | None) -> float:
    assert found is not None
    return float(found[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1.0}[found[2]]


def framed(message: bytes) -> bytes:
    """Return a message with gRPC's length prefix."""
    return b"\0" + struct.pack(">I", len(message)) + message


def closed(
    port: int, method: str, messages: Sequence[bytes], in_flight: int, seconds: float
) -> Load:
    """Keep `in_flight` calls open for `seconds`; the messages are sent in turn."""

    async def run() -> Load:
        calls = await _Calls.open(port, method, messages)
        end = time.perf_counter() + seconds
        finished = asyncio.Event()

        def again() -> None:
            if time.perf_counter() < end:
                calls.send(again)
            elif not calls.under_way:
                finished.set()

        began = time.perf_counter()
        for _ in range(in_flight):
            calls.send(again)
        await finished.wait()
        return calls.load(time.perf_counter() - began)

    return uvloop.run(run())


def open_loop(
    port: int, method: str, messages: Sequence[bytes], phases: Sequence[tuple[float, float]]
) -> list[Load]:
    """Send calls at a fixed rate, whether or not answers come; return the load of each phase.

    phases: pairs of calls per second and seconds. Each call has a deadline of one second.
    """

    async def run() -> list[Load]:
        calls = await _Calls.open(port, method, messages, b"\x00\x0cgrpc-timeout\x021S")
        loads = []
        for rate, seconds in phases:
            sent, began = 0, time.perf_counter()
            while (passed := time.perf_counter() - began) < seconds:
                while sent < passed * rate:
                    calls.send(_nothing)
                    sent += 1
                await asyncio.sleep(0.001)
            await asyncio.sleep(0)
            loads.append(calls.load(seconds))
        end = time.perf_counter() + 10
        while calls.under_way and time.perf_counter() < end:
            await asyncio.sleep(0.01)
        return loads

    return uvloop.run(run())


def _nothing() -> None:
    pass


class _Calls:
    """Calls over four connections, and their outcomes."""

    def __init__(self, connections: "list[_Connection]", messages: Sequence[bytes]) -> None:
        self._connections = connections
        self._messages = [framed(message) for message in messages]
        self._sent = 0
        self.under_way = 0
        self.ends: list[tuple[float, float, bool]] = []

    @classmethod
    async def open(
        cls, port: int, method: str, messages: Sequence[bytes], header: bytes = b""
    ) -> "_Calls":
        loop = asyncio.get_running_loop()

        def connection() -> _Connection:
            return _Connection(method, header)

        made = [(await loop.create_connection(connection, "127.0.0.1", port))[1] for _ in range(4)]
        return cls(made, messages)

    def send(self, then: Callable[[], None]) -> None:
        body = self._messages[self._sent % len(self._messages)]
        connection = self._connections[self._sent % len(self._connections)]
        self._sent += 1
        self.under_way += 1
        began = time.perf_counter()

        def end(answered: bool) -> None:
            self.under_way -= 1
            self.ends.append((began, time.perf_counter(), answered))
            then()

        connection.send(body, end)

    def load(self, seconds: float) -> Load:
        """Return the calls that ended since the last call of this method."""
        ends, self.ends = self.ends, []
        took = np.array([1000 * (end - began) for began, end, answered in ends if answered])
        p50, p99 = np.percentile(took, [50, 99]).tolist() if len(took) else (np.nan, np.nan)
        return Load(seconds, len(took), len(ends) - len(took), p50, p99, ends)


class _Connection(asyncio.Protocol):
    """One HTTP/2 connection."""

    def __init__(self, method: str, header: bytes) -> None:
        # All headers are literals, so that neither side's HPACK table is used.
        path, host = method.encode(), b"localhost"
        self._headers = (
            b"\x83\x86\x04" + bytes([len(path)]) + path + b"\x01" + bytes([len(host)]) + host
            + b"\x0f\x10\x10application/grpc" + b"\x00\x02te\x08trailers" + header
        )  # fmt: skip
        self._next = 1
        self._open: dict[int, Callable[[bool], None]] = {}
        self._answered: set[int] = set()
        self._buffer = b""
        self._window = 65535
        self._blocked: list[tuple[bytes, Callable[[bool], None]]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        settings = struct.pack(">HIHI", 1, 0, 4, _WIDEST)  # no HPACK table, and the largest window
        widen = struct.pack(">I", _WIDEST - 65535)
        self._transport.write(
            _PREFACE + _frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW, 0, 0, widen)
        )

    def send(self, body: bytes, end: Callable[[bool], None]) -> None:
        if self._window < len(body):
            self._blocked.append((body, end))
            return
        self._window -= len(body)
        stream, self._next = self._next, self._next + 2
        self._open[stream] = end
        head = _frame(_HEADERS, 4, stream, self._headers)
        self._transport.write(head + _frame(_DATA, 1, stream, body))

    def data_received(self, data: bytes) -> None:
        buffer, place = self._buffer + data, 0
        while place + 9 <= len(buffer):
            size = int.from_bytes(buffer[place : place + 3], "big")
            if place + 9 + size > len(buffer):
                break
            kind, flags = buffer[place + 3], buffer[place + 4]
            stream = int.from_bytes(buffer[place + 5 : place + 9], "big")
            self._take(kind, flags, stream, buffer[place + 9 : place + 9 + size])
            place += 9 + size
        self._buffer = buffer[place:]

    def _take(self, kind: int, flags: int, stream: int, content: bytes) -> None:
        if kind == _DATA:
            self._answered.add(stream)
        elif kind == _SETTINGS and not flags & 1:
            self._transport.write(_frame(_SETTINGS, 1, 0, b""))
        elif kind == _PING and not flags & 1:
            self._transport.write(_frame(_PING, 1, 0, content))
        elif kind == _WINDOW and stream == 0:
            self._window += int.from_bytes(content, "big")
            waiting, self._blocked = self._blocked, []
            for each in waiting:
                self.send(*each)
        elif kind == _GOAWAY:
            raise ConnectionError(f"the server closed the connection: {content!r}")
        if kind == _RESET or (kind in (_DATA, _HEADERS) and flags & 1):
            end = self._open.pop(stream, None)
            if end is not None:
                answered = stream in self._answered
                self._answered.discard(stream)
                end(answered)


def _frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    return struct.pack(">I", len(content))[1:] + bytes([kind, flags]) + struct.pack(
        ">I", stream
    ) + content  # fmt: skip
