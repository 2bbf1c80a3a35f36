"""The clients: `Client` for blocking calls and `AsyncClient` for asyncio, with the same calls."""

import functools
import inspect
from collections.abc import Callable, Coroutine
from types import ModuleType
from typing import Any, ClassVar, Concatenate, ParamSpec, Self, TypeVar

import grpc
from grpc import aio

from gnnrec import errors
from gnnrec.client import calls
from gnnrec.client.calls import Call
from gnnrec.client.connection import Connection

Answer = TypeVar("Answer")
Given = ParamSpec("Given")
Method = TypeVar("Method", bound=Callable[..., Any])


def _described(method: Method, make: Callable[..., Any]) -> Method:
    """Give a method the name, docstring and parameters of the function that makes its calls."""
    functools.update_wrapper(method, make)
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    given = inspect.signature(make).parameters.values()
    method.__signature__ = inspect.Signature([own, *given])  # type: ignore[attr-defined]
    return method


def _blocking(make: Callable[Given, Call[Answer]]) -> Callable[Concatenate[Any, Given], Answer]:
    """Return a method that makes a call and waits for the answer."""

    def method(self: "Client", /, *args: Given.args, **kwargs: Given.kwargs) -> Answer:
        call = make(*args, **kwargs)
        try:
            response = self._link.stubs().methods[call.method](call.request, **self._call_options())
        except grpc.RpcError as error:
            raise errors.from_call(error, self._where, self._proxy, self._timeout_s) from None
        return call.read(response)

    return _described(method, make)


def _awaited(
    make: Callable[Given, Call[Answer]],
) -> Callable[Concatenate[Any, Given], Coroutine[Any, Any, Answer]]:
    """Return a coroutine method that makes a call."""

    async def method(self: "AsyncClient", /, *args: Given.args, **kwargs: Given.kwargs) -> Answer:
        call = make(*args, **kwargs)
        stubs = self._link.stubs_of_loop()
        try:
            response = await stubs.methods[call.method](call.request, **self._call_options())
        except grpc.RpcError as error:
            raise errors.from_call(error, self._where, self._proxy, self._timeout_s) from None
        return call.read(response)

    return _described(method, make)


class Client(Connection):
    """A connection to gnnrec servers; close it, or use it in a with statement.

    Threads may share it. A call raises ValueError for an invalid request and Error when it fails.
    Only UNAVAILABLE is retried, up to four attempts within `timeout_s`.
    """

    _transport: ClassVar[ModuleType] = grpc

    top_k = _blocking(calls.top_k)
    batch_top_k = _blocking(calls.batch_top_k)
    score = _blocking(calls.score)
    get_model = _blocking(calls.get_model)
    list_versions = _blocking(calls.list_versions)
    health = _blocking(calls.health)

    def close(self) -> None:
        """Close the connection."""
        self._link.channel().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class AsyncClient(Connection):
    """Client for asyncio: the same calls, awaited.

    It is bound to the event loop of its first call; a call in another loop raises RuntimeError.
    """

    _transport: ClassVar[ModuleType] = aio

    top_k = _awaited(calls.top_k)
    batch_top_k = _awaited(calls.batch_top_k)
    score = _awaited(calls.score)
    get_model = _awaited(calls.get_model)
    list_versions = _awaited(calls.list_versions)
    health = _awaited(calls.health)

    async def close(self) -> None:
        """Close the connection."""
        await self._link.channel().close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()
