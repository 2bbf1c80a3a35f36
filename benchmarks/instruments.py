"""The cost of metrics, limits and request ids in serving: python -m benchmarks.instruments.

Starts `gnnrec serve` twice, the second time with metrics, limits, request ids and deadlines
replaced by empty functions, and loads both in turns. It prints the answers per second and the
processor time of an answer, which other work on the machine disturbs less.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks import worlds
from benchmarks.loading import closed
from benchmarks.measure import report
from benchmarks.serving import TOP_K, USERS, Process, serving, top_k, zipf
from gnnrec.cli import main as gnnrec
from gnnrec_server.load import admission, waiting
from gnnrec_server.rpc import calls
from gnnrec_server.telemetry import metrics

ROUNDS = 15


def remove_instruments() -> None:
    """Replace metrics, limits, request ids and deadlines by functions that do nothing."""

    def nothing(*arguments: Any, **named: Any) -> None:
        pass

    for home, names in {
        metrics.Calls: ("start", "finish"),
        metrics.Metrics: ("count", "count_answers", "count_unknown", "reject"),
        admission.Admission: ("enter", "leave"),
        waiting.WaitingRule: ("check_coming", "check_waited", "learn"),
        calls: ("set_request_id", "set_deadline"),
    }.items():
        for name in names:
            assert hasattr(home, name), f"{home} has no {name}"
            setattr(home, name, nothing)
    made = metrics.Metrics._make_query_metrics
    timer = SimpleNamespace(time=nullcontext, observe=nothing, inc=nothing)

    def make(self: metrics.Metrics) -> None:
        made(self)
        self.stages = dict.fromkeys(self.stages, timer)  # type: ignore[arg-type]

    metrics.Metrics._make_query_metrics = make  # type: ignore[method-assign]


def processor_seconds(pid: int) -> float:
    """Return the processor time of all threads of a process."""
    return sum(
        int((task / "schedstat").read_text().split()[0]) / 1e9
        for task in Path(f"/proc/{pid}/task").iterdir()
    )


def measure(server: Process, messages: Sequence[bytes], seconds: float) -> tuple[float, float]:
    """Return the answers per second, and the microseconds of processor time of an answer."""
    before = processor_seconds(server.pid)
    load = closed(server.port, TOP_K, messages, 64, seconds)
    return load.per_second, 1e6 * (processor_seconds(server.pid) - before) / load.answered


def compare(name: str, with_all: Process, bare: Process, messages: Sequence[bytes]) -> list[object]:
    """Return a row: the medians of both servers, and of the ratios of consecutive measurements."""
    for server in (with_all, bare):
        measure(server, messages, 1.0)
    pairs = [[measure(server, messages, 0.8) for server in (with_all, bare)] for _ in range(ROUNDS)]
    rates = [[side[0] for side in pair] for pair in pairs]
    costs = [[side[1] for side in pair] for pair in pairs]
    return [
        name,
        *(round(statistics.median(side)) for side in zip(*rates, strict=True)),
        statistics.median(on / off for on, off in rates),
        *(round(statistics.median(side)) for side in zip(*costs, strict=True)),
        statistics.median(on / off for on, off in costs),
    ]


def main() -> None:
    program = [sys.executable, "-m", "benchmarks.instruments", "--bare"]
    with tempfile.TemporaryDirectory() as folder:
        worlds.publish(Path(folder), items=41_000, users=USERS)
        everybody, hot = [top_k(user) for user in range(USERS)], zipf(4000)
        rows = []
        for name, messages, options in (
            ("all users, no cache", everybody, ["--answer-cache", "0"]),
            ("Zipf users, cache", hot, []),
        ):
            with (
                serving(Path(folder), *options) as with_all,
                serving(Path(folder), *options, program=program) as bare,
            ):
                rows.append(compare(name, with_all, bare, messages))
    header = ["64 in flight", "on, /s", "off, /s", "on/off", "on, us", "off, us", "us on/off"]
    report("metrics, limits, ids and deadlines", header, rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--bare"]:
        remove_instruments()
        sys.argv[1:2] = []
        gnnrec()
    else:
        argparse.ArgumentParser(description=__doc__).parse_args()
        main()
