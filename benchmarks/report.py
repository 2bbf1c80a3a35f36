"""The time that the report takes in a training: python -m benchmarks.report [RECIPE ...].

Needs GNNREC_DATA. A recipe is trained as by `gnnrec train`. The time is that between the end of the
evaluation and the beginning of the publish; the import of matplotlib is timed in another process.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import report
from benchmarks.training_quality import RECIPES
from gnnrec_registry import ModelStore
from gnnrec_training.config import load
from gnnrec_training.train import train

_IMPORT = (
    "import gnnrec_training.evaluation.measurement, time; started = time.perf_counter();"
    "import gnnrec_training.report; "
    "print(time.perf_counter() - started)"
)


class Clock:
    """A reporter of progress that records how long each step took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._step, self._started = "", 0.0

    def tell(self, line: str) -> None:
        """Do nothing."""

    def start(self, step: str, total: float) -> None:
        """Record when a step begins, and how long the step before it took."""
        now = time.perf_counter()
        self.seconds[self._step] = now - self._started
        self._step, self._started = step, now

    def advance(self, done: float, note: str = "") -> None:
        """Do nothing."""

    def count(self, done: float, total: float | None, note: str = "") -> None:
        """Do nothing."""


def _is_array(file: str) -> bool:
    return file.startswith("report/") and file.endswith(".npy")


def run(name: str, folder: Path) -> list[object]:
    path = RECIPES / f"{name}.toml"
    config, clock = load(path), Clock()
    store = ModelStore(folder, config.name)
    version = train(config, path.parent, store, clock).version
    sizes = {file: entry.size / 1e6 for file, entry in version.manifest.files.items()}
    arrays = sum(size for file, size in sizes.items() if _is_array(file))
    whole = sum(size for file, size in sizes.items() if file.startswith("report/"))
    return [
        name,
        round(clock.seconds["report"], 2),
        round(whole - arrays, 2),
        round(arrays, 2),
        round(sum(sizes.values()), 1),
    ]


def main(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = [run(name, Path(folder)) for name in names]
    report(
        "what a report adds to a publish",
        ["recipe", "seconds", "MB of page and pictures", "MB of metrics by user", "MB in all"],
        rows,
    )
    done = subprocess.run([sys.executable, "-c", _IMPORT], capture_output=True, check=True)
    print(f"importing matplotlib and the report: {float(done.stdout):.2f} s")


if __name__ == "__main__":
    main(sys.argv[1:] or ["movielens", "gowalla-fast"])
