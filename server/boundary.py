"""The one place where an RPC is timed, counted, and its error becomes a status.

Nothing else calls abort, and no other module knows a status code.
"""

import asyncio
import inspect
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc import aio
from grpc_status import rpc_status

from registry.errors import RegistryError
from server import errors, limiter, logs, tokens
from server.limiter import Admission
from server.metrics import Metrics, Reason
from server.tracing import Tracing
from server.watched import Watched
from server.witness import Witness

_DOMAIN = "gnnrec"
_LIMITED = "gnnrec.v1.RecommenderService"
_HEALTH = "grpc.health.v1.Health"
_REQUEST_ID = "x-request-id"

# Every ServingError has a line here; a test walks the classes.
MAPPING: dict[type[Exception], tuple[int, str]] = {
    errors.InvalidQuery: (code_pb2.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
    errors.UnknownUser: (code_pb2.NOT_FOUND, "USER_NOT_FOUND"),
    errors.UnknownItem: (code_pb2.NOT_FOUND, "ITEM_NOT_FOUND"),
    errors.UnknownVersion: (code_pb2.NOT_FOUND, "VERSION_NOT_FOUND"),
    errors.MissingVariant: (code_pb2.FAILED_PRECONDITION, "VARIANT_NOT_AVAILABLE"),
    errors.CannotEmbed: (code_pb2.FAILED_PRECONDITION, "CANNOT_EMBED"),
    errors.VersionNotLoaded: (code_pb2.FAILED_PRECONDITION, "VERSION_NOT_LOADED"),
    errors.MissingAttributes: (code_pb2.FAILED_PRECONDITION, "ATTRIBUTES_NOT_AVAILABLE"),
    errors.NotReady: (code_pb2.UNAVAILABLE, "NOT_READY"),
    errors.UnservableVersion: (code_pb2.UNAVAILABLE, "NOT_READY"),
    errors.CannotStart: (code_pb2.UNAVAILABLE, "NOT_READY"),
    errors.Overloaded: (code_pb2.RESOURCE_EXHAUSTED, "OVERLOADED"),
    errors.DeadlinePassed: (code_pb2.DEADLINE_EXCEEDED, "DEADLINE_PASSED"),
    errors.Unauthenticated: (code_pb2.UNAUTHENTICATED, "TOKEN_INVALID"),
    RegistryError: (code_pb2.UNAVAILABLE, "REGISTRY_UNREADABLE"),
}

_REJECTED: dict[type[Exception], Reason] = {
    errors.Overloaded: "overloaded",
    errors.DeadlinePassed: "deadline",
    errors.Unauthenticated: "unauthenticated",
    errors.NotReady: "not_ready",
}

_log = logging.getLogger("gnnrec.server")

Handler = Callable[[Any, Any], Awaitable[Any]]


class Boundary(aio.ServerInterceptor):
    """Wraps every RPC of the server."""

    def __init__(
        self,
        metrics: Metrics,
        admission: Admission,
        witness: Witness,
        tokens: Watched[Mapping[bytes, str]] | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        """Count into `metrics`, ask `admission`, tell `witness`; with `tokens`, ask for one."""
        self._witness = witness
        self._tracing = tracing
        self._metrics = metrics
        self._admission = admission
        self._tokens = tokens
        self.in_flight = 0
        """How many unary RPCs are being answered."""
        self._wrapped: dict[str, Any] = {}
        self._streams: set[asyncio.Task[Any]] = set()
        self._ending = False

    def end_streams(self) -> None:
        """End the streams, which would never end of themselves, with UNAVAILABLE."""
        self._ending = True
        for task in self._streams:
            task.cancel()

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        """Return the RPC's handler, wrapped."""
        wrapped = self._wrapped.get(details.method)
        if wrapped is None:
            handler = await continuation(details)
            if handler is None:
                return None
            wrapped = self._wrapped[details.method] = self._wrap(handler, details.method)
        return wrapped

    def _wrap(self, handler: Any, method: str) -> Any:
        if handler.unary_unary is not None:
            # the message is parsed once the caller is let in
            answer = self._unary(handler.unary_unary, handler.request_deserializer, method)
            return handler._replace(unary_unary=answer, request_deserializer=None)
        if handler.unary_stream is not None:
            return handler._replace(unary_stream=self._stream(handler.unary_stream, method))
        return handler._replace(stream_stream=self._stream(handler.stream_stream, method))

    def _unary(self, handle: Handler, parse: Callable[[bytes], Any], method: str) -> Handler:
        service, _, rpc = method.lstrip("/").partition("/")
        limited = service == _LIMITED
        labels = ("unary", service, rpc)
        metrics, admission, witness = self._metrics, self._admission, self._witness
        tracing = self._tracing if limited else None
        started = metrics.started.labels(*labels)
        handling = metrics.handling.labels(*labels)

        async def answer(raw: bytes, context: Any) -> Any:
            began = time.perf_counter()
            started.inc()
            self._count(1)
            metadata = dict(context.invocation_metadata())
            _set_request_id(metadata, context)
            span = None if tracing is None else tracing.begin(method, metadata.items())
            code, caller, inside, named = "OK", "", False, None
            request = None
            try:
                caller = self._authenticate(service, metadata)
                if limited:
                    _set_deadline(context)
                    admission.enter()
                    inside = True
                named = request = _parsed(parse, raw)
                named = response = await handle(request, context)
                return response
            except asyncio.CancelledError:
                code = "DEADLINE_EXCEEDED" if context.time_remaining() == 0 else "CANCELLED"
                raise
            except aio.AbortError:
                code = _name(context.code())  # a stock servicer has answered for itself
                raise
            except Exception as error:
                status = report(error, method)
                code = code_pb2.Code.Name(status.code)
                if type(error) in _REJECTED:
                    metrics.reject(_REJECTED[type(error)])
                if isinstance(error, errors.Overloaded):
                    admission.note_shed()
                await _abort(context, status)
            finally:
                if inside:
                    admission.leave()
                self._count(-1)
                seconds = time.perf_counter() - began
                metrics.handled.labels(*labels, code).inc()
                handling.observe(seconds)
                if limited:
                    names = witness.see(rpc, request, named, code, seconds)
                    metrics.finish(rpc, code, seconds, **names)
                    if tracing is not None and span is not None:
                        k = getattr(request, "k", None)
                        tracing.end(span, code, *metrics.served(**names), k)
                if _log.isEnabledFor(logging.DEBUG):
                    told = {"rpc": method, "code": code, "duration_s": round(seconds, 6)}
                    _log.debug(
                        "%s %s in %.2f ms", method, code, 1000 * seconds,
                        extra=told | {"caller": caller},
                    )  # fmt: skip

        return answer

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
            except errors.Unauthenticated as error:
                self._metrics.reject("unauthenticated")
                await _abort(context, to_status(error))
            self._streams.add(task)
            try:
                yield
            except asyncio.CancelledError:
                if not self._ending:
                    raise
                await _abort(context, to_status(errors.NotReady("the server is stopping")))
            finally:
                self._streams.discard(task)

        async def write(request: Any, context: Any) -> None:
            async with held(context):
                await handle(request, context)

        async def generate(request: Any, context: Any) -> AsyncIterator[Any]:
            async with held(context):
                async for response in handle(request, context):
                    yield response

        return generate if inspect.isasyncgenfunction(handle) else write

    def _count(self, change: int) -> None:
        self.in_flight += change
        self._metrics.in_flight.set(self.in_flight)

    def _authenticate(self, service: str, metadata: Mapping[str, Any]) -> str:
        """Return the name of the caller's token, empty where none is asked for."""
        if self._tokens is None or service == _HEALTH:
            return ""
        return tokens.check(self._tokens.value, metadata.get("authorization"))


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
    limiter.DEADLINE.set(time.monotonic() + remaining_s)


def _parsed(parse: Callable[[bytes], Any], raw: bytes) -> Any:
    try:
        return parse(raw)
    except DecodeError:
        raise errors.InvalidQuery("request", "is not a message of this RPC") from None


async def _abort(context: Any, status: status_pb2.Status) -> NoReturn:
    """End the call with a status, under its request id."""
    rich = rpc_status.to_status(status)
    request_id = ((_REQUEST_ID, logs.REQUEST_ID.get()),)
    await context.abort(rich.code, rich.details, (*rich.trailing_metadata, *request_id))
    raise AssertionError("abort raises")


def report(error: Exception, where: str) -> status_pb2.Status:
    """Return the status of an error; what only the log may say of a defect, it says there."""
    status = to_status(error)
    if status.code == code_pb2.INTERNAL:
        _log.error("a defect in %s", where, exc_info=error)
    return status


def to_status(error: Exception) -> status_pb2.Status:
    """Return the status, with google.rpc details, that tells a caller of an error."""
    for kind in type(error).__mro__:
        if kind in MAPPING:
            code, reason = MAPPING[kind]
            break
    else:
        return _status(
            code_pb2.INTERNAL, "an error in the server; its log has the details", "INTERNAL"
        )
    if isinstance(error, errors.Unauthenticated):
        reason = error.reason
    status = _status(code, str(error), reason)
    if isinstance(error, errors.InvalidQuery):
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=error.field, description=error.problem
        )
        status.details.append(_pack(error_details_pb2.BadRequest(field_violations=[violation])))
    if isinstance(error, errors.Overloaded):
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(1e9 * error.retry_after_s))
        status.details.append(_pack(error_details_pb2.RetryInfo(retry_delay=delay)))
    return status


def _status(code: int, message: str, reason: str) -> status_pb2.Status:
    info = error_details_pb2.ErrorInfo(reason=reason, domain=_DOMAIN)
    return status_pb2.Status(code=code, message=message, details=[_pack(info)])


def _pack(message: Any) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


def _name(code: Any) -> str:
    if code is None:
        return "UNKNOWN"
    return code.name if isinstance(code, grpc.StatusCode) else code_pb2.Code.Name(code)
