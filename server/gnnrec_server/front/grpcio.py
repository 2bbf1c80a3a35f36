"""gRPC over grpcio: its options, its credentials, and the registration of methods."""

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import grpc
from grpc import aio

from gnnrec_server.process.files import WatchedFiles
from gnnrec_server.rpc import calls, tls
from gnnrec_server.rpc.calls import Call
from gnnrec_server.rpc.gateway import Gateway, UnaryMethod


def options(
    *,
    max_message_bytes: int,
    max_pending: int = 0,
    max_connection_age_s: float = 0.0,
    max_connection_age_grace_s: float = 30.0,
    shares_port: bool = False,
) -> list[tuple[str, int]]:
    """Return gRPC's own options for a server; see Settings for what they are."""
    options = [
        # A second server on the same port must fail, not share it; workers share theirs.
        ("grpc.so_reuseport", int(shares_port)),
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        # Dead peers are noticed within 80 s, and idle clients may ping every 10 s.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.http2.ping_timeout_ms", 20_000),  # a minute otherwise, whatever the line above says
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ]
    if max_pending:
        options += [
            ("grpc.server.max_pending_requests", max(1, max_pending * 4 // 5)),
            ("grpc.server.max_pending_requests_hard_limit", max_pending),
        ]
    if max_connection_age_s:
        options += [
            ("grpc.max_connection_age_ms", int(1000 * max_connection_age_s)),
            ("grpc.max_connection_age_grace_ms", int(1000 * max_connection_age_grace_s)),
        ]
    return options


class GuardedServer:
    """A server whose RPCs all go through the gateway; given to the add_..._to_server functions.

    Methods are wrapped before they are given to gRPC: an interceptor, which does the same for each
    call anew, costs a tenth of all that an RPC costs.

    They are all generic ones: for registered methods grpc.aio waits, at each call, for every one of
    them anew, which costs as much as to answer from the cache.
    """

    def __init__(self, server: aio.Server, gateway: Gateway) -> None:
        """Add to `server`."""
        self._server = server
        self._gateway = gateway

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Add nothing: what generated code adds here, it adds as registered methods as well."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Add the methods of a service, wrapped."""
        wrapped = {
            name: self._wrapped(handler, f"/{service}/{name}") for name, handler in handlers.items()
        }
        generic = grpc.method_handlers_generic_handler(service, wrapped)
        self._server.add_generic_rpc_handlers((generic,))

    def _wrapped(self, handler: Any, method: str) -> Any:
        if handler.unary_unary is None:
            return self._gateway.stream(handler, method)
        # The message is parsed once the caller is let in, and some answers are bytes already.
        return handler._replace(
            unary_unary=_answering(self._gateway.unary(handler, method)),
            request_deserializer=None,
            response_serializer=None,
        )


def _answering(method: UnaryMethod) -> Any:
    """Return the handler of a method as grpc.aio calls it."""

    async def answer(raw: bytes, context: Any) -> bytes:
        call = _Call(raw, context)
        raw = b""  # see Call.release
        found = await method.answer(call)
        if not isinstance(found, bytes):
            await calls.abort(context, found, call.request_id)
        context.set_trailing_metadata(((calls.REQUEST_ID, call.request_id),))
        return found

    return answer


class _Call(Call):
    """A call that grpc.aio has a task for, which ends once the answer is written."""

    __slots__ = ()

    def __init__(self, raw: bytes, context: Any) -> None:
        remaining_s = context.time_remaining()
        deadline = math.inf if remaining_s is None else time.monotonic() + remaining_s
        super().__init__(raw, dict(context.invocation_metadata()), context.peer(), deadline)

    def when_read(self, then: Callable[[], None]) -> None:
        # as late as a callback of the context, which would make a cycle that holds the call
        task = asyncio.current_task()
        assert task is not None
        task.add_done_callback(lambda _: then())


def credentials(watched: WatchedFiles[tls.Certificates]) -> grpc.ServerCredentials:
    """Return credentials that give each new connection what is read last."""
    given = watched.value

    def newer() -> Any:
        nonlocal given
        if watched.value is given:
            return None  # as before
        given = watched.value
        return _configuration(given)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(given), newer, require_client_authentication=given.client_ca is not None
    )


def _configuration(held: tls.Certificates) -> Any:
    return grpc.ssl_server_certificate_configuration([(held.key, held.chain)], held.client_ca)
