"""Several processes on one port, as the command starts them."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from gnnrec import Client
from gnnrec_registry import ModelStore
from gnnrec_server.telemetry import worker_metrics
from gnnrec_server.telemetry.worker_metrics import SharedMetrics
from tests import made
from tests.server.scraping import key, parse, scraped_text
from tests.server.waiting import until

GNNREC = str(Path(sys.executable).parent / "gnnrec")
TOTAL = key("gnnrec_requests_total", rpc="TopK", version="v1", variant="lightgcn", code="OK")


def command(registry: Path, *options: str) -> list[str]:
    return [
        GNNREC, "serve", "--registry", str(registry), "--model", "toy", "--address", "127.0.0.1:0",
        "--metrics-port", "0", "--drain", "0", *options,
    ]  # fmt: skip


@contextmanager
def serving(registry: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str, int]]:
    """Yield the parent process, the address, and the port of the metrics."""
    with subprocess.Popen(
        command(registry, *options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"on (\S+:\d+), metrics on http://\S+:(\d+)/metrics", line)
            assert found is not None, process.stderr
            assert "workers" in line
            yield process, found[1], int(found[2])
        finally:
            process.terminate()
            process.wait(20)


def workers_of(parent: int) -> set[int]:
    """Return the processes that a parent has started to serve."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    serving = set()
    for child in children:
        with suppress(FileNotFoundError):  # it has just ended
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                serving.add(int(child))
    return serving


def ask(address: str, count: int) -> None:
    """Ask on so many connections."""
    for _ in range(count):
        with Client(address, timeout_s=10) as client:
            assert client.top_k("u0", k=3).version == "v1"


def test_workers_share_a_port_are_counted_together_and_replaced_and_end_together(
    registry: Path,
) -> None:
    with serving(registry, "--workers", "2", "--log-level", "error") as (parent, address, metrics):
        before = workers_of(parent.pid)
        assert len(before) == 2
        ask(address, 8)
        with ExitStack() as idle:
            for _ in range(300):
                idle.enter_context(socket.create_connection(("127.0.0.1", metrics), 10))
            assert parse(scraped_text(metrics))[TOTAL] == 8
            threads = len(os.listdir(f"/proc/{parent.pid}/task"))
            assert threads < 20, "idle connections to the metrics take no threads"

        os.kill(max(before), signal.SIGKILL)
        until(lambda: len(workers_of(parent.pid) - before) == 1, 20)
        ask(address, 2)
        assert parse(scraped_text(metrics))[TOTAL] == 10, "what the dead one counted is kept"

        taken = [*command(registry, "--workers", "2"), "--address", address]
        second = subprocess.run(taken, capture_output=True, text=True, timeout=60)
        assert second.returncode == 2
        assert f"address {address} cannot be used" in second.stderr.splitlines()[-1]

        parent.send_signal(signal.SIGTERM)
        assert parent.wait(20) == 0
        assert parent.stderr is not None
        assert "has ended with exit code -9" in parent.stderr.read()


def test_workers_that_cannot_start_end_in_one_line(tmp_path: Path) -> None:
    made.publish(tmp_path, version="v1")  # no alias names it
    run = subprocess.run(
        command(tmp_path, "--workers", "3"), capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 2
    assert "Traceback" not in run.stderr
    assert "production" in run.stderr.splitlines()[-1]
    cores = len(os.sched_getaffinity(0))
    assert (f"3 workers for {cores} cores" in run.stderr) == (cores < 3)


def test_workers_look_at_the_alias_when_the_parent_is_told_to(tmp_path: Path) -> None:
    made.publish(tmp_path, version="v1")
    aliases = ModelStore(tmp_path, "toy").aliases
    aliases.promote("v1", alias="production")
    with serving(tmp_path, "--workers", "2", "--poll-interval", "600") as (parent, address, _):
        before = workers_of(parent.pid)
        with Client(address, timeout_s=10) as client:
            made.publish(tmp_path, version="v2", seed=5)
            aliases.promote("v2", alias="production")
            parent.send_signal(signal.SIGHUP)
            until(lambda: client.top_k("u0").version == "v2")
        assert workers_of(parent.pid) == before


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and is not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process, 0 once it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_workers_whose_parent_is_killed_drain_and_end_and_leave_nothing(
    registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with serving(registry, "--workers", "2", "--drain", "4") as (parent, address, _):
        workers = workers_of(parent.pid)
        assert list(tmp_path.glob("gnnrec-*"))
        before = {pid: cpu_s(pid) for pid in workers}
        parent.kill()
        parent.wait(10)
        with Client(address, timeout_s=10) as client:
            assert client.top_k("u0", k=3).version == "v1", "they drain"
        used = dict(before)

        def have_ended() -> bool:
            used.update({pid: max(used[pid], cpu_s(pid)) for pid in workers})
            return not any(map(is_alive, workers))

        until(have_ended, 30)
        spent_s = sum(used[pid] - before[pid] for pid in workers)
        assert spent_s < 0.8, "they wait without turning in circles"
        assert not list(tmp_path.glob("gnnrec-*"))


def test_what_killed_servers_left_is_removed_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with SharedMetrics() as living:
        left = living.directory.with_name(living.directory.name + "-left")
        left.mkdir()
        (left / "counter_1.db").write_bytes(b"1")
        with SharedMetrics(), worker_metrics.held(living.directory):
            assert not left.exists()
        assert living.directory.is_dir(), "its parent holds it"
    assert not list(tmp_path.iterdir())
