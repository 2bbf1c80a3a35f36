"""The composition root: builds every object, and owns the order of start and stop."""

import asyncio
import logging
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import faiss
import uvloop
from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from protos.gnnrec.v1 import model_pb2, model_pb2_grpc, recommender_pb2, recommender_pb2_grpc
from registry import ModelStore
from server.boundary import Boundary
from server.catalogue import Catalogue
from server.errors import CannotStart
from server.metrics import Metrics
from server.recommender import Recommender
from server.rollout import Rollout
from server.servicer import ModelServicer, RecommenderServicer
from server.settings import Settings

_log = logging.getLogger("gnnrec.server")

_SERVICES = (
    recommender_pb2.DESCRIPTOR.services_by_name["RecommenderService"].full_name,
    model_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name,
)
LIVENESS = "liveness"
"""The health service that says the process answers, whatever is loaded."""


def serve(settings: Settings, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT, then drain; `ready` hears one line once requests are taken.

    Raises the registry's errors, UnservableVersion or CannotStart when there is nothing to serve
    or nowhere to serve it.
    """
    uvloop.run(_Server(settings).run(ready))


class _Server:
    """Every object of a running server."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.recommender = Recommender(settings.alias)
        # One thread searches and one loads: FAISS's own threads are pinned to as many.
        self.search = ThreadPoolExecutor(1, "search", initializer=_use_one_core)
        self.loader = ThreadPoolExecutor(1, "load", initializer=_use_one_core)
        self.rollout = Rollout(
            ModelStore(settings.registry, settings.model),
            settings.alias,
            self.recommender,
            self.metrics,
            self.loader,
            settings.poll_interval_s,
        )
        self.health = health.aio.HealthServicer()

    async def run(self, ready: Callable[[str], None]) -> None:
        settings = self.settings
        self.rollout.store.layout.require()
        self.rollout.start()
        server, port = self._build()
        metrics_port, stop_metrics = self.metrics.expose(settings.host, settings.metrics_port)
        try:
            await server.start()
            for service in ("", LIVENESS, *_SERVICES):
                await self.health.set(service, health_pb2.HealthCheckResponse.SERVING)
            stopped = _on_signals()
            following = asyncio.create_task(self.rollout.follow())
            ready(
                f"serving {settings.model} {self.recommender.snapshot.version} "
                f"({settings.alias}) on {settings.host}:{port}, "
                f"metrics on http://{settings.host}:{metrics_port}/metrics"
            )
            await stopped.wait()
            await self._drain(server, following)
        finally:
            stop_metrics()
            self.search.shutdown()
            self.loader.shutdown()

    def _build(self) -> tuple[aio.Server, int]:
        """Return the server, bound to its port."""
        settings = self.settings
        # A second server on the same port must fail, not share it.
        server = aio.server(
            interceptors=[Boundary(self.metrics)], options=[("grpc.so_reuseport", 0)]
        )
        recommender_pb2_grpc.add_RecommenderServiceServicer_to_server(
            RecommenderServicer(self.recommender, settings.limits, self.search), server
        )
        model_pb2_grpc.add_ModelServiceServicer_to_server(
            ModelServicer(Catalogue(self.recommender, self.rollout), self.loader), server
        )
        health_pb2_grpc.add_HealthServicer_to_server(self.health, server)
        if settings.reflection:
            names = (*_SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, server)
        try:
            return server, server.add_insecure_port(settings.address)
        except RuntimeError:
            raise CannotStart(
                f"address {settings.address} cannot be used: it is taken or not of this machine; "
                "choose another with --address"
            ) from None

    async def _drain(self, server: aio.Server, following: asyncio.Task[None]) -> None:
        """Turn health red, let balancers notice, finish what is under way, stop."""
        _log.info("draining")
        following.cancel()
        await self.health.enter_graceful_shutdown()
        await asyncio.sleep(self.settings.drain_s)
        await server.stop(self.settings.grace_s)
        _log.info("stopped")


def _use_one_core() -> None:
    faiss.omp_set_num_threads(1)  # holds for the calling thread


def _on_signals() -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    return stopped
