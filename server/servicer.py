"""The wire: parse a message, call the core, convert the answer. No decisions."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from grpc import aio

from protos.gnnrec.v1 import model_pb2, model_pb2_grpc, recommender_pb2, recommender_pb2_grpc
from server import model_wire, wire
from server.boundary import report
from server.catalogue import Catalogue
from server.errors import InvalidQuery
from server.metrics import Metrics
from server.queries import Limits, TopKQuery, check_batch
from server.recommender import Recommender

pb = recommender_pb2
Context = aio.ServicerContext[Any, Any]


class RecommenderServicer(recommender_pb2_grpc.RecommenderServiceServicer):
    """gnnrec.v1.RecommenderService."""

    def __init__(
        self, recommender: Recommender, limits: Limits, search: Executor, metrics: Metrics
    ) -> None:
        """Search in the threads of `search`, so that the event loop stays free."""
        self._respond = metrics.stages["respond"]
        self._recommender = recommender
        self._limits = limits
        self._search = search

    async def TopK(self, request: pb.TopKRequest, context: Context) -> pb.TopKResponse:
        """Return the k best items for one query."""
        query = wire.parse_top_k(request, self._limits)
        answer = await _run(self._search, self._recommender.top_k, query)
        with self._respond.time():
            return wire.top_k_response(answer)

    async def BatchTopK(
        self, request: pb.BatchTopKRequest, context: Context
    ) -> pb.BatchTopKResponse:
        """Answer many TopK queries, each for itself."""
        check_batch(len(request.requests), self._limits)
        response: pb.BatchTopKResponse = await _run(self._search, self._answer_batch, request)
        return response

    def _answer_batch(self, request: pb.BatchTopKRequest) -> pb.BatchTopKResponse:
        queries = [self._parse(entry) for entry in request.requests]
        answers = self._recommender.top_k_batch(queries)
        with self._respond.time():
            return pb.BatchTopKResponse(
                entries=[
                    pb.BatchTopKEntry(error=report(answer, "an entry of BatchTopK"))
                    if isinstance(answer, Exception)
                    else pb.BatchTopKEntry(response=wire.top_k_response(answer))
                    for answer in answers
                ]
            )

    def _parse(self, entry: pb.TopKRequest) -> TopKQuery | Exception:
        try:
            return wire.parse_top_k(entry, self._limits)
        except InvalidQuery as error:
            return error

    async def Score(self, request: pb.ScoreRequest, context: Context) -> pb.ScoreResponse:
        """Score the named items for one query."""
        query = wire.parse_score(request, self._limits)
        answer = await _run(self._search, self._recommender.score, query)
        with self._respond.time():
            return wire.score_response(answer)


class ModelServicer(model_pb2_grpc.ModelServiceServicer):
    """gnnrec.v1.ModelService."""

    def __init__(self, catalogue: Catalogue, reader: Executor) -> None:
        """Read the registry in the threads of `reader`."""
        self._catalogue = catalogue
        self._reader = reader

    async def GetModel(
        self, request: model_pb2.GetModelRequest, context: Context
    ) -> model_pb2.GetModelResponse:
        """Describe what is loaded."""
        aliases = await _run(self._reader, self._catalogue.aliases)
        return model_wire.model_response(self._catalogue.serving, aliases, self._catalogue.trials)

    async def ListVersions(
        self, request: model_pb2.ListVersionsRequest, context: Context
    ) -> model_pb2.ListVersionsResponse:
        """List the registry's versions with their states."""
        states = await _run(self._reader, self._catalogue.versions)
        return model_pb2.ListVersionsResponse(
            versions=[model_wire.version_status(state) for state in states]
        )


async def _run(executor: Executor, function: Callable[..., Any], *arguments: object) -> Any:
    return await asyncio.get_running_loop().run_in_executor(executor, function, *arguments)
