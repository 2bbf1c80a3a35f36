"""From starting the server to its first answer: python -m benchmarks.start REGISTRY MODEL USER."""

import subprocess
import sys
import time
from pathlib import Path

from benchmarks.measure import report
from gnnrec import Client

REPEATS = 5
ADDRESS = "127.0.0.1:50951"


def seconds_to_first_answer(registry: str, model: str, user: str) -> float:
    command = [
        str(Path(sys.executable).parent / "gnnrec"), "serve", "--registry", registry,
        "--model", model, "--address", ADDRESS, "--metrics-port", "0", "--log-level", "error",
    ]  # fmt: skip
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        with Client(ADDRESS, timeout_s=30, wait_for_ready=True) as client:
            client.top_k(user)
        return time.perf_counter() - started
    finally:
        process.terminate()
        process.wait()


def main(registry: str, model: str, user: str) -> None:
    times = sorted(seconds_to_first_answer(registry, model, user) for _ in range(REPEATS))
    report(
        f"start to first answer, {model}",
        ["fastest s", "median s", "slowest s"],
        [[times[0], times[len(times) // 2], times[-1]]],
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
