"""The quality and time of every Gowalla recipe: python -m benchmarks.training_quality [RECIPE ...].

A recipe is trained as by `gnnrec train`, in a new process, and compared to the minimum that is set
for it. The seconds are those from reading the file to the embeddings, without evaluation.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import report
from gnnrec_registry import ModelStore

RECIPES = Path(__file__).parent / "recipes"

# Recall@20, NDCG@20, seconds.
BARS = {
    "gowalla-64": (0.1830, 0.1554, 180),
    "gowalla-64-best": (0.1892, 0.1590, 900),
    "gowalla-fast": (0.1866, 0.1562, 20),
    "gowalla-best": (0.1950, 0.1630, 600),
    "gowalla-256": (0.1900, 0.1590, 600),
}


def run(name: str, folder: Path) -> list[object]:
    command = [
        str(Path(sys.executable).parent / "gnnrec"), "train", str(RECIPES / f"{name}.toml"),
        "--registry", str(folder), "--json",
    ]  # fmt: skip
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    answer = json.loads(done.stdout.splitlines()[-1])
    manifest = ModelStore(folder, answer["model"]).open(answer["version"]).manifest
    recall, ndcg, seconds = BARS[name]
    metrics, took = answer["metrics"]["test"], manifest.seconds["reading_to_embeddings"]
    reached = metrics["recall@20"] >= recall and metrics["ndcg@20"] >= ndcg and took <= seconds
    return [
        name,
        manifest.variants[manifest.default_variant].embedding_dim,
        round(metrics["recall@20"], 5),
        round(metrics["ndcg@20"], 5),
        round(took, 1),
        f"{recall:.4f} / {ndcg:.4f} in {seconds} s",
        "reached" if reached else "missed",
    ]


def main(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = [run(name, Path(folder)) for name in names]
    report(
        "training quality on Gowalla's test part",
        ["recipe", "embedding_dim", "recall@20", "ndcg@20", "seconds", "bar", "result"],
        rows,
    )


if __name__ == "__main__":
    main(sys.argv[1:] or list(BARS))
