"""The latency of requests for new users and for known users: python -m benchmarks.newcomers.

The data are Gowalla with random features. Each model is trained for one epoch, since the latency of
serving does not depend on its quality. New users have 20 interactions and features. Requests are
sent one at a time over gRPC, the kinds in turns, so that disturbances affect all kinds alike.
"""

import gzip
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.measure import report
from gnnrec import Client, NewUser
from gnnrec_registry import ModelStore, Version

GNNREC = Path(sys.executable).parent / "gnnrec"
ROUNDS = 400
LEVELS = [f"level {place}" for place in range(20)]
TOPICS = [f"topic {place}" for place in range(40)]

CONFIG = """
name = "newcomers"
serve = "hybrid"
[data]
folder = "{data}"
interactions = "train.txt.gz"
[data.users]
file = "{folder}/users.csv"
id_column = "id"
[[data.users.features]]
name = "age"
kind = "numeric"
centres = 8
[[data.users.features]]
name = "level"
kind = "categorical"
[data.items]
file = "{folder}/items.csv"
id_column = "id"
[[data.items.features]]
name = "topics"
kind = "multi"
[[data.items.features]]
name = "price"
kind = "numeric"
[split]
test = 0
validation = 0
[lightgcn]
num_layers = 1
[lightgcn.training]
loss = "softmax"
epochs = 1
negatives = 4096
[sage]
fanout = [5, 5]
[sage.training]
epochs = 1
batch_size = 8192
candidates = 512
[hybrid.training]
epochs = 1
batch_size = 8192
candidates = 512
[evaluation]
k = [20]
"""


def write_tables(source: Path, folder: Path) -> None:
    """Write tables with random features for every user and item of Gowalla."""
    generator = np.random.default_rng(0)
    users, items = set(), set()
    for line in gzip.decompress(source.read_bytes()).decode().splitlines():
        user, *had = line.split()
        users.add(user)
        items.update(had)
    rows = [f"{user},{generator.integers(16, 80)},{generator.choice(LEVELS)}" for user in users]
    (folder / "users.csv").write_text("\n".join(["id,age,level", *rows]))
    rows = [
        f"{item},{'|'.join(generator.choice(TOPICS, 3))},{generator.gamma(2):.2f}" for item in items
    ]
    (folder / "items.csv").write_text("\n".join(["id,topics,price", *rows]))


def median_ms(work: list[Callable[[int], object]]) -> list[float]:
    """Return the median milliseconds of each kind of request, called in turns."""
    times: list[list[float]] = [[] for _ in work]
    for turn in range(-20, ROUNDS):
        for place, ask in enumerate(work):
            started = time.perf_counter()
            ask(turn)
            if turn >= 0:
                times[place].append(1e3 * (time.perf_counter() - started))
    return [statistics.median(part) for part in times]


def measure(client: Client, registry: Path) -> None:
    (version,) = ModelStore(registry, "newcomers").versions()
    assert isinstance(version, Version)
    generator = np.random.default_rng(1)
    known = generator.choice(version.user_ids, ROUNDS + 20)
    new = [
        NewUser(
            [str(item_id) for item_id in generator.choice(version.item_ids, 20, replace=False)],
            {"age": float(generator.integers(16, 80)), "level": str(generator.choice(LEVELS))},
        )
        for _ in range(ROUNDS + 20)
    ]
    rows = []
    for variant in ("lightgcn", "hybrid", "sage"):
        by_id, as_new = median_ms(
            [
                partial(ask_known, client, variant, known),
                partial(ask_new, client, variant, new),
            ]
        )
        rows.append([variant, by_id, as_new, as_new / by_id])
    report(
        "TopK, k=20, at Gowalla's size, one request at a time",
        ["variant", "known user ms", "new user ms", "times as long"],
        rows,
    )


def ask_known(client: Client, variant: str, known: np.ndarray, turn: int) -> None:
    client.top_k(str(known[turn]), k=20, variant=variant)


def ask_new(client: Client, variant: str, new: list[NewUser], turn: int) -> None:
    client.top_k(new_user=new[turn], k=20, variant=variant)


def main() -> None:
    data = Path(os.environ["GNNREC_DATA"]) / "gowalla"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_tables(data / "train.txt.gz", folder)
        (folder / "newcomers.toml").write_text(CONFIG.format(data=data, folder=folder))
        subprocess.run(
            [GNNREC, "train", folder / "newcomers.toml", "--registry", folder / "registry",
             "--promote", "production"],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        server = subprocess.Popen(
            [GNNREC, "serve", "--registry", folder / "registry", "--address", "127.0.0.1:0",
             "--metrics-port", "0"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert server.stdout is not None
            address = server.stdout.readline().split(" on ")[1].split(",")[0]
            with Client(address) as client:
                measure(client, folder / "registry")
        finally:
            server.terminate()
            server.wait(30)


if __name__ == "__main__":
    main()
