"""Random and malformed requests to a server: python -m benchmarks.fuzz [COUNT].

A server process answers COUNT requests (100,000 by default): valid ones, ones with wrong values,
and corrupted bytes. None may end in INTERNAL or UNKNOWN, the process must stay alive, and after the
first fifth of the requests its memory must not grow by more than 5%. Then benchmarks/hostile.py
runs.
"""

import asyncio
import random
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from grpc import aio

from benchmarks import hostile
from benchmarks.measure import report, resident_bytes
from gnnrec_protos.v1 import recommender_pb2 as pb
from gnnrec_registry import ModelStore
from tests import unseen

GNNREC = Path(sys.executable).parent / "gnnrec"
IN_FLIGHT = 32
METHODS = ("TopK", "BatchTopK", "Score")
BROKEN = {"INTERNAL", "UNKNOWN"}

TEXTS = ["u0", "u3", "i0", "i1", "i8", "nobody", "", "\x00", "ü" * 50, "x" * 3000, "production"]
NUMBERS = [0.0, 1.0, -1.0, 1e300, -1e-300, float("nan"), float("inf"), 25.0]
VARIANTS = ["", "lightgcn", "sage", "hybrid", "none"]


def value(generator: random.Random) -> pb.FeatureValue:
    match generator.randrange(4):
        case 0:
            return pb.FeatureValue(number=generator.choice(NUMBERS))
        case 1:
            return pb.FeatureValue(text=generator.choice(TEXTS))
        case 2:
            return pb.FeatureValue(texts=pb.TextList(values=generator.choices(TEXTS, k=3)))
        case _:
            return pb.FeatureValue()


def features(generator: random.Random) -> dict[str, pb.FeatureValue]:
    names = ["age", "goal", "interests", "level", "tags", "what"]
    return {name: value(generator) for name in generator.sample(names, generator.randrange(4))}


def query(generator: random.Random) -> dict[str, object]:
    """Return a random subject of a query, with random values, or no subject."""
    ids = generator.choices(TEXTS, k=generator.randrange(4))
    weights = [generator.choice([*NUMBERS, 1.0, 1.0]) for _ in ids]
    had = [pb.Interaction(item_id=i, weight=w) for i, w in zip(ids, weights, strict=True)]
    match generator.randrange(7):
        case 0 | 1:
            return {"user_id": generator.choice(TEXTS)}
        case 2:
            return {"item_id": generator.choice(TEXTS)}
        case 3:
            count = generator.choice([0, 1, 4, 4, 4, 5])
            return {"embedding": pb.Embedding(values=[generator.gauss(0, 1)] * count)}
        case 4:
            return {"new_user": pb.NewUser(interactions=had, features=features(generator))}
        case 5:
            return {"new_item": pb.NewItem(features=features(generator))}
        case _:
            return {}


def condition(generator: random.Random) -> pb.AttributeFilter:
    made = pb.AttributeFilter(field=generator.choice(["level", "hours", *TEXTS]))
    if generator.random() < 0.5:
        made.any_of.values.extend(generator.choices(TEXTS, k=2))
    elif generator.random() < 0.8:
        made.range.min, made.range.max = generator.choice(NUMBERS), generator.choice(NUMBERS)
    return made


def top_k(generator: random.Random) -> pb.TopKRequest:
    request = pb.TopKRequest(
        k=generator.choice([1, 5, 5, 5, 9, 100, 1000, 0, -1, 1001, 2**31 - 1]),
        variant=generator.choice(VARIANTS),
        include_seen=generator.random() < 0.5,
        with_probabilities=generator.random() < 0.5,
        with_titles=generator.random() < 0.5,
        **query(generator),  # type: ignore[arg-type]
    )
    if generator.random() < 0.3:
        request.exclude_item_ids.extend(generator.choices(TEXTS, k=generator.randrange(6)))
    if generator.random() < 0.2:
        request.allow_item_ids.extend(generator.choices(TEXTS, k=generator.randrange(6)))
    if generator.random() < 0.1:
        request.filters.append(condition(generator))
    if generator.random() < 0.1:
        request.version = generator.choice(TEXTS)
    elif generator.random() < 0.1:
        request.alias = generator.choice(TEXTS)
    return request


def message(generator: random.Random, method: str) -> bytes:
    if method == "TopK":
        content = top_k(generator).SerializeToString()
    elif method == "BatchTopK":
        entries = [top_k(generator) for _ in range(generator.choice([0, 1, 3, 8, 300]))]
        content = pb.BatchTopKRequest(requests=entries).SerializeToString()
    else:
        items = generator.choices(TEXTS, k=generator.choice([0, 1, 5, 50]))
        request = pb.ScoreRequest(item_ids=items, **query(generator))  # type: ignore[arg-type]
        content = request.SerializeToString()
    return corrupted(generator, content) if generator.random() < 0.3 else content


def corrupted(generator: random.Random, content: bytes) -> bytes:
    """Return the bytes with some of them flipped, cut, doubled or replaced."""
    broken = bytearray(content or b"\x00")
    match generator.randrange(4):
        case 0:
            for _ in range(generator.randrange(1, 4)):
                broken[generator.randrange(len(broken))] ^= 1 << generator.randrange(8)
        case 1:
            del broken[generator.randrange(len(broken)) :]
        case 2:
            broken *= 2
        case _:
            broken = bytearray(generator.randbytes(generator.randrange(1, 60)))
    return bytes(broken)


async def fire(address: str, process: int, count: int) -> tuple[Counter[str], list[int]]:
    """Send the requests; return the count of each status code, and the memory after each fifth."""
    generator = random.Random(0)
    codes: Counter[str] = Counter()
    memory: list[int] = []
    async with aio.insecure_channel(address) as channel:
        calls: dict[str, Any] = {
            method: channel.unary_unary(f"/gnnrec.v1.RecommenderService/{method}")
            for method in METHODS
        }

        async def ask(method: str, content: bytes) -> None:
            try:
                await calls[method](content, timeout=30)
                codes["OK"] += 1
            except aio.AioRpcError as error:
                codes[error.code().name] += 1
                if error.code().name in BROKEN and codes[error.code().name] < 4:
                    print(method, content[:200], error.code().name, error.details())

        for start in range(0, count, IN_FLIGHT):
            chosen = [generator.choice(METHODS) for _ in range(min(IN_FLIGHT, count - start))]
            await asyncio.gather(*(ask(method, message(generator, method)) for method in chosen))
            if (start // IN_FLIGHT) % max(1, count // IN_FLIGHT // 5) == 0:
                memory.append(resident_bytes(process))
    return codes, [*memory, resident_bytes(process)]


def main(count: int) -> None:
    np.random.seed(0)
    with tempfile.TemporaryDirectory() as folder:
        registry = Path(folder)
        version = unseen.publish(registry)
        ModelStore(registry, version.manifest.model).aliases.promote(
            version.name, alias="production"
        )
        server = subprocess.Popen(
            [GNNREC, "serve", "--registry", folder, "--model", version.manifest.model,
             "--address", "127.0.0.1:0", "--metrics-port", "0", "--log-level", "error"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert server.stdout is not None
            address = server.stdout.readline().split(" on ")[1].split(",")[0]
            codes, memory = asyncio.run(fire(address, server.pid, count))
            alive = server.poll() is None
        finally:
            server.terminate()
            server.wait(30)
    broken = sum(codes[name] for name in BROKEN)
    growth = memory[-1] / memory[1] - 1
    report("codes", ["code", "times"], sorted(codes.items()))
    report(
        f"{count} requests, valid and broken",
        ["INTERNAL or UNKNOWN", "alive", "MiB after a fifth", "MiB at the end", "growth"],
        [[broken, alive, memory[1] / 2**20, memory[-1] / 2**20, growth]],
    )
    hostile.main()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
