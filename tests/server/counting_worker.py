"""A worker process that counts some requests, prints a line, and ends with its standard input."""

import sys
from pathlib import Path

from gnnrec_registry import ModelStore
from gnnrec_server.telemetry.metrics import Metrics
from gnnrec_server.version import loader


def main() -> None:
    """Arguments: the directory of the shared metrics, a registry, how many requests to count."""
    directory, root, requests = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    metrics = Metrics(shared=directory)
    store = ModelStore(root, "toy")
    metrics.activate(loader.load(store.open("v1")).figures, "canary", 50.0)
    metrics.deactivate("canary")
    metrics.release("v1")
    metrics.activate(loader.load(store.open("v2")).figures, "production", 100.0 + requests)
    for _ in range(requests):
        metrics.count("TopK", "OK", 0.003, *metrics.counted("v2", "lightgcn"))
        metrics.count_answers({10: 1}, 1)
    metrics.in_flight.set(requests)
    print("counted", flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main()
