"""gnnrec.v1.ModelService: what is loaded, and what the registry holds."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, Generic, TypeVar

from grpc import aio

from gnnrec_protos.v1 import model_pb2, model_pb2_grpc
from gnnrec_server.rollout.catalogue import Catalogue
from gnnrec_server.rpc import descriptions

Context = aio.ServicerContext[Any, Any]
T = TypeVar("T")


class ModelService(model_pb2_grpc.ModelServiceServicer):
    """The methods of the service; they read the registry, and change nothing."""

    def __init__(self, catalogue: Catalogue, reader: Executor) -> None:
        """Read the registry in the threads of `reader`."""
        self._catalogue = catalogue
        self._aliases = _ComputedForAll(reader, catalogue.aliases)
        self._versions = _ComputedForAll(reader, catalogue.versions)

    async def GetModel(
        self, request: model_pb2.GetModelRequest, context: Context
    ) -> model_pb2.GetModelResponse:
        """Describe what is loaded."""
        aliases, problem = await self._aliases.result()
        return descriptions.model_response(
            self._catalogue.serving, aliases, problem, self._catalogue.trials
        )

    async def ListVersions(
        self, request: model_pb2.ListVersionsRequest, context: Context
    ) -> model_pb2.ListVersionsResponse:
        """List the registry's versions with their states."""
        states = await self._versions.result()
        return model_pb2.ListVersionsResponse(
            versions=[descriptions.version_status(state) for state in states]
        )


class _ComputedForAll(Generic[T]):
    """What a function returns, computed once for all who come while it is computed for others.

    It begins after they came, so that they see what happened before.
    """

    def __init__(self, executor: Executor, function: Callable[[], T]) -> None:
        self._executor = executor
        self._function = function
        self._turn = asyncio.Lock()
        self._next: asyncio.Task[T] | None = None

    async def result(self) -> T:
        if self._next is None:
            self._next = asyncio.create_task(self._compute())
        return await asyncio.shield(self._next)  # one who goes away takes it from nobody

    async def _compute(self) -> T:
        async with self._turn:
            self._next = None  # who comes from now on has another
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._executor, self._function)
