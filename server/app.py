"""The composition root: builds every object, and owns the order of start and stop."""

import asyncio
import logging
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

import faiss
import uvloop
from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from protos.gnnrec.v1 import model_pb2, model_pb2_grpc, recommender_pb2, recommender_pb2_grpc
from registry import ModelStore
from server import snapshot
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


@dataclass(frozen=True)
class Ports:
    """Where a server answers."""

    grpc: int
    metrics: int


def serve(settings: Settings, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT, then drain; `ready` hears one line once requests are taken.

    Raises the registry's errors, UnservableVersion or CannotStart when there is nothing to serve
    or nowhere to serve it.
    """
    uvloop.run(_serve(settings, ready))


async def _serve(settings: Settings, ready: Callable[[str], None]) -> None:
    server = Server(settings)
    try:
        ports = await server.start()
        stopped = _on_signals()
        ready(
            f"serving {settings.model} {server.recommender.snapshot.version} "
            f"({settings.alias}) on {settings.host}:{ports.grpc}, "
            f"metrics on http://{settings.host}:{ports.metrics}/metrics"
        )
        await stopped.wait()
    finally:
        await server.stop()


class Server:
    """Every object of a running server."""

    def __init__(self, settings: Settings) -> None:
        """Build them; nothing is read or bound yet."""
        self.settings = settings
        self.metrics = Metrics()
        self.recommender = Recommender(settings.alias, self.metrics)
        # One thread searches and one loads: FAISS's own threads are pinned to as many.
        self.search = ThreadPoolExecutor(1, "search", initializer=_use_one_core)
        self.loader = ThreadPoolExecutor(1, "load", initializer=_use_one_core)
        self.rollout = Rollout(
            ModelStore(settings.registry, settings.model),
            settings.alias,
            self.recommender,
            self.metrics,
            self.loader,
            partial(
                snapshot.load,
                max_neighbours=settings.max_neighbours,
                require_gpu=settings.require_gpu,
            ),
            settings.poll_interval_s,
        )
        self.health = health.aio.HealthServicer()
        self.boundary = Boundary(self.metrics)
        self._stops = AsyncExitStack()

    async def start(self) -> Ports:
        """Load the first version, bind the ports, answer; what was begun is undone by stop."""
        settings = self.settings
        self._stops.callback(self.search.shutdown)
        self._stops.callback(self.loader.shutdown)
        self.rollout.store.layout.require()
        await self.rollout.start()
        server, port = self._build()
        metrics_port, stop_metrics = self.metrics.expose(settings.host, settings.metrics_port)
        self._stops.callback(stop_metrics)
        await server.start()
        self._stops.push_async_callback(self._drain, server)
        for service in ("", LIVENESS, *_SERVICES):
            await self.health.set(service, health_pb2.HealthCheckResponse.SERVING)
        following = asyncio.create_task(self.rollout.follow())
        self._stops.callback(following.cancel)
        return Ports(port, metrics_port)

    async def stop(self) -> None:
        """Drain and stop, in the reverse order of start."""
        await self._stops.aclose()

    def _build(self) -> tuple[aio.Server, int]:
        """Return the server, bound to its port."""
        settings = self.settings
        # A second server on the same port must fail, not share it.
        server = aio.server(interceptors=[self.boundary], options=[("grpc.so_reuseport", 0)])
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

    async def _drain(self, server: aio.Server) -> None:
        """Turn health red, let balancers notice, finish what is under way, stop."""
        _log.info("draining")
        await self.health.enter_graceful_shutdown()
        await asyncio.sleep(self.settings.drain_s)
        stopping = asyncio.create_task(server.stop(self.settings.grace_s))
        # A health Watch never ends of itself; once the requests are done, nothing is waited for.
        idle = asyncio.create_task(self.boundary.idle())
        await asyncio.wait([stopping, idle], return_when=asyncio.FIRST_COMPLETED)
        idle.cancel()
        await server.stop(None)
        await stopping
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
