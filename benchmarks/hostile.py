"""The latency of an honest caller beside abusers, who send huge requests or never read answers.

A server of 41,000 items of width 64 answers one honest caller, first alone and then during some
seconds of each kind of abuse. Reported are the honest caller's p99 as a multiple of that without
abuse (at most 3), the refused and failed calls, and the growth of the server's memory over the
whole run (at most 5%).

    python -m benchmarks.hostile [SECONDS]
"""

import asyncio
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from grpc import aio

from benchmarks.measure import report, resident_bytes
from gnnrec_protos.v1 import recommender_pb2 as pb
from gnnrec_registry import ItemAttribute, ModelStore
from tests import made
from tests.server.http2 import RawClient

GNNREC = Path(sys.executable).parent / "gnnrec"
USERS, ITEMS, WIDTH = 2000, 41_000, 64
SERVICE = "/gnnrec.v1.RecommenderService"
BROKEN = {"INTERNAL", "UNKNOWN"}
# How long each abuser waits after an answer, for it shares the processors with the server.
PAUSE_S = 0.005
ABUSERS = 4

Ask = Callable[[str, bytes], Awaitable[str]]


def publish(root: Path) -> None:
    users = made.embeddings(USERS, WIDTH)
    users[7] = 0
    items = made.embeddings(ITEMS, WIDTH, 1)
    level = [["beginner", "intermediate", "advanced"][row % 3] for row in range(ITEMS)]
    seen = [np.random.default_rng(row).choice(ITEMS, 20, False).tolist() for row in range(USERS)]
    store = ModelStore(root, "toy")
    store.publish(
        made.export(users, items, seen, attributes=[ItemAttribute("level", "text", level)]),
        version="v1",
    )
    store.aliases.promote("v1", alias="production")


def filters() -> bytes:
    texts = pb.TextList(values=["beginner"] * 10_000)
    each = pb.AttributeFilter(field="level", any_of=texts)
    return pb.TopKRequest(user_id="u0", k=5, filters=[each] * 32).SerializeToString()


def many_filters() -> bytes:
    texts = [f"text-{number}" for number in range(9999)] + ["beginner"]
    each = pb.AttributeFilter(field="level", any_of=pb.TextList(values=texts))
    entry = pb.TopKRequest(user_id="u0", k=5, filters=[each] * 8)
    return pb.BatchTopKRequest(requests=[entry] * 2).SerializeToString()


def zeros() -> bytes:
    vector = pb.Embedding(values=[0.0] * WIDTH)
    return pb.TopKRequest(embedding=vector, k=1000, exclude_item_ids=["i1"]).SerializeToString()


def batch() -> bytes:
    entries = [pb.TopKRequest(user_id=f"u{row}", k=1000) for row in range(256)]
    return pb.BatchTopKRequest(requests=entries).SerializeToString()


def lists() -> bytes:
    items = [f"i{row}" for row in random.Random(0).sample(range(ITEMS), 10_000)]
    entries = [
        pb.TopKRequest(user_id=f"u{row}", k=100, exclude_item_ids=items) for row in range(20)
    ]
    return pb.BatchTopKRequest(requests=entries).SerializeToString()


def long_name() -> bytes:
    return pb.TopKRequest(user_id="u0", k=5, variant="é" * 10_000).SerializeToString()


def calls(path: str, message: bytes) -> Callable[[Ask], Awaitable[object]]:
    async def abuse(ask: Ask) -> object:
        return await ask(path, message)

    return abuse


CALLS = {
    "32 filters of one text 10,000 times": calls(f"{SERVICE}/TopK", filters()),
    "filters of 10,000 texts": calls(f"{SERVICE}/BatchTopK", many_filters()),
    "zero vectors, k of 1000": calls(f"{SERVICE}/TopK", zeros()),
    "batches of 256, k of 1000": calls(f"{SERVICE}/BatchTopK", batch()),
    "10,000 exclusions, 20 in a batch": calls(f"{SERVICE}/BatchTopK", lists()),
    "ListVersions": calls("/gnnrec.v1.ModelService/ListVersions", b""),
    "a variant of 20 kB": calls(f"{SERVICE}/TopK", long_name()),
    "Health/List": calls("/grpc.health.v1.Health/List", b""),
    "methods that are not there": calls("/grpc.health.v1.Health/Nothing", b""),
}
UNREAD = {
    "watchers that do not read": ("/grpc.health.v1.Health/Watch", b"", 200),
    "batches that nobody reads": (f"{SERVICE}/BatchTopK", batch(), 40),
}


async def honest(address: str, until: Callable[[], bool]) -> tuple[list[float], Counter[str]]:
    """Call TopK again and again; return the seconds of each answered call, and the status codes."""
    took: list[float] = []
    codes: Counter[str] = Counter()
    async with aio.insecure_channel(address) as channel:
        call: Any = channel.unary_unary(f"{SERVICE}/TopK")
        number = 0
        while not until():
            number += 1
            request = pb.TopKRequest(user_id=f"u{8 + number % (USERS - 8)}", k=10 + number % 7)
            began = time.perf_counter()
            try:
                await call(request.SerializeToString(), timeout=30)
                took.append(time.perf_counter() - began)
                codes["OK"] += 1
            except aio.AioRpcError as error:
                codes[error.code().name] += 1
            await asyncio.sleep(0.002)
    return took, codes


def with_abusers(
    address: str, seconds: float, name: str = ""
) -> tuple[list[float], Counter[str], Counter[str]]:
    """Return the honest caller's times and status codes during an abuse, and the abusers' codes.

    The abusers run in another process, so that they do not delay the honest caller themselves.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as processes:
        if name:  # wait until the process has started, which takes two seconds
            processes.submit(abused, address, 0.0, name).result()
        end = time.time() + seconds
        theirs = processes.submit(abused, address, end, name) if name else None
        took, codes = asyncio.run(honest(address, lambda: time.time() > end))
        return took, codes, theirs.result() if theirs is not None else Counter()


def abused(address: str, end: float, name: str) -> Counter[str]:
    os.nice(19 - os.nice(0))  # real abusers would not use the processors of the server
    return asyncio.run(_abused(address, end, CALLS[name]))


async def _abused(
    address: str, end: float, abuse: Callable[[Ask], Awaitable[object]]
) -> Counter[str]:
    theirs: Counter[str] = Counter()

    async def abuser() -> None:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
        async with aio.insecure_channel(address, options=options) as channel:

            async def ask(path: str, message: bytes) -> str:
                call: Any = channel.unary_unary(path)
                try:
                    await call(message, timeout=5)
                    return "OK"
                except aio.AioRpcError as error:
                    return str(error.code().name)

            while time.time() < end:
                theirs[str(await abuse(ask))] += 1
                await asyncio.sleep(PAUSE_S)

    await asyncio.gather(*[abuser() for _ in range(ABUSERS)])
    return theirs


def never_reads(address: str, seconds: float, kind: str) -> tuple[list[float], Counter[str]]:
    path, message, count = UNREAD[kind]
    port = int(address.rpartition(":")[2])
    clients = [RawClient(port) for _ in range(ABUSERS)]
    try:
        for number in range(count):
            try:
                clients[number % ABUSERS].call(path, message)
            except OSError:  # the server closed the connection
                clients[number % ABUSERS] = RawClient(port)
        end = time.monotonic() + seconds
        return asyncio.run(honest(address, lambda: time.monotonic() > end))
    finally:
        for client in clients:
            client.close()


def p99_ms(took: list[float]) -> float:
    return 1000 * float(np.quantile(took, 0.99)) if took else float("inf")


def main(seconds: float = 5.0) -> None:
    with tempfile.TemporaryDirectory() as folder:
        publish(Path(folder))
        server = subprocess.Popen(
            [GNNREC, "serve", "--registry", folder, "--address", "127.0.0.1:0", "--metrics-port",
             "0", "--log-level", "error", "--answer-cache", "0"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        rows: list[list[object]] = []
        try:
            assert server.stdout is not None
            address = server.stdout.readline().split(" on ")[1].split(",")[0]
            for name in CALLS:  # a first round, so that memory allocated once is allocated
                with_abusers(address, 4, name)
            for name in UNREAD:
                never_reads(address, 4, name)
            time.sleep(3)
            before = resident_bytes(server.pid)
            quiet = p99_ms(with_abusers(address, seconds)[0])
            rows.append(["(peace)", quiet, 1.0, 0, 0, "", before / 2**20])
            for name in [*CALLS, *UNREAD]:
                theirs: Counter[str] = Counter()
                if name in CALLS:
                    took, codes, theirs = with_abusers(address, seconds, name)
                else:
                    took, codes = never_reads(address, seconds, name)
                broken = sum((codes + theirs)[code] for code in BROKEN)
                refused = codes.total() - codes["OK"]
                told = ", ".join(f"{code} {count}" for code, count in theirs.most_common(3))
                time.sleep(2)
                memory = resident_bytes(server.pid) / 2**20
                ms = p99_ms(took)
                rows.append([name, ms, ms / quiet, refused, broken, told, memory])
            after = resident_bytes(server.pid)
            alive = server.poll() is None
        finally:
            server.terminate()
            server.wait(30)
    report(
        f"one honest caller beside abusers, {seconds:g} s each",
        ["kind", "p99 ms", "of peace's", "refused", "INTERNAL", "their codes", "MiB after"],
        rows,
    )
    report(
        "when all is over",
        ["alive", "MiB before", "MiB after", "growth"],
        [[alive, before / 2**20, after / 2**20, after / before - 1]],
    )


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 5.0)
