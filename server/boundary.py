"""The one place where an RPC is timed, counted, and its error becomes a status.

Nothing else calls abort, and no other module knows a status code.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc import aio
from grpc_status import rpc_status

from registry.errors import RegistryError
from server import errors
from server.metrics import Metrics

_DOMAIN = "gnnrec"

# Every ServingError has a line here; a test walks the classes.
MAPPING: dict[type[Exception], tuple[int, str]] = {
    errors.InvalidQuery: (code_pb2.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
    errors.UnknownUser: (code_pb2.NOT_FOUND, "USER_NOT_FOUND"),
    errors.UnknownItem: (code_pb2.NOT_FOUND, "ITEM_NOT_FOUND"),
    errors.UnknownVersion: (code_pb2.NOT_FOUND, "VERSION_NOT_FOUND"),
    errors.MissingVariant: (code_pb2.FAILED_PRECONDITION, "VARIANT_NOT_AVAILABLE"),
    errors.CannotEmbed: (code_pb2.FAILED_PRECONDITION, "CANNOT_EMBED"),
    errors.NotOffered: (code_pb2.UNIMPLEMENTED, "NOT_OFFERED"),
    errors.NotReady: (code_pb2.UNAVAILABLE, "NOT_READY"),
    errors.UnservableVersion: (code_pb2.UNAVAILABLE, "NOT_READY"),
    errors.CannotStart: (code_pb2.UNAVAILABLE, "NOT_READY"),
    RegistryError: (code_pb2.UNAVAILABLE, "REGISTRY_UNREADABLE"),
}

_log = logging.getLogger("gnnrec.server")

Handler = Callable[[Any, Any], Awaitable[Any]]


class Boundary(aio.ServerInterceptor):
    """Wraps every unary RPC of the server."""

    def __init__(self, metrics: Metrics) -> None:
        """Count into `metrics`."""
        self._metrics = metrics
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def idle(self) -> None:
        """Wait until no unary RPC is being answered."""
        await self._idle.wait()

    def _count(self, change: int) -> None:
        self._in_flight += change
        self._metrics.in_flight.set(self._in_flight)
        if self._in_flight:
            self._idle.clear()
        else:
            self._idle.set()

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        """Return the RPC's handler, wrapped; streams (health Watch, reflection) pass."""
        handler = await continuation(details)
        if handler is None or handler.unary_unary is None:
            return handler
        return grpc.unary_unary_rpc_method_handler(
            self._wrap(handler.unary_unary, details.method),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _wrap(self, handle: Handler, method: str) -> Handler:
        service, _, rpc = method.lstrip("/").partition("/")
        labels = ("unary", service, rpc)
        metrics = self._metrics
        started = metrics.started.labels(*labels)
        handling = metrics.handling.labels(*labels)

        async def answer(request: Any, context: Any) -> Any:
            began = time.perf_counter()
            started.inc()
            self._count(1)
            code = "OK"
            try:
                response = await handle(request, context)
                if hasattr(response, "variant"):
                    metrics.requests.labels(rpc, response.version, response.variant).inc()
                return response
            except asyncio.CancelledError:
                code = "CANCELLED"
                raise
            except aio.AbortError:
                code = _name(context.code())  # a stock servicer has answered for itself
                raise
            except Exception as error:
                status = to_status(error)
                code = code_pb2.Code.Name(status.code)
                if status.code == code_pb2.INTERNAL:
                    _log.exception("a defect in %s", method)
                await context.abort_with_status(rpc_status.to_status(status))
            finally:
                self._count(-1)
                metrics.handled.labels(*labels, code).inc()
                handling.observe(time.perf_counter() - began)

        return answer


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
    status = _status(code, str(error), reason)
    if isinstance(error, errors.InvalidQuery):
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=error.field, description=error.problem
        )
        status.details.append(_pack(error_details_pb2.BadRequest(field_violations=[violation])))
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
