"""Metrics of several worker processes, added up at one endpoint.

Each worker writes its values to files of its own in a directory that the parent makes; the parent
adds them up whenever it is scraped. With one process nothing of this is active.

Parent and workers hold a shared lock on the directory. The last of them to end removes it, and what
even the last could not remove, because it was killed, the next start does.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from prometheus_client import CollectorRegistry, ProcessCollector, multiprocess, values
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
_CPU = "process_cpu_seconds"
_PREFIX = "gnnrec-workers-"
# Not through a link: others may write to where temporary files are.
_FOLDER = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY | os.O_NOFOLLOW


def count_into(directory: Path) -> None:
    """Have every metric that this process makes from now on live in files of `directory`.

    prometheus_client knows one such directory in a process, and looks for it in this variable.
    """
    os.environ[_DIRECTORY] = str(directory)
    values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Keep the parent's directory from being removed while the block runs, in a worker."""
    lock = os.open(directory, _FOLDER)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield
    finally:
        os.close(lock)
        _remove_unless_held(directory)


def _make() -> tuple[Path, int]:
    """Make a directory and lock it; one removed by another process in between is made anew."""
    while True:
        directory = Path(tempfile.mkdtemp(prefix=_PREFIX))
        try:
            lock = os.open(directory, _FOLDER)
        except FileNotFoundError:
            continue
        fcntl.flock(lock, fcntl.LOCK_SH)
        if directory.is_dir():
            return directory, lock
        os.close(lock)


def _remove_unless_held(directory: Path) -> None:
    try:
        lock = os.open(directory, _FOLDER)
    except OSError:
        return  # gone, or of another user
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(directory, ignore_errors=True)
    except BlockingIOError:
        pass
    finally:
        os.close(lock)


class SharedMetrics:
    """The metrics of all worker processes, as the parent that starts them sees them.

    A worker builds `Metrics(shared=directory)`; the parent serves `registry`, with
    `collectors.expose(shared.registry, where)`, and calls `forget` for each that has ended.
    """

    def __init__(self) -> None:
        """Make the directory, and remove those that nobody holds any more."""
        for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
            _remove_unless_held(left)
        self.directory, self._lock = _make()
        self.registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(  # type: ignore[no-untyped-call]
            self.registry, str(self.directory)
        )
        self._processes = _Processes()
        self.registry.register(self._processes)

    def add(self, pid: int) -> None:
        """Take a worker's memory, CPU time and files into the process metrics."""
        self._processes.pids.add(pid)

    def forget(self, pid: int) -> None:
        """Drop the gauges of a worker that has ended; what it counted stays in the totals."""
        self._processes.pids.discard(pid)
        multiprocess.mark_process_dead(pid, str(self.directory))  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Remove the directory, or leave that to a worker that still holds it."""
        os.close(self._lock)
        _remove_unless_held(self.directory)

    def __enter__(self) -> "SharedMetrics":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Processes(Collector):
    """The process metrics of this process and its workers, added up."""

    def __init__(self) -> None:
        self.pids = {os.getpid()}
        self._cpu: dict[int, float] = {}

    def collect(self) -> Iterator[Metric]:
        samples: dict[str, list[float]] = {}
        documentation = {}
        for pid in sorted(self.pids):
            for family in _of(pid):
                documentation[family.name] = family.documentation
                value = family.samples[0].value
                if family.name == _CPU:
                    # Kept beyond the process's end, so that the sum never falls.
                    self._cpu[pid] = value
                else:
                    samples.setdefault(family.name, []).append(value)
        for name, found in samples.items():
            joined = min if name == "process_start_time_seconds" else sum
            yield GaugeMetricFamily(name, documentation[name], joined(found))
        if self._cpu:
            total = sum(self._cpu.values())
            yield CounterMetricFamily(_CPU, documentation.get(_CPU, "CPU time."), total)


def _of(pid: int) -> Iterable[Metric]:
    return ProcessCollector(pid=lambda: pid, registry=None).collect()
