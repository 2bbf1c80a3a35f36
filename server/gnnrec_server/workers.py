"""Several processes that answer on one port: the parent starts them, watches them and ends them.

Each worker is a whole server, in a process of its own that is started before there is any gRPC in
it. They share the port by SO_REUSEPORT, and the pages of the version's mapped files.
"""

import logging
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from gnnrec_server.errors import CannotStart
from gnnrec_server.process import compute_threads
from gnnrec_server.process.address import Tcp, UnixSocket
from gnnrec_server.settings import Settings
from gnnrec_server.telemetry import collectors
from gnnrec_server.telemetry.worker_metrics import SharedMetrics

_log = logging.getLogger("gnnrec.server")

_RESTART_S = 1.0
_MOST_FAILED_STARTS = 5
_BEYOND_GRACE_S = 10.0

Run = Callable[[Settings, Path, Connection], None]
"""What a worker process runs: a server that counts into a folder, and ends when the pipe closes.

It sends ("ready", line), or ("failed", why) where it cannot start.
"""


@dataclass
class _Worker:
    process: Any
    pipe: Connection
    ready: bool = False


def supervise(settings: Settings, run: Run, ready: Callable[[str], None]) -> None:
    """Serve with `settings.workers` processes until SIGTERM or SIGINT, then have them drain.

    A worker that dies is started again. Raises CannotStart when they cannot start.
    """
    there = compute_threads.available_cores()
    if settings.workers > there:
        _log.warning("%d workers for %d cores: they will take turns", settings.workers, there)
    where = settings.grpc_at
    if isinstance(where, UnixSocket):
        raise CannotStart(
            f"address {where} cannot be used: {settings.workers} workers cannot share a socket; "
            "give --workers 1, or HOST:PORT as --address"
        )
    with ExitStack() as stack:
        signals = stack.enter_context(_signals())
        port = stack.enter_context(_reserved(where))
        shared = stack.enter_context(SharedMetrics())
        metrics_port, stop_metrics = collectors.expose(shared.registry, settings.metrics_at)
        stack.callback(stop_metrics)
        for_worker = replace(settings, address=str(where.at(port)), metrics_port=metrics_port)
        parent = _Parent(for_worker, run, shared, signals)
        stack.callback(parent.end)
        parent.start()
        if not parent.stopped:
            ready(f"{parent.line}, {settings.workers} workers")
        parent.watch()


class _Parent:
    """The workers, and what has become of them."""

    def __init__(
        self, settings: Settings, run: Run, shared: SharedMetrics, signals: Connection
    ) -> None:
        self._settings = settings
        self._run = run
        self._shared = shared
        self._signals = signals
        self._workers: dict[int, _Worker] = {}
        self._failed = 0
        self.stopped = False
        self.line = ""

    def start(self) -> None:
        """Start all and return once all are ready, or are to stop."""
        for _ in range(self._settings.workers):
            self._start_one()
        while not self.stopped and not all(worker.ready for worker in self._workers.values()):
            for worker, ended in self._look(None):
                if ended and not worker.ready:
                    raise CannotStart(
                        f"a worker ended while it started, with exit code {worker.process.exitcode}"
                    )

    def watch(self) -> None:
        """Start a new worker for each that ends, until a signal says stop."""
        while not self.stopped:
            for worker, ended in self._look(None):
                if not ended:
                    continue
                code = worker.process.exitcode
                _log.error("worker %d has ended with exit code %s", worker.process.pid, code)
                self._failed = 0 if worker.ready else self._failed + 1
                if self._failed >= _MOST_FAILED_STARTS:
                    raise CannotStart(f"workers ended {self._failed} times while they started")
                if wait([self._signals], _RESTART_S):
                    self._hear()
                if not self.stopped:
                    self._start_one()

    def end(self) -> None:
        """Have all drain, and wait; who does not end in time is killed."""
        settings = self._settings
        for worker in self._workers.values():
            worker.process.terminate()
        end = time.monotonic() + settings.drain_s + settings.grace_s + _BEYOND_GRACE_S
        for worker in self._workers.values():
            worker.process.join(max(0.0, end - time.monotonic()))
            if worker.process.is_alive():
                _log.error("worker %d did not end in time and is killed", worker.process.pid)
                worker.process.kill()
                worker.process.join()
            worker.pipe.close()
        self._workers.clear()

    def _hear(self) -> None:
        """Pass SIGHUP on to those who can take it; stop at any other signal."""
        if self._signals.recv() != signal.SIGHUP:
            self.stopped = True
            return
        for pid, worker in self._workers.items():
            if worker.ready:
                os.kill(pid, signal.SIGHUP)

    def _start_one(self) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would take locks along
        pipe, theirs = context.Pipe()
        process = context.Process(
            target=self._run, args=(self._settings, self._shared.directory, theirs)
        )
        process.start()
        theirs.close()
        assert process.pid is not None
        self._workers[process.pid] = _Worker(process, pipe)
        self._shared.add(process.pid)

    def _look(self, limit_s: float | None) -> list[tuple[_Worker, bool]]:
        """Wait until workers send something or end; return them, and whether each has ended."""
        signals = self._signals
        awaited: list[Any] = [signals]
        awaited += [worker.pipe for worker in self._workers.values()]
        heard = wait(awaited, limit_s)
        if signals in heard:
            self._hear()
            return []
        news = []
        for pid, worker in list(self._workers.items()):
            if worker.pipe not in heard:
                continue
            try:
                kind, text = worker.pipe.recv()
            except (EOFError, ConnectionError):
                worker.process.join()
                worker.pipe.close()
                del self._workers[pid]
                self._shared.forget(pid)
                news.append((worker, True))
                continue
            if kind == "failed" and not self.line:
                raise CannotStart(text)
            if kind == "failed":
                _log.error("a worker cannot start: %s", text)
                continue
            worker.ready, self.line = True, text
            news.append((worker, False))
        return news


@contextmanager
def _reserved(where: Tcp) -> Iterator[int]:
    """Hold the port, without listening, for those who are to share it; raises CannotStart."""
    with ExitStack() as stack:
        try:
            family, address = where.resolved()
            alone, held = (
                stack.enter_context(socket.socket(family, socket.SOCK_STREAM)) for _ in range(2)
            )
            alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            alone.bind(address)  # fails where anybody is there, sharing or not
            address = alone.getsockname()
            alone.close()
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            held.bind(address)
        except OSError as error:
            raise CannotStart(
                f"address {where} cannot be used: {error.strerror}; choose another with --address"
            ) from None
        yield int(address[1])


@contextmanager
def _signals() -> Iterator[Connection]:
    """Return a pipe from which the numbers of SIGTERM, SIGINT and SIGHUP can be read."""
    received, sender = multiprocessing.Pipe(duplex=False)

    def on_signal(number: int, frame: object) -> None:
        sender.send(number)

    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        received.close()
        sender.close()
