"""Two promoters at the same alias: python -m benchmarks.racing [folder] [s3] [--rounds N].

Two processes try, at the same moment, to move the alias from each generation to the next. Exactly
one must win each time, and alias and history must say who. `folder` races in a temporary folder,
`s3` in moto's S3 server on this machine. Ends with exit code 1 if a round had no winner, or two.
"""

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from urllib.request import Request, urlopen

import numpy as np

from benchmarks import worlds
from benchmarks.measure import report
from benchmarks.worlds import MODEL
from gnnrec_registry import ModelStore
from gnnrec_registry.errors import AliasConflict

RACERS = ("a", "b")


def race(root: str, version: str, rounds: int, start: Barrier, told: Connection) -> None:
    """Try to move the alias at each generation; send the generations that this process won."""
    aliases = ModelStore(root, MODEL).aliases
    won = []
    for generation in range(rounds):
        start.wait()
        try:
            aliases.promote(version, alias="production", expected_generation=generation)
            won.append(generation + 1)
        except AliasConflict:
            pass
    told.send(won)


def measure(place: str, root: str, rounds: int) -> list[object]:
    """Run the race in one registry and return a row of the report."""
    embeddings = np.ones((2, 4), np.float32)
    for version in RACERS:
        made = worlds.export(embeddings, embeddings, np.zeros(3, np.int64), np.zeros(0, np.int32))
        ModelStore(root, MODEL).publish(made, version=version)
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(len(RACERS))
    pipes = {version: context.Pipe(duplex=False) for version in RACERS}
    processes = [
        context.Process(target=race, args=(root, version, rounds, start, pipes[version][1]))
        for version in RACERS
    ]
    began = time.perf_counter()
    for process in processes:
        process.start()
    won: dict[str, list[int]] = {version: pipes[version][0].recv() for version in RACERS}
    seconds = time.perf_counter() - began
    for process in processes:
        process.join()
    winners = {generation: version for version, each in won.items() for generation in each}
    single = len(winners) if sum(map(len, won.values())) == len(winners) else 0
    aliases = ModelStore(root, MODEL).aliases
    moves = aliases.history("production")
    agree = {move.generation: move.version for move in moves} == winners
    agree = agree and len(moves) == rounds and moves[-1] == aliases.get("production")
    counts = [len(won[version]) for version in RACERS]
    return [place, rounds, *counts, single, "yes" if agree else "NO", seconds]


@contextmanager
def bucket() -> Iterator[str]:
    """Yield the URL of a bucket in an S3 server that is started for it."""
    command = [sys.executable, "-m", "tests.remote.s3_server"]
    with (
        tempfile.TemporaryDirectory() as cache,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as server,
    ):
        assert server.stdin is not None
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}"
        with urlopen(Request(f"{url}/races", method="PUT")):
            pass
        os.environ |= {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": url,
            "GNNREC_CACHE": cache,
        }
        try:
            yield "s3://races"
        finally:
            server.stdin.close()


def main() -> None:
    """Race in the places that the command line names, and print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("places", nargs="*", choices=["folder", "s3", []], default=[])
    parser.add_argument("--rounds", type=int, default=1000)
    options = parser.parse_args()
    rows = []
    for place in options.places or ["folder", "s3"]:
        if place == "folder":
            with tempfile.TemporaryDirectory() as folder:
                rows.append(measure(place, folder, options.rounds))
        else:
            with bucket() as url:
                rows.append(measure(place, url, options.rounds))
    header = ["place", "rounds", "a won", "b won", "one winner", "history agrees", "seconds"]
    report("two promoters, the same moment", header, rows)
    if any(row[4] != row[1] or row[5] != "yes" for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
