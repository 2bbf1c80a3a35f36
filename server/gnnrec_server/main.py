"""The composition root: builds every object, and owns the order of start and stop."""

import asyncio
import logging
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import uvloop
from grpc import aio
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health import SERVICE_NAME as HEALTH
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from gnnrec_protos.v1 import model_pb2, model_pb2_grpc, recommender_pb2, recommender_pb2_grpc
from gnnrec_registry import ModelStore, RegistryError
from gnnrec_server import workers
from gnnrec_server.errors import CannotStart, ServingError
from gnnrec_server.front import grpcio
from gnnrec_server.front.choice import Wanted, choose
from gnnrec_server.front.grpcio import GuardedServer
from gnnrec_server.front.native import NativeServer
from gnnrec_server.load.admission import Admission
from gnnrec_server.load.answer_cache import AnswerCache
from gnnrec_server.load.batches import Batches
from gnnrec_server.load.lanes import Lanes, Replies
from gnnrec_server.load.search_thread import SearchThread
from gnnrec_server.load.unread import UnreadAnswers
from gnnrec_server.load.waiting import WaitingRule
from gnnrec_server.process import compute_threads, memory, threads
from gnnrec_server.process.address import Tcp, UnixSocket, is_loopback
from gnnrec_server.process.background import keep_running
from gnnrec_server.process.files import WatchedFiles
from gnnrec_server.process.threads import OneThread
from gnnrec_server.query.recommender import Recommender
from gnnrec_server.rollout import file_events
from gnnrec_server.rollout.catalogue import Catalogue
from gnnrec_server.rollout.follow import Rollout
from gnnrec_server.rollout.registry_view import FollowedAliases
from gnnrec_server.rpc import replies, tls, tokens
from gnnrec_server.rpc.gateway import CallLimits, Gateway
from gnnrec_server.rpc.health import Health
from gnnrec_server.rpc.model_service import ModelService
from gnnrec_server.rpc.recommender_service import RecommenderService, write_entry
from gnnrec_server.rpc.together import Together
from gnnrec_server.settings import Settings
from gnnrec_server.telemetry import logs, tracing, worker_metrics
from gnnrec_server.telemetry.metrics import Metrics
from gnnrec_server.trials.counters import TrialCounters
from gnnrec_server.trials.fault import FaultFinder
from gnnrec_server.trials.guard import TrialGuard
from gnnrec_server.trials.observer import Observer
from gnnrec_server.trials.shadow import Shadow
from gnnrec_server.trials.trials import Trials
from gnnrec_server.version import loader

_log = logging.getLogger("gnnrec.server")

_SERVICES = (
    recommender_pb2.DESCRIPTOR.services_by_name["RecommenderService"].full_name,
    model_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name,
)
# Those of ModelService wait for the disk; nobody needs many at a time.
_MODEL_CALLS = 64
_BEYOND_GRACE_S = 2.0

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
    if settings.workers > 1:
        workers.supervise(settings, _work, ready)
    else:
        uvloop.run(_serve(settings, ready))


def _work(settings: Settings, shared: Path, pipe: Connection) -> None:
    """Serve as one of several worker processes until a signal, or until the parent has ended.

    Metrics are counted into files of the folder `shared`; `pipe` leads to the parent.
    """
    logs.configure(*settings.log)

    def tell(kind: str, text: str) -> None:
        with suppress(ConnectionError):  # the parent is gone, which ends this process
            pipe.send((kind, text))

    with worker_metrics.held(shared):
        try:
            uvloop.run(_serve(settings, partial(tell, "ready"), shared, pipe))
        except (ServingError, RegistryError) as error:
            tell("failed", str(error))
    threads.end_process(0)


async def _serve(
    settings: Settings,
    ready: Callable[[str], None],
    shared: Path | None = None,
    pipe: Connection | None = None,
) -> None:
    stopped = _on_end(pipe)
    # The thread that searches comes to its turn soon, however busy the one that talks is.
    sys.setswitchinterval(0.0005)
    memory.keep_tidy()
    compute_threads.limit()
    server = Server(settings, shared)
    look = partial(server.rollout.wake, retry_all=True)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, look)
    starting = asyncio.create_task(server.start())
    stopping = asyncio.create_task(stopped.wait())
    try:
        await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            _log.info("told to stop before anything was served")
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            return
        ports = starting.result()
        line = (
            f"serving {settings.model} {server.recommender.snapshot.version} "
            f"({settings.alias}) on {settings.grpc_at.at(ports.grpc)}, "
            f"metrics on http://{settings.metrics_at.at(ports.metrics)}/metrics"
        )
        if settings.health_at is not None and server.health_port is not None:
            line += f", health on {settings.health_at.at(server.health_port)}"
        ready(line)
        await stopping
    finally:
        await server.stop()


class Server:
    """Every object of a running server."""

    def __init__(self, settings: Settings, shared: Path | None = None) -> None:
        """Build them; nothing is read or bound yet.

        shared: the folder of metrics that one of several workers counts into
        """
        self.settings = settings
        self._is_worker = shared is not None
        self.metrics = Metrics(shared)
        self.recommender = Recommender(settings.alias, self.metrics)
        self.waiting, self.long_waiting = (WaitingRule(settings.max_queue_s) for _ in range(2))
        self.search, self.long_search = self._search_threads()
        # Beside the threads that search, each of these is alone with what may take long or hang:
        # loading versions, reading the registry for ModelService, writing it for the guard,
        # computing again what a trial's side has failed in, and looking at certificates and tokens.
        self.loader = OneThread("load", compute_threads.limit)
        self.reader = OneThread("read")
        self.writer = OneThread("guard")
        self.recomputer = OneThread("blame", compute_threads.limit)
        self._watcher = OneThread("files")
        self.trials = Trials(self.metrics.trials, TrialCounters(shared and shared / "trials"))
        self.rollout = self._rollout()
        self.guard = TrialGuard(
            self.rollout.store,
            self.trials,
            self.metrics.trials,
            self.writer,
            self.rollout.wake,
            settings.poll_interval_s,
        )
        self.shadow = Shadow(
            self.recommender, self.metrics.trials, initializer=compute_threads.limit
        )
        self.faults = FaultFinder(self.recommender, self.trials, self.recomputer)
        self.health = Health(settings.unread_timeout_s)
        self.unread = UnreadAnswers(settings.max_unread_bytes, settings.unread_timeout_s)
        self.tokens = self._tokens()
        self.certificates = tls.watch(settings.tls)
        self.tracing = tracing.from_environment(os.environ)
        self.gateway = Gateway(
            self.metrics,
            self._call_limits(),
            self.recommender,
            AnswerCache(settings.cache_bytes, self.recommender, self.metrics),
            Observer(self.recommender, self.trials, self.shadow, self.faults),
            self.tokens,
            self.tracing,
        )
        self.health_port: int | None = None
        """Where health answers alone, once it does."""
        self._stops = AsyncExitStack()

    def _search_threads(self) -> tuple[SearchThread, SearchThread]:
        """Return one thread that searches and one for the searches that take long.

        FAISS's own threads are pinned to as many, so each of these computes on one core.
        """
        on_wait = self.metrics.stages["queue"].observe
        return (
            SearchThread(self.waiting, initializer=compute_threads.limit, on_wait=on_wait),
            SearchThread(
                self.long_waiting,
                initializer=compute_threads.limit,
                on_wait=on_wait,
                together=False,
                name="long-search",
            ),
        )

    def _rollout(self) -> Rollout:
        settings = self.settings
        return Rollout(
            ModelStore(settings.registry, settings.model),
            FollowedAliases(settings.alias, settings.served_aliases, settings.keep),
            self.recommender,
            self.metrics,
            self.trials,
            self.loader,
            partial(
                loader.load,
                max_neighbours=settings.max_neighbours,
                index=settings.index,
                require_gpu=settings.require_gpu,
            ),
            settings.poll_interval_s,
            settings.load_timeout_s,
        )

    def _tokens(self) -> WatchedFiles[Mapping[bytes, str]] | None:
        settings = self.settings
        if settings.tokens_file and settings.tls is None and not is_loopback(settings.host):
            _log.warning(
                "tokens go over the network in the clear: give --tls-cert and --tls-key, "
                "or let a proxy end TLS"
            )
        return tokens.watch(settings.tokens_file)

    def _call_limits(self) -> CallLimits:
        settings = self.settings
        most = {_SERVICES[0]: settings.max_concurrent, _SERVICES[1]: _MODEL_CALLS}
        return CallLimits(
            {name: Admission(count, self.waiting, self.unread) for name, count in most.items()},
            Admission(math.inf, self.waiting, self.unread),
            self.long_waiting,
            self.unread,
            settings.max_streams,
            settings.max_message_bytes,
            settings.limits,
        )

    async def start(self) -> Ports:
        """Load the first version, bind the ports, answer; what was begun is undone by stop."""
        settings = self.settings
        grpc_at = settings.grpc_at  # which may be none: that is said before anything is loaded
        if self.tracing is not None:
            self._stops.push_async_callback(asyncio.to_thread, self.tracing.close)
        self._stops.callback(self.search.shutdown)
        self._stops.callback(self.long_search.shutdown)
        self._stops.callback(self.writer.shutdown)
        for thread in (self.reader, self._watcher, self.recomputer):
            self._stops.callback(thread.shutdown, wait=False)
        self._stops.callback(self.rollout.close)
        self._stops.callback(self.shadow.close)
        for file in (recommender_pb2, model_pb2):
            for described in file.DESCRIPTOR.services_by_name.values():
                self.metrics.announce(described.full_name, described.methods_by_name)
        run = asyncio.get_running_loop().run_in_executor
        await run(self.reader, self.rollout.store.layout.require)
        share = max(1, compute_threads.available_cores() // settings.workers)
        await run(self.loader, compute_threads.limit, share)  # nobody is served yet
        await self.rollout.start()
        self.loader.submit(compute_threads.limit, 1)  # once what is being loaded, if anything, is
        server, port = self._build(grpc_at)
        metrics_port = settings.metrics_port
        if not self._is_worker:  # else the parent tells of all
            metrics_port, stop_metrics = self.metrics.expose(settings.metrics_at)
            self._stops.callback(stop_metrics)
        await self._start_health()
        await server.start()
        self._stops.push_async_callback(self._drain, server)
        for service in ("", LIVENESS, *_SERVICES):
            self.health.set(service, is_serving=True)
        tasks: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "following the aliases": self.rollout.follow,
            "guarding the trials": self.guard.watch,
            "watching certificates and tokens": self._watch_files,
            "ending silent connections": self.unread.watch,
        }
        layout = self.rollout.store.layout
        if not layout.is_remote:  # a store has no file events
            tasks["watching the alias files"] = partial(
                file_events.watch, layout.aliases, self.rollout.wake
            )
        for name, work in tasks.items():
            self.metrics.announce_background(name)
            running = keep_running(name, work, self.metrics.count_background_failure)
            self._stops.callback(asyncio.create_task(running).cancel)
        return Ports(port, metrics_port)

    async def stop(self) -> None:
        """Drain and stop, in the reverse order of start."""
        await self._stops.aclose()

    def _build(self, where: Tcp | UnixSocket) -> tuple[aio.Server | NativeServer, int]:
        """Return the server, bound to its address, and its port."""
        settings = self.settings
        replied = Replies(replies.top_k_reply, replies.score_reply)
        lanes = Lanes(self.search, self.long_search, self.recommender, replied, self.metrics)
        choice = choose(
            Wanted(
                settings.front,
                settings.host,
                settings.tls is not None,
                settings.max_connection_age_s,
                settings.max_pending,
            )
        )
        _log.info("gRPC by %s: %s", choice.front, choice.why)
        self.metrics.show_front(choice.front)
        server: aio.Server | NativeServer
        guarded: Any
        if choice.front == "native":
            server = guarded = NativeServer(
                self.gateway,
                Together(self.recommender, lanes, settings.limits),
                max_message_bytes=settings.max_message_bytes,
                shares_port=settings.workers > 1,
            )
        else:
            server = aio.server(options=self._options(settings.max_pending))
            guarded = GuardedServer(server, self.gateway)
        recommender_pb2_grpc.add_RecommenderServiceServicer_to_server(
            # answers with bytes where the generated class speaks of messages
            cast(Any, self._recommender_service(lanes)),
            guarded,
        )
        model_pb2_grpc.add_ModelServiceServicer_to_server(
            ModelService(Catalogue(self.recommender, self.rollout, self.trials), self.reader),
            guarded,
        )
        health_pb2_grpc.add_HealthServicer_to_server(cast(Any, self.health), guarded)
        if settings.reflection:
            names = (*_SERVICES, HEALTH, reflection.SERVICE_NAME)
            reflection_pb2_grpc.add_ServerReflectionServicer_to_server(
                reflection.aio.ReflectionServicer(names), guarded
            )
        return server, self._bind(server, where, "address")

    def _recommender_service(self, lanes: Lanes) -> RecommenderService:
        batches = Batches(lanes, self.recommender, write_entry, self.metrics)
        settings = self.settings
        return RecommenderService(lanes, batches, settings.limits, settings.max_message_bytes)

    def _options(self, max_pending: int) -> list[tuple[str, int]]:
        settings = self.settings
        return grpcio.options(
            max_message_bytes=settings.max_message_bytes,
            max_pending=max_pending,
            max_connection_age_s=settings.max_connection_age_s,
            max_connection_age_grace_s=settings.max_connection_age_grace_s,
            shares_port=settings.workers > 1,
        )

    async def _start_health(self) -> None:
        """Answer for health on a port of its own as well, if there is to be one.

        gRPC refuses whatever comes to a port with too many calls pending, health checks too.
        """
        settings = self.settings
        if settings.health_at is None:
            return
        server = aio.server(options=self._options(max_pending=0))
        guarded: Any = GuardedServer(server, self.gateway)
        health_pb2_grpc.add_HealthServicer_to_server(cast(Any, self.health), guarded)
        self.health_port = self._bind(server, settings.health_at, "health-port")
        await server.start()
        self._stops.push_async_callback(self._end, server, 0.0)

    def _bind(self, server: aio.Server | NativeServer, where: Tcp | UnixSocket, option: str) -> int:
        """Bind a server to an address and return the port; raises CannotStart."""
        if isinstance(where, UnixSocket):
            where.make_way()
        try:
            if self.certificates is None or isinstance(server, NativeServer):
                port = server.add_insecure_port(where.target)
            else:
                credentials = grpcio.credentials(self.certificates)
                port = server.add_secure_port(where.target, credentials)
        except RuntimeError:
            raise CannotStart(
                f"address {where} cannot be used: {where.problem()}; choose another with --{option}"
            ) from None
        if isinstance(where, UnixSocket):
            self._stops.callback(where.remover())
        return port

    async def _watch_files(self) -> None:
        """Follow the changes of certificates and tokens, for ever."""
        watched = [files for files in (self.tokens, self.certificates) if files is not None]
        while watched:
            await asyncio.sleep(self.settings.poll_interval_s)
            for files in watched:
                await asyncio.get_running_loop().run_in_executor(self._watcher, files.look)

    async def _drain(self, server: aio.Server | NativeServer) -> None:
        """Turn health red, let balancers notice, finish what is under way, stop."""
        _log.info("draining")
        self.health.end()
        await asyncio.sleep(self.settings.drain_s)
        await self._end(server, self.settings.grace_s)
        _log.info("stopped")

    async def _end(self, server: aio.Server | NativeServer, grace_s: float) -> None:
        """Stop a server, whatever the other ends of its connections do."""
        stopping = asyncio.create_task(server.stop(grace_s))
        end = time.monotonic() + grace_s + _BEYOND_GRACE_S
        while not stopping.done():  # a stream may yet be opened by a call that was under way
            if time.monotonic() > end:
                _log.error("calls that did not end in time are left behind")
                stopping.cancel()
                return
            self.gateway.end_streams()
            await asyncio.wait([stopping], timeout=0.1)


def _on_end(pipe: Connection | None) -> asyncio.Event:
    """Return an event that is set by SIGTERM, SIGINT and, of a worker, the end of its parent."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    if pipe is not None:  # it ends when the parent does
        parent = pipe.fileno()

        def on_parent_gone() -> None:
            loop.remove_reader(parent)  # what has ended can be read from without end
            stopped.set()

        loop.add_reader(parent, on_parent_gone)
    return stopped
