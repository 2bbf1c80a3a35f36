"""Rollouts at Gowalla's size: python -m benchmarks.rollout [load] [delay] [memory].

Versions of Gowalla's 29,858 users, 40,981 items and 810,128 interactions with random embeddings
(the cost of serving does not depend on their quality), a server and its callers, all on this
machine. `load` moves the alias 20 times in a minute of full load and compares with a minute without
moves; `delay` moves it on an idle server, with file events and with polling alone; `memory` loads a
new version 100 times.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import worlds
from benchmarks.measure import report
from benchmarks.worlds import MODEL
from gnnrec import Client
from gnnrec_registry import ModelStore
from gnnrec_registry.files.arrays import Embeddings
from gnnrec_registry.scoring.ranking import exact_scores

GNNREC = Path(sys.executable).parent / "gnnrec"
USERS, ITEMS, WIDTH, SEEN = 29_858, 40_981, 64, 27
ASKED, GOLDEN, K = 64, 20, 10
CALLERS, SECONDS, MOVES, SWAPS = 8, 60, 20, 100

# The server as on a file system without change notifications: it only polls.
WITHOUT_EVENTS = """
import asyncio
from gnnrec_server.rollout import file_events
from gnnrec.cli.main import main
file_events.watch = lambda folder, wake: asyncio.sleep(1e9)
main()
"""


def publish(root: Path, name: str, seed: int) -> dict[str, list[str]]:
    """Publish a version; return the correct answers for the users in the requests."""
    generator = np.random.default_rng(seed)
    users = generator.standard_normal((USERS, WIDTH), np.float32)
    items = generator.standard_normal((ITEMS, WIDTH), np.float32)
    seen = np.sort(np.random.default_rng(0).integers(0, ITEMS // SEEN, (USERS, SEEN)), axis=1)
    seen = seen + np.arange(SEEN) * (ITEMS // SEEN)  # distinct and ascending within a user
    rows = np.linspace(0, USERS - 1, ASKED).astype(int)
    answers = {f"user-{row}": best(users[row], items, seen[row]) for row in rows}
    golden = [
        {
            "variant": "lightgcn",
            "user_id": user_id,
            "item_ids": [f"item-{row}" for row in found],
            "scores": scores.tolist(),
        }
        for user_id, (found, scores) in list(answers.items())[:GOLDEN]
    ]
    made = worlds.export(
        users,
        items,
        np.arange(0, USERS * SEEN + 1, SEEN),
        seen.reshape(-1).astype(np.int32),
        {"k": K, "queries": golden},
    )
    ModelStore(root, MODEL).publish(made, version=name)
    return {user_id: [f"item-{row}" for row in found] for user_id, (found, _) in answers.items()}


def best(user: Embeddings, items: Embeddings, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and scores of the K best items that are not among `seen`, by brute force."""
    rows = np.setdiff1d(np.arange(ITEMS), seen)
    scores = exact_scores(user[None, :], items, rows[None, :])[0]
    order = np.lexsort((rows, -scores))[:K]
    return rows[order], scores[order]


@contextmanager
def serving(root: Path, *, events: bool = True) -> Iterator[tuple[str, int]]:
    """Serve until the block ends; yields the address and the process's id."""
    command = [
        *([str(GNNREC)] if events else [sys.executable, "-c", WITHOUT_EVENTS]),
        "serve", "--registry", str(root), "--address", "127.0.0.1:0",
        "--metrics-port", "0", "--log-level", "error",
    ]  # fmt: skip
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield server.stdout.readline().split(" on ")[1].split(",")[0], server.pid
    finally:
        server.terminate()
        server.wait(30)


def under_load(
    root: Path, address: str, right: Path, seconds: float, moves: int
) -> tuple[dict[str, Any], list[tuple[float, str]]]:
    """Load the server while the alias moves at equal intervals; return answers and moves."""
    command = [sys.executable, "-m", "benchmarks.rollout_load", address, str(right), str(CALLERS)]
    load = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    aliases = ModelStore(root, MODEL).aliases
    versions = sorted(json.loads(right.read_text()))
    time.sleep(2)  # until the callers have started
    moved = []
    for number in range(moves):
        at = versions[(number + 1) % len(versions)]
        aliases.promote(at, alias="production")
        moved.append((time.time(), at))
        time.sleep(seconds / moves)
    if not moves:
        time.sleep(seconds)
    out, _ = load.communicate("")
    seen: dict[str, Any] = json.loads(out)
    return seen, moved


def measure_load(root: Path, right: Path) -> None:
    """Compare a minute with moves to half a minute without before it and after it."""
    with serving(root) as (address, _):
        before, _ = under_load(root, address, right, SECONDS / 2, 0)
        during, moved = under_load(root, address, right, SECONDS, MOVES)
        after, _ = under_load(root, address, right, SECONDS / 2, 0)
    still = [seconds for part in (before, after) for _, seconds, _ in part["answers"]]
    began = np.array([start for start, _, _ in during["answers"]])
    took = np.array([seconds for _, seconds, _ in during["answers"]])
    ended = began + took
    delays, inside = [], np.zeros(len(began), bool)
    for moment, version in moved:
        first = min(
            end
            for end, (start, _, answered) in zip(ended, during["answers"], strict=True)
            if answered == version and start >= moment - 1 and end >= moment
        )
        delays.append(first - moment)
        inside |= (began <= first) & (ended >= moment)
    parts = [(before, 0), (during, len(moved)), (after, 0)]
    report(
        f"{MOVES} pointer moves in {SECONDS} s of full load, {CALLERS} callers",
        ["", "moves", "answers", "failed RPCs", "mixed answers", "red health checks"],
        [
            [name, moves, len(part["answers"]), len(part["failed"]), part["mixed"], part["red"]]
            for name, (part, moves) in zip(("before", "during", "after"), parts, strict=True)
        ],
    )
    for problem in sorted({line for part, _ in parts for line in part["failed"]})[:5]:
        print(problem)
    rows = [
        ["without moves", *_quantiles(still), 1.0],
        ["the minute with moves", *_quantiles(took), _p99(took) / _p99(still)],
        ["only from move to swap", *_quantiles(took[inside]), _p99(took[inside]) / _p99(still)],
    ]
    report("latency of TopK", ["", "p50 ms", "p99 ms", "p99.9 ms", "p99, times"], rows)
    _report_delays([("under full load", delays)])


def measure_delay(root: Path, right: Path) -> None:
    """Measure how long after a move of the alias the new version answers, with one caller."""
    rows = []
    for name, polling in (("file events", False), ("polling alone, 1 s", True)):
        delays = []
        with serving(root, events=not polling) as (address, _), Client(address) as client:
            aliases = ModelStore(root, MODEL).aliases
            versions = sorted(json.loads(right.read_text()))
            for number in range(MOVES):
                version = versions[number % 2]
                if client.top_k("user-0", k=K).version == version:
                    continue
                aliases.promote(version, alias="production")
                moved = time.time()
                while client.top_k("user-0", k=K).version != version:
                    pass
                delays.append(time.time() - moved)
                time.sleep(0.37)
        rows.append((name, delays))
    _report_delays(rows)


def measure_memory(root: Path, right: Path) -> None:
    """Change the version many times during calls, and report the memory of the server."""
    versions = sorted(json.loads(right.read_text()))
    with serving(root) as (address, pid), Client(address) as client:
        aliases = ModelStore(root, MODEL).aliases
        rows = []
        for number in range(SWAPS + 1):
            if number in (0, 1, 2, 10, 50, SWAPS):
                for turn in range(ASKED):
                    client.top_k(f"user-{turn}", k=K)
                time.sleep(3)  # until the version before has been released
                rows.append([number, *_memory(pid)])
            if number < SWAPS:
                version = versions[(number + 1) % 2]
                aliases.promote(version, alias="production")
                while client.top_k("user-0", k=K).version != version:
                    time.sleep(0.01)
    for row in rows:
        row.append(row[1] / rows[0][1])
    report(
        "memory of the server over swaps",
        ["swaps", "resident MiB", "of it its own MiB", "resident, times"],
        rows,
    )


def _memory(pid: int) -> list[float]:
    """Return the resident memory, and its part that is not of mapped files, in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = {line.split(":")[0]: line.split(":")[1] for line in lines}
    return [int(found[name].split()[0]) / 1024 for name in ("VmRSS", "RssAnon")]


def _report_delays(rows: list[tuple[str, list[float]]]) -> None:
    report(
        "pointer move to first answer of the new version",
        ["", "moves", "median s", "slowest s"],
        [[name, len(each), statistics.median(each), max(each)] for name, each in rows],
    )


def _p99(seconds: Any) -> float:
    return float(np.quantile(seconds, 0.99))


def _quantiles(seconds: Any) -> list[float]:
    return [1000 * float(np.quantile(seconds, share)) for share in (0.5, 0.99, 0.999)]


PARTS = {"load": measure_load, "delay": measure_delay, "memory": measure_memory}


def main(parts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "registry"
        answers = {version: publish(root, version, seed) for seed, version in enumerate(("a", "b"))}
        right = Path(name) / "right.json"
        right.write_text(json.dumps(answers))
        ModelStore(root, MODEL).aliases.promote("a", alias="production")
        for part in parts or list(PARTS):
            PARTS[part](root, right)


if __name__ == "__main__":
    main(sys.argv[1:])
