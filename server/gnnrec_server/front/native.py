"""gRPC over pygrpc-native: HTTP/2 in Rust, and calls that come to Python in batches.

A thread waits for calls outside the interpreter and wakes the event loop with all that have come.
The loop answers them, looks whether more have come meanwhile, and has the thread wait again only
when none have: under load nothing is handed from thread to thread.

It keeps less than grpcio does; `choice` tells when it is taken. Methods that take a stream, such as
reflection's, are answered by a server of grpc.aio behind it, over a socket of the file system.
"""

import asyncio
import contextvars
import inspect
import logging
import math
import shutil
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import grpc
from grpc import aio

from gnnrec_server.front import grpcio
from gnnrec_server.rpc.calls import REQUEST_ID
from gnnrec_server.rpc.gateway import Gateway, UnaryMethod
from gnnrec_server.rpc.statuses import Ending
from gnnrec_server.rpc.together import Later, Together, Waiting

if find_spec("pygrpc_native") is not None:  # it comes with gnnrec[fast]
    import pygrpc_native

_AT_ONCE = 256
_IO_THREADS = 1
# So many calls of one connection may be under way; a client lets more wait.
_MOST_OF_ONE = 1024
# A stream whose other end is behind is looked at so often.
_BEHIND_S = 0.05
_DEFECT = "an error in the server; its log has the details"
# So long after the last answer was given its connection is closed.
_FLUSH_S = 0.05
_UNAVAILABLE, _CANCELLED, _INTERNAL, _EXHAUSTED = (
    status.value[0]
    for status in (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    )
)

_log = logging.getLogger("gnnrec.server")


class NativeServer:
    """A server whose RPCs all go through the gateway; given to the add_..._to_server functions."""

    def __init__(
        self,
        gateway: Gateway,
        together: Together,
        *,
        max_message_bytes: int,
        shares_port: bool = False,
    ) -> None:
        """Build a server without methods and address.

        max_message_bytes: larger messages are refused once they have arrived
        """
        self._gateway = gateway
        self._together = together
        self._max_bytes = max_message_bytes
        self._options: dict[str, Any] = {
            "io_threads": _IO_THREADS,
            "call_details": True,
            "delay_stream_headers": True,
            # as grpcio.options has them
            "keepalive_time_ms": 60_000,
            "keepalive_timeout_ms": 20_000,
            "keepalive_permit_without_calls": True,
            "max_concurrent_streams": _MOST_OF_ONE,
            "reuse_port": shares_port,
        }
        self._unary: dict[str, UnaryMethod] = {}
        self._streams: dict[str, Any] = {}
        self._behind: aio.Server | None = None
        self._folder: Path | None = None
        self._front: Any = None
        self._methods: list[UnaryMethod | Any] = []
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._is_stopping = False
        self._idle = threading.Event()
        """Set while the thread is to wait for calls."""
        self._context = contextvars.copy_context()

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Add nothing: what generated code adds here, it adds as registered methods as well."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Add the methods of a service."""
        behind = {}
        for name, handler in handlers.items():
            method = f"/{service}/{name}"
            if handler.unary_unary is not None:
                self._unary[method] = self._gateway.unary(handler, method)
            elif handler.unary_stream is not None:
                self._streams[method] = self._gateway.stream(handler, method)
            else:
                behind[name] = handler
        if behind:
            if self._behind is None:
                options = grpcio.options(max_message_bytes=self._max_bytes)
                self._behind = aio.server(options=options)
            grpcio.GuardedServer(self._behind, self._gateway).add_registered_method_handlers(
                service, behind
            )

    def add_insecure_port(self, target: str) -> int:
        """Bind to an address and return the port; raises RuntimeError where that cannot be."""
        try:
            self._front = pygrpc_native.NativeGrpcFront(target, [], **self._options)
        except OSError as error:
            raise RuntimeError(str(error)) from None
        port: int = self._front.bound_port
        return port

    async def start(self) -> None:
        """Begin to answer."""
        loop = asyncio.get_running_loop()
        if self._behind is not None:
            self._folder = Path(tempfile.mkdtemp(prefix="gnnrec-"))
            self._behind.add_insecure_port(f"unix:{self._folder}/behind")
            await self._behind.start()
            self._front.set_fallback(f"{self._folder}/behind")
        self._methods = [*self._unary.values(), *self._streams.values()]
        self._front.add_methods(
            [(path, False) for path in self._unary] + [(path, True) for path in self._streams]
        )
        self._front.start()
        threading.Thread(target=self._wait, args=(loop,), name="front", daemon=True).start()

    async def stop(self, grace_s: float) -> None:
        """Refuse what comes, let what is under way end within `grace_s`, and close."""
        self._is_stopping = True
        behind = None
        if self._behind is not None:
            behind = asyncio.ensure_future(self._behind.stop(grace_s))
        end = time.monotonic() + grace_s
        while self._tasks and time.monotonic() < end:
            await asyncio.wait(list(self._tasks.values()), timeout=end - time.monotonic())
        await asyncio.sleep(0)
        for task in list(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        if behind is not None:
            await behind
        await asyncio.sleep(_FLUSH_S)
        front = self._front
        self._idle.set()
        await asyncio.get_running_loop().run_in_executor(None, front.close)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wake the event loop when calls come; this is the thread."""
        front = self._front
        while (events := front.recv_batch_details(_AT_ONCE)) is not None:
            self._idle.clear()
            with suppress(RuntimeError):  # the loop has ended without stop
                loop.call_soon_threadsafe(self._take, events, loop, context=self._context)
                self._idle.wait()

    def _take(self, events: Any, loop: asyncio.AbstractEventLoop) -> None:
        """Answer what has come; runs in the event loop."""
        try:
            self._answer(events, loop)
        except Exception:
            _log.exception("a defect in what takes calls in")
            for _, number, *_ in events:  # to fail what is answered does nothing
                self._front.fail(number, _INTERNAL, _DEFECT)
        more = self._front.recv_batch_details(_AT_ONCE, 0)
        if more:
            loop.call_soon(self._take, more, loop, context=self._context)
        else:
            self._idle.set()

    def _answer(self, events: Any, loop: asyncio.AbstractEventLoop) -> None:
        now = time.monotonic()
        arrived: list[tuple[UnaryMethod, Waiting]] = []
        unary = len(self._unary)
        for kind, number, place, raw, _, details in events:
            if kind == pygrpc_native.EVENT_CANCEL:
                if (task := self._tasks.get(number)) is not None:
                    loop.call_soon(task.cancel)  # once it has begun, so that it is counted
            elif self._is_stopping:
                self._front.fail(number, _UNAVAILABLE, "the server is stopping")
            elif len(raw) > self._max_bytes:
                text = f"Received message larger than max ({len(raw)} vs. {self._max_bytes})"
                self._front.fail(number, _EXHAUSTED, text)
            elif place < unary:
                arrived.append(
                    (self._methods[place], _Call(self._front, number, raw, details, now))
                )
            else:
                work = self._stream(self._methods[place], number, raw, details)
                self._keep(number, loop.create_task(work))
        for later in self._together.answer(arrived):
            call = later.call
            assert isinstance(call, _Call)
            self._keep(call.number, loop.create_task(_finish(later)))

    def _keep(self, number: int, task: asyncio.Task[None]) -> None:
        self._tasks[number] = task
        task.add_done_callback(lambda _: self._tasks.pop(number, None))

    async def _stream(self, handler: Any, number: int, raw: bytes, details: Any) -> None:
        """Answer a call with a stream."""
        context = _StreamContext(self._front, number, details, handler.response_serializer)
        try:
            request = handler.request_deserializer(raw)
            handle = handler.unary_stream
            if inspect.isasyncgenfunction(handle):
                async for response in handle(request, context):
                    await context.write(response)
            else:
                await handle(request, context)
            self._front.stream_end(number, trailing_metadata=context.trailing)
        except aio.AbortError:
            pass  # the status is sent
        except asyncio.CancelledError:
            self._front.fail(number, _CANCELLED, "the call was cancelled")
        except Exception:
            _log.exception("a defect in a stream")
            self._front.fail(number, _INTERNAL, _DEFECT)


class _Call(Waiting):
    """A call by the number that pygrpc-native knows it by; what it is given cannot be followed."""

    __slots__ = ("_front", "number")

    is_followed = False

    def __init__(self, front: Any, number: int, raw: bytes, details: Any, now: float) -> None:
        metadata, peer, remaining_s = details
        deadline = math.inf if remaining_s is None else now + remaining_s
        super().__init__(raw, dict(metadata), peer, deadline)
        self.came = now
        self.number = number
        self._front = front

    def end(self, found: bytes | Ending) -> None:
        named = (REQUEST_ID, self.request_id)
        if isinstance(found, bytes):
            self._front.respond(self.number, found, None, (named,))
        else:
            code = found.status.value[0]
            self._front.fail(self.number, code, found.text, (*found.metadata, named))


class _StreamContext:
    """As much of a context of grpc.aio as streams use."""

    def __init__(self, front: Any, number: int, details: Any, serialize: Any) -> None:
        self._front = front
        self._number = number
        self._metadata, self._peer, _ = details
        self._serialize = serialize
        self.trailing: tuple[tuple[str, str | bytes], ...] = ()

    def invocation_metadata(self) -> Any:
        return self._metadata

    def peer(self) -> str:
        return str(self._peer)

    def set_trailing_metadata(self, metadata: tuple[tuple[str, str | bytes], ...]) -> None:
        self.trailing = metadata

    async def write(self, message: Any) -> None:
        """Send a message once the other end has room for it."""
        content = self._serialize(message)
        while (sent := self._front.stream_try_send(self._number, content)) == (
            pygrpc_native.STREAM_FULL
        ):
            await asyncio.sleep(_BEHIND_S)
        if sent == pygrpc_native.STREAM_CLOSED:
            raise asyncio.CancelledError

    async def abort(
        self, code: Any, text: str, metadata: tuple[tuple[str, str | bytes], ...]
    ) -> NoReturn:
        self._front.fail(self._number, code.value[0], text, metadata)
        raise aio.AbortError("the call has ended")


async def _finish(later: Later) -> None:
    with suppress(asyncio.CancelledError):  # who asked has gone, or the server ends
        await later.finish()
