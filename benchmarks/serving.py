"""Serving beside the floor of grpc.aio: python -m benchmarks.serving [--items N,N] ...

Publishes a version of random embeddings, starts `gnnrec serve` and an empty grpc.aio service that
answers with ready messages of the same size, loads both in turns with the same clients, and prints
a table and JSON. The ratios count, not the numbers: both sides meet the same machine at the same
time. Each row is measured ROUNDS times, floor and server in turns, and the median ratio is shown.
"""

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import grpc
import numpy as np

from benchmarks import worlds
from benchmarks.loading import Load, closed, h2load, open_loop
from benchmarks.measure import median_seconds, report
from gnnrec_protos.v1 import model_pb2, model_pb2_grpc
from gnnrec_protos.v1 import recommender_pb2 as pb
from gnnrec_registry import ModelStore

SERVICE = "/gnnrec.v1.RecommenderService/"
TOP_K, SCORE, BATCH = SERVICE + "TopK", SERVICE + "Score", SERVICE + "BatchTopK"
GNNREC = Path(sys.executable).parent / "gnnrec"
USERS = 20_000
ROUNDS = 3
LIST_ENTRIES = 100


@dataclass(frozen=True)
class Process:
    """A server under load."""

    port: int
    pid: int
    seconds_to_start: float


@contextmanager
def serving(registry: Path, *options: str, program: Sequence[str] = ()) -> Iterator[Process]:
    """Start gnnrec serve, or another program that takes its arguments."""
    began = time.perf_counter()
    command = [
        *(program or [str(GNNREC)]), "serve", "--registry", str(registry), "--model", worlds.MODEL,
        "--address", "127.0.0.1:0", "--metrics-port", "0", "--drain", "0",
        "--index", "auto", "--log-level", "error", *options,
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r" on \S+:(\d+),", process.stdout.readline())
            assert found is not None, "the server did not start"
            yield Process(int(found[1]), process.pid, time.perf_counter() - began)
        finally:
            process.terminate()
            process.wait(30)


@contextmanager
def floor(folder: Path, port: int, calls: dict[str, bytes]) -> Iterator[int]:
    """Start the empty service with the answers of the server at `port` to these calls."""
    arguments = []
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        for number, (method, message) in enumerate(calls.items()):
            path = folder / f"answer-{number}"
            call: Any = channel.unary_unary(method)
            path.write_bytes(call(message, timeout=30))
            arguments.append(f"{method}={path}")
    command = [sys.executable, "-m", "benchmarks.floor", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.terminate()
            process.wait(10)


def top_k(user: int) -> bytes:
    return pb.TopKRequest(user_id=f"user-{user}", k=20).SerializeToString()


def zipf(count: int) -> list[bytes]:
    """Return requests whose users follow a Zipf distribution: a few of them occur very often."""
    drawn = np.random.default_rng(0).zipf(1.3, 4 * count)
    return [top_k(int(user)) for user in drawn[drawn < USERS][:count]]


class Bench:
    """Measures the empty service (the floor) and the server in turns; collects rows of a report."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.rows: list[list[object]] = []

    def beside(
        self, name: str, bar: str, floor: int, server: int, method: str,
        messages: Sequence[bytes], in_flight: int,
    ) -> None:  # fmt: skip
        """Add a row: the answers per second of both, of the round with the median ratio."""
        ratios, pairs = [], []
        for _ in range(ROUNDS):
            pair = [
                self._load(port, method, messages, in_flight).per_second for port in (floor, server)
            ]
            pairs.append(pair)
            ratios.append(pair[1] / pair[0])
        middle = sorted(range(ROUNDS), key=ratios.__getitem__)[ROUNDS // 2]
        self.rows.append([name, *map(round, pairs[middle]), ratios[middle], bar])

    def delay(self, floor: int, server: int, messages: Sequence[bytes]) -> None:
        """Add a row: the median latency of both with one request at a time."""
        medians = [
            [closed(port, TOP_K, messages, 1, self.seconds / 2).p50_ms for port in (floor, server)]
            for _ in range(ROUNDS)
        ]
        least, ours = sorted(medians, key=lambda pair: pair[1] - pair[0])[ROUNDS // 2]
        self.rows.append(["p50 ms, one at a time", least, ours, ours - least, "floor + 0.6 ms"])

    def batches(self, registry: Path, server: int) -> None:
        """Add rows: BatchTopK of 256 users compared to FAISS alone and to single calls."""
        users = range(256)
        request = pb.BatchTopKRequest(
            requests=[pb.TopKRequest(user_id=f"user-{user}", k=20) for user in users]
        ).SerializeToString()
        version = ModelStore(registry, worlds.MODEL).open(worlds.VERSION)
        vectors, items = (np.ascontiguousarray(each) for each in version.embeddings(worlds.VARIANT))
        faiss.omp_set_num_threads(1)
        faiss.cvar.distance_compute_blas_threshold = 1
        bare, single, ours = [], [], []
        for _ in range(ROUNDS):
            bare.append(256 / median_seconds(lambda: faiss.knn(
                vectors[:256], items, 20, metric=faiss.METRIC_INNER_PRODUCT), 5))  # fmt: skip
            ours.append(256 * closed(server, BATCH, [request], 2, self.seconds).per_second)
            alone = [top_k(user) for user in users]
            single.append(closed(server, TOP_K, alone, 1, self.seconds / 2).per_second)
        for name, bar, base in (
            ("BatchTopK 256, users/s, to bare FAISS", ">= 0.9", bare),
            ("BatchTopK 256, users/s, to single calls", ">= 8", single),
        ):
            ratios = [mine / other for mine, other in zip(ours, base, strict=True)]
            row = [round(statistics.median(each)) for each in (base, ours)]
            self.rows.append([name, *row, statistics.median(ratios), bar])

    def _load(self, port: int, method: str, messages: Sequence[bytes], in_flight: int) -> Load:
        if len(messages) == 1:
            made = h2load(port, method, messages[0], in_flight, int(1500 * self.seconds))
            if made is not None:
                return made
        return closed(port, method, messages, in_flight, self.seconds)


def overload(bench: Bench, registry: Path, pending: int, front: str) -> None:
    """Add rows: latency and recovery at five times the sustainable load, with a --max-pending."""
    messages = [top_k(user) for user in range(2000)]
    options = "--front", front, "--max-pending", str(pending), "--answer-cache", "0"
    with serving(registry, *options) as server:
        carried = closed(server.port, TOP_K, messages, 48, bench.seconds).per_second
        phases = [(carried / 2, 5 * bench.seconds), (5 * carried, 20 * bench.seconds),
                  (carried / 2, 2.0), (carried / 2, bench.seconds)]  # fmt: skip
        half, five, _, after = open_loop(server.port, TOP_K, messages, phases)
    bench.rows.append(
        [
            f"p99 ms at 5x the load, --max-pending {pending} (floor: at half)",
            half.p99_ms,
            five.p99_ms,
            five.p99_ms / half.p99_ms,
            "<= 3",
        ]
    )
    bench.rows.append(
        [
            f"answers/s 2 s after 5x, --max-pending {pending} (floor: before)",
            round(half.per_second),
            round(after.per_second),
            after.per_second / half.per_second,
            ">= 1",
        ]
    )


def lists(items: int, width: int, seconds: float) -> None:
    """Measure what item lists cost: a server beside one of the same version without lists."""
    bench = Bench(seconds)
    varied = [top_k(user) for user in range(USERS)]
    batch = pb.BatchTopKRequest(
        requests=[pb.TopKRequest(user_id=f"user-{user}", k=20) for user in range(256)]
    ).SerializeToString()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:

        def start(entries: int) -> int:
            registry = Path(folder) / str(entries)
            worlds.publish(registry, items=items, users=USERS, width=width, lists=entries)
            return stack.enter_context(serving(registry, "--answer-cache", "0")).port

        ports = start(0), start(LIST_ENTRIES)
        bench.beside("TopK, 64 in flight, all users", "", *ports, TOP_K, varied, 64)
        bench.beside("BatchTopK 256, 2 in flight", "", *ports, BATCH, [batch, batch], 2)
        bench.delay(*ports, varied)
        bench.rows[-1][-1] = ""
    title = f"{items} x {width}, lists of {LIST_ENTRIES}"
    report(title, ["work", "without", "with lists", "ratio or difference", ""], bench.rows)


def size(bench: Bench, server: Process, items: int) -> None:
    """Add rows: the server's memory, the recall of its index, and its start time."""
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = model_pb2_grpc.ModelServiceStub(channel)
        (variant,) = stub.GetModel(model_pb2.GetModelRequest()).versions[0].variants
    raw = 4 * 64 * (items + USERS)
    lines = Path(f"/proc/{server.pid}/status").read_text().splitlines()
    for name in ("VmRSS", "RssAnon"):
        held = 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))
        bar = "<= 1.5" if name == "VmRSS" and items >= 1_000_000 else ""
        row = [f"{name} MiB (floor: raw embeddings)", raw / 2**20, held / 2**20, held / raw, bar]
        bench.rows.append(row)
    row = [f"index {variant.index}: recall@100", "", variant.index_recall, "", ">= 0.99"]
    bench.rows.append(row)
    bar = "<= 1.5 s" if items <= 41_000 else "<= 6 s flat, 20 s auto"
    bench.rows.append(["start to ready, s", "", server.seconds_to_start, "", bar])


def measure(items: int, seconds: float, only: set[str], front: str) -> None:
    """Measure one size of catalogue, by one front."""
    by = "--front", front
    bench = Bench(seconds)
    scored = pb.ScoreRequest(user_id="user-7", item_ids=[f"item-{n}" for n in range(0, 1000, 10)])
    calls = {TOP_K: top_k(7), SCORE: scored.SerializeToString()}
    varied = [top_k(user) for user in range(USERS)]
    bar = ">= 0.7" if items < 1_000_000 else ">= 0.5"
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        registry = Path(folder)
        worlds.publish(registry, items=items, users=USERS)
        server = stack.enter_context(serving(registry, *by, "--answer-cache", "0"))
        empty = stack.enter_context(floor(registry, server.port, calls))
        ports = empty, server.port
        bench.beside("TopK, 64 in flight, all users", bar, *ports, TOP_K, varied, 64)
        bench.beside("TopK, 8 in flight, all users", "", *ports, TOP_K, varied, 8)
        if "one" in only:
            bench.beside("TopK, 64 in flight, one user", bar, *ports, TOP_K, [top_k(7)], 64)
            bench.beside("Score of 100, 64 in flight", bar, *ports, SCORE, [calls[SCORE]], 64)
            bench.delay(*ports, varied)
            bench.batches(registry, server.port)
        if "cache" in only:
            cached = stack.enter_context(serving(registry, *by))
            name, hot = "TopK, 64 in flight, Zipf users, cache", zipf(4000)
            closed(cached.port, TOP_K, hot, 64, 4.0)  # fill the cache first
            bench.beside(name, ">= 0.9", empty, cached.port, TOP_K, hot, 64)
        if "workers" in only:
            two = stack.enter_context(
                serving(registry, *by, "--answer-cache", "0", "--workers", "2")
            )
            name = "two workers (floor: one worker)"
            bench.beside(name, ">= 1.7", server.port, two.port, TOP_K, varied, 64)
        size(bench, server, items)
        stack.close()
        if "overload" in only:
            for pending in (0, 80) if front == "grpcio" else (0,):
                overload(bench, registry, pending, front)
    report(
        f"serving {items} x 64, {front}", ["work", "floor", "server", "ratio", "bar"], bench.rows
    )


def main(items: str, seconds: float, only: str, fronts: str) -> None:
    if shutil.which("h2load") is None:
        print("h2load (Debian nghttp2-client) is not installed: our own client loads every row")
    for count in items.split(","):
        if only == "lists":
            for width in (64, 256):
                lists(int(count), width, seconds)
        else:
            for front in fronts.split(","):
                measure(int(count), seconds, set(only.split(",")), front)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", default="41000", help="sizes of catalogues, with commas")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--fronts", default="grpcio,native", help="what speaks HTTP/2")
    parser.add_argument(
        "--only", default="one,cache,workers,overload", help="groups of rows, or lists"
    )
    main(**vars(parser.parse_args()))
