"""A small HTTP server for metrics: one thread, in which nobody can keep a scrape waiting.

A connection carries one request. It is closed if the request's head is long or does not come soon.
Where too many connections are open, a new one replaces the one that has been open longest without a
request.
"""

import asyncio
import re
import socket
import struct
import threading
from collections.abc import Callable
from concurrent.futures import Future
from io import BytesIO
from types import SimpleNamespace
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler
from wsgiref.types import WSGIApplication

_MOST_CONNECTIONS = 128
_BACKLOG = 64  # of connections not accepted yet: fewer than may be open, so all are answered
_LARGEST_HEAD = 16 * 1024
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_RESET = struct.pack("ii", 1, 0)
_TOO_LARGE = (
    b"HTTP/1.0 431 Request Header Fields Too Large\r\n"
    b"Content-Length: 0\r\nConnection: close\r\n\r\n"
)


def serve(
    app: WSGIApplication,
    listener: socket.socket,
    *,
    ask_s: float = 5.0,
    answer_s: float = 30.0,
) -> Callable[[], None]:
    """Answer the requests that come to a bound socket with `app`; return a function that stops it.

    A connection has `ask_s` seconds to send its request, and then `answer_s` to read the answer.
    Raises OSError where the process may open no more files.
    """
    endpoint = _Endpoint(app, listener, ask_s, answer_s)
    endpoint.thread.start()
    endpoint.started.result()
    return endpoint.stop


class _Endpoint:
    """The thread, its event loop, and the open connections."""

    def __init__(
        self, app: WSGIApplication, listener: socket.socket, ask_s: float, answer_s: float
    ) -> None:
        self.ask_s = ask_s
        self.answer_s = answer_s
        self.thread = threading.Thread(target=self._run, name="metrics", daemon=True)
        self.started: Future[None] = Future()
        # in the order of their coming
        self.waiting: dict[_Connection, None] = {}
        self.answered: dict[_Connection, None] = {}
        host, port, *_ = listener.getsockname()
        environ = {"SERVER_NAME": host, "SERVER_PORT": str(port), "SCRIPT_NAME": ""}
        # what the handler of the standard library looks for in its server
        self._site: Any = SimpleNamespace(base_environ=environ, get_app=lambda: app)
        self._listener = listener
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Close all connections and return once the thread has ended."""
        self._loop.call_soon_threadsafe(self._stopped.set)
        self.thread.join()

    def answer(self, head: bytes, peer: Any) -> bytes:
        """Return the whole answer to a request without a body."""
        given: Any = head
        return _Handler(given, peer, self._site).wfile.getvalue()

    def make_room(self) -> None:
        """Close the oldest connection without a request if there are as many as there may be."""
        if len(self.waiting) + len(self.answered) >= _MOST_CONNECTIONS:
            next(iter(self.waiting or self.answered)).hang_up()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except OSError as error:
            self.started.set_exception(error)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = await self._loop.create_server(
            lambda: _Connection(self), sock=self._listener, backlog=_BACKLOG
        )
        self.started.set_result(None)
        await self._stopped.wait()
        server.close()
        for connection in (*self.waiting, *self.answered):
            connection.hang_up()
        await asyncio.sleep(0)  # in the next turn the sockets are closed


class _Connection(asyncio.Protocol):
    """A connection, and what has been received on it so far."""

    def __init__(self, endpoint: _Endpoint) -> None:
        self._endpoint = endpoint
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._endpoint.make_room()
        self._endpoint.waiting[self] = None
        self._end = asyncio.get_running_loop().call_later(self._endpoint.ask_s, self.hang_up)

    def data_received(self, data: bytes) -> None:
        self._head += data
        if len(self._head) > _LARGEST_HEAD:
            self._answer(_TOO_LARGE)
        elif _END_OF_HEAD.search(self._head):
            peer = self._transport.get_extra_info("peername")
            self._answer(self._endpoint.answer(self._head, peer))

    def connection_lost(self, error: Exception | None) -> None:
        self._forget()

    def hang_up(self) -> None:
        """Close at once, without sending what remains."""
        self._forget()
        # else the kernel would go on with what it holds, for as long as it is not taken
        self._transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, _RESET
        )
        self._transport.abort()

    def _answer(self, answer: bytes) -> None:
        self._forget()
        self._endpoint.answered[self] = None
        self._end = asyncio.get_running_loop().call_later(self._endpoint.answer_s, self.hang_up)
        self._transport.write(answer)
        self._transport.close()  # once all is sent

    def _forget(self) -> None:
        self._end.cancel()
        self._endpoint.waiting.pop(self, None)
        self._endpoint.answered.pop(self, None)


class _Handler(WSGIRequestHandler):
    """The standard library's HTTP request handler, working on bytes that have been received."""

    wfile: BytesIO

    def setup(self) -> None:
        self.rfile, self.wfile = BytesIO(self.request), BytesIO()

    def finish(self) -> None:
        """Do nothing: the answer is taken from the buffer."""

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: scrapes come every few seconds."""
