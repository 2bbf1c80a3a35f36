"""The streams of stock services: who may open one, how many there may be, and their end."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from grpc import aio

from gnnrec_server import errors
from gnnrec_server.rpc import calls, statuses
from gnnrec_server.telemetry.metrics import Metrics

# Who watches health needs one for each service; a connection may be a proxy's.
_STREAMS_OF_ONE = 100


class Streams:
    """The streams that are open; they never end of themselves."""

    def __init__(
        self,
        metrics: Metrics,
        authenticate: Callable[[str, Mapping[str, Any]], str],
        max_streams: int,
    ) -> None:
        """Let callers that `authenticate` knows open at most so many streams together."""
        self._metrics = metrics
        self._authenticate = authenticate
        self._max_streams = max_streams
        self._open: dict[asyncio.Task[Any], str] = {}
        """Whose each stream is, as gRPC names the other end."""
        self._ending = False

    def end(self) -> None:
        """End all with UNAVAILABLE, and those that are opened from now on."""
        self._ending = True
        for task in list(self._open):
            task.cancel()

    def wrap(self, handle: Callable[..., Any], method: str) -> Callable[..., Any]:
        """Return the handler of a stream, let in and ended by this; `method` as /service/method."""

        async def write(request: Any, context: Any) -> None:
            async with self._held(context, method):
                await handle(request, context)

        async def generate(request: Any, context: Any) -> AsyncIterator[Any]:
            async with self._held(context, method):
                async for response in handle(request, context):
                    yield response

        return generate if inspect.isasyncgenfunction(handle) else write

    @asynccontextmanager
    async def _held(self, context: Any, method: str) -> AsyncIterator[None]:
        """Let a stream in, or end its call; count it as open while the block runs."""
        task = asyncio.current_task()
        assert task is not None
        metadata = dict(context.invocation_metadata())
        request_id = calls.name(metadata)
        context.set_trailing_metadata(((calls.REQUEST_ID, request_id),))
        try:
            self._authenticate(method.lstrip("/").partition("/")[0], metadata)
            self._check_count(context.peer())
        except (errors.Unauthenticated, errors.Overloaded) as error:
            self._metrics.reject(calls.REJECTED[type(error)])
            await calls.abort(context, statuses.end(error, method), request_id)
        self._open[task] = context.peer()
        try:
            yield
        except asyncio.CancelledError:
            if not self._ending:
                raise
            stopping = errors.NotReady("the server is stopping")
            try:
                await calls.abort(context, statuses.end(stopping, method), request_id)
            except aio.BaseError:  # where a message is unread, nothing can follow it
                raise asyncio.CancelledError from None
        finally:
            del self._open[task]

    def _check_count(self, peer: str) -> None:
        """Raise Overloaded where too many streams are open, in all or of one connection."""
        theirs = sum(other == peer for other in self._open.values())
        if len(self._open) >= self._max_streams or theirs >= _STREAMS_OF_ONE:
            raise errors.Overloaded("too many streams are open; end some, or try again", 5.0)
