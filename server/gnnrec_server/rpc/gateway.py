"""The one place where an RPC is let in, timed, counted and, where it fails, ended with a status.

Of ours nothing else calls abort; the stock services may. It wraps the handlers before they are
given to gRPC: an interceptor, which does the same for each call anew, costs a tenth of all that an
RPC costs.
"""

import asyncio
import inspect
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError
from google.rpc import code_pb2
from grpc import aio

from gnnrec_server import errors
from gnnrec_server.load import admission
from gnnrec_server.load.admission import Admission, Patience
from gnnrec_server.load.answer_cache import AnswerCache
from gnnrec_server.load.unread import Unread
from gnnrec_server.process.files import Watched
from gnnrec_server.rpc import statuses, tokens
from gnnrec_server.rpc.requests import Reply
from gnnrec_server.telemetry import logs
from gnnrec_server.telemetry.metrics import Metrics, Reason
from gnnrec_server.telemetry.tracing import Tracing
from gnnrec_server.trials.observer import Witness

_RECOMMENDER = "gnnrec.v1.RecommenderService"
_HEALTH = "grpc.health.v1.Health"
_REQUEST_ID = "x-request-id"

# Who watches needs one for each service; a connection may be a proxy's.
_STREAMS_OF_ONE = 100

_REJECTED: dict[type[Exception], Reason] = {
    errors.Overloaded: "overloaded",
    errors.DeadlinePassed: "deadline",
    errors.Unauthenticated: "unauthenticated",
    errors.NotReady: "not_ready",
}

_log = logging.getLogger("gnnrec.server")


@dataclass(frozen=True)
class CallLimits:
    """How much may be under way, and how large it may be."""

    admissions: Mapping[str, Admission]
    """By service; calls of others are not counted."""
    unlimited: Admission
    long_patience: Patience
    """Of the thread that computes what is large."""
    unread: Unread
    max_streams: int
    max_message_bytes: int


Handler = Callable[[Any, Any], Awaitable[Any]]

# Larger messages list so much that the thread for what takes long has them.
_LARGE = 65_536


class Boundary:
    """Wraps every RPC of the server."""

    def __init__(
        self,
        metrics: Metrics,
        limits: CallLimits,
        cache: AnswerCache,
        witness: Witness,
        tokens: Watched[Mapping[bytes, str]] | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        """Count into `metrics`, keep to `limits`, tell `witness`; with `tokens`, ask for one."""
        self._tracing = tracing
        self._metrics = metrics
        self._limits = limits
        self._cache = cache
        self._witness = witness
        self._tokens = tokens
        self.in_flight = 0
        """How many unary RPCs are being answered."""
        self._streams: dict[asyncio.Task[Any], str] = {}
        """The streams that are open, and whose they are."""
        self._ending = False
        self._reading = asyncio.Lock()

    def end_streams(self) -> None:
        """End the streams, which would never end of themselves, with UNAVAILABLE."""
        self._ending = True
        for task in list(self._streams):
            task.cancel()

    def wrap(self, handler: Any, method: str) -> Any:
        """Return a method's handler, wrapped; `method` is named as /service/method."""
        if handler.unary_unary is not None:
            # The message is parsed once the caller is let in, and some answers are bytes already.
            answer = self._unary(handler, method)
            return handler._replace(
                unary_unary=answer, request_deserializer=None, response_serializer=None
            )
        if handler.unary_stream is not None:
            return handler._replace(unary_stream=self._stream(handler.unary_stream, method))
        return handler._replace(stream_stream=self._stream(handler.stream_stream, method))

    def _unary(self, handler: Any, method: str) -> Handler:
        service, _, rpc = method.lstrip("/").partition("/")
        limited = service == _RECOMMENDER
        handle: Handler = handler.unary_unary
        parse, serialize = handler.request_deserializer, handler.response_serializer
        cache, witness = self._cache, self._witness
        unread, max_bytes = self._limits.unread, self._limits.max_message_bytes
        admission = self._limits.admissions.get(service, self._limits.unlimited)
        tracing = self._tracing if limited else None
        calls = self._metrics.calls(service, rpc)

        async def answer(raw: bytes, context: Any) -> bytes:
            began = time.perf_counter()
            self.in_flight += 1
            calls.start(self.in_flight)
            metadata = dict(context.invocation_metadata())
            _set_request_id(metadata, context)
            span = None if tracing is None else tracing.begin(method, metadata.items())
            code, caller, inside, named = "OK", "", False, None
            size = -1
            request = None
            try:
                caller = self._authenticate(service, metadata)
                if unread.is_full:
                    admission.make_room()
                if limited:
                    _set_deadline(context)
                    named = cache.get(rpc, raw)
                    if named is not None:
                        size = len(named.content)
                        return named.content
                admission.enter()
                inside = True
                serving = cache.serving
                if len(raw) > _LARGE:
                    named = request = await self._read_large(parse, raw, limited)
                else:
                    named = request = _parsed(parse, raw)
                named = response = await handle(request, context)
                is_reply = type(response) is Reply
                content: bytes = response.content if is_reply else serialize(response)
                if len(content) > max_bytes:
                    raise errors.AnswerTooLarge(
                        f"the answer has {len(content)} bytes, and --max-message-bytes of the "
                        f"server permits {max_bytes}; ask for less at a time"
                    )
                if is_reply:
                    cache.put(raw, response, serving)
                size = len(content)
                return content
            except asyncio.CancelledError:
                code = "DEADLINE_EXCEEDED" if context.time_remaining() == 0 else "CANCELLED"
                raise
            except aio.AbortError:
                code = _name(context.code())  # a stock servicer has answered for itself
                raise
            except Exception as error:
                ending = statuses.end(error, method)
                code = ending.code
                if type(error) in _REJECTED:
                    self._metrics.reject(_REJECTED[type(error)])
                if isinstance(error, errors.Overloaded):
                    admission.note_shed()
                _let_go(error)
                await _abort(context, ending)
            finally:
                if size >= 0:  # it is in until it is read
                    unread.hold(context, size, admission.leave if inside else None)
                elif inside:
                    admission.leave()
                self.in_flight -= 1
                seconds = time.perf_counter() - began
                calls.finish(self.in_flight, code, seconds)
                if type(named) is Reply and named.version and not witness.is_needed:
                    self._metrics.count(rpc, code, seconds, named.version, named.variant)
                elif limited:
                    names = _names(named)
                    if witness.is_needed:
                        names = witness.see(rpc, raw, request, named, code, seconds)
                    self._metrics.finish(rpc, code, seconds, **names)
                if tracing is not None and span is not None:
                    k = getattr(request, "k", None)
                    tracing.end(span, code, *self._metrics.served(**_names(named)), k)
                if _log.isEnabledFor(logging.DEBUG):
                    told = {"rpc": method, "code": code, "duration_s": round(seconds, 6)}
                    _log.debug(
                        "%s %s in %.2f ms", method, code, 1000 * seconds,
                        extra=told | {"caller": caller},
                    )  # fmt: skip
                # gRPC keeps what aborts a call, and with it this frame, until garbage is looked for
                raw, request, named, response = b"", None, None, None

        return answer

    async def _read_large(self, parse: Callable[[bytes], Any], raw: bytes, limited: bool) -> Any:
        """Parse a message that takes milliseconds, in which nobody else is answered.

        So it is not read if it would be refused then, and one after the other: whoever came
        meanwhile has a turn between two of them.
        """
        async with self._reading:
            if limited:
                left_s = admission.DEADLINE.get() - time.monotonic()
                self._limits.long_patience.check_unread(left_s)
            request = _parsed(parse, raw)
            await asyncio.sleep(0)
            return request

    def _stream(self, handle: Callable[..., Any], method: str) -> Callable[..., Any]:
        service = method.lstrip("/").partition("/")[0]

        @asynccontextmanager
        async def held(context: Any) -> AsyncIterator[None]:
            task = asyncio.current_task()
            assert task is not None
            metadata = dict(context.invocation_metadata())
            _set_request_id(metadata, context)
            try:
                self._authenticate(service, metadata)
                self._check_streams(context.peer())
            except (errors.Unauthenticated, errors.Overloaded) as error:
                self._metrics.reject(_REJECTED[type(error)])
                await _abort(context, statuses.end(error, method))
            self._streams[task] = context.peer()
            try:
                yield
            except asyncio.CancelledError:
                if not self._ending:
                    raise
                stopping = errors.NotReady("the server is stopping")
                try:
                    await _abort(context, statuses.end(stopping, method))
                except aio.BaseError:  # where a message is unread, nothing can follow it
                    raise asyncio.CancelledError from None
            finally:
                del self._streams[task]

        async def write(request: Any, context: Any) -> None:
            async with held(context):
                await handle(request, context)

        async def generate(request: Any, context: Any) -> AsyncIterator[Any]:
            async with held(context):
                async for response in handle(request, context):
                    yield response

        return generate if inspect.isasyncgenfunction(handle) else write

    def _check_streams(self, peer: str) -> None:
        """Raise Overloaded where too many streams are open, in all or of one connection."""
        theirs = sum(each == peer for each in self._streams.values())
        if len(self._streams) >= self._limits.max_streams or theirs >= _STREAMS_OF_ONE:
            raise errors.Overloaded("too many streams are open; end some, or try again", 5.0)

    def _authenticate(self, service: str, metadata: Mapping[str, Any]) -> str:
        """Return the name of the caller's token, empty where none is asked for."""
        if self._tokens is None or service == _HEALTH:
            return ""
        return tokens.check(self._tokens.value, metadata.get("authorization"))


class Guarded:
    """A server whose RPCs all go through the boundary; given to the add_..._to_server functions.

    They are all generic ones: for registered methods grpc.aio waits, at each call, for every one of
    them anew, which costs as much as to answer from the cache.
    """

    def __init__(self, server: aio.Server, boundary: Boundary) -> None:
        """Add to `server`."""
        self._server = server
        self._boundary = boundary

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Add nothing: what generated code adds here, it adds as registered methods as well."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Add the methods of a service, wrapped."""
        wrapped = {
            name: self._boundary.wrap(handler, f"/{service}/{name}")
            for name, handler in handlers.items()
        }
        generic = grpc.method_handlers_generic_handler(service, wrapped)
        self._server.add_generic_rpc_handlers((generic,))


def _set_request_id(metadata: Mapping[str, Any], context: Any) -> None:
    made = logs.request_id(metadata.get(_REQUEST_ID))
    logs.REQUEST_ID.set(made)
    context.set_trailing_metadata(((_REQUEST_ID, made),))


def _set_deadline(context: Any) -> None:
    remaining_s = context.time_remaining()
    if remaining_s is None:
        return
    if remaining_s <= 0:
        raise errors.DeadlinePassed("the deadline had passed before the request was looked at")
    admission.DEADLINE.set(time.monotonic() + remaining_s)


def _parsed(parse: Callable[[bytes], Any], raw: bytes) -> Any:
    try:
        return parse(raw)
    except DecodeError:
        raise errors.InvalidQuery("request", "is not a message of this RPC") from None


def _names(message: Any) -> dict[str, str]:
    """Return version, alias and variant as an answer, or else a request, names them."""
    return {name: getattr(message, name, "") for name in ("version", "alias", "variant")}


def _let_go(error: BaseException | None) -> None:
    """Let go of the frames that an error, and what led to it, passed through.

    They hold the request, which may be large, in a cycle: gRPC keeps what is raised
    while the error is handled, and a future its exception.
    """
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


async def _abort(context: Any, ending: statuses.Ending) -> NoReturn:
    """End the call, under its request id."""
    request_id = (_REQUEST_ID, logs.REQUEST_ID.get())
    await context.abort(ending.status, ending.text, (*ending.metadata, request_id))
    raise AssertionError("abort raises")


def _name(code: Any) -> str:
    if code is None:
        return "UNKNOWN"
    return code.name if isinstance(code, grpc.StatusCode) else code_pb2.Code.Name(code)
