"""Gowalla and MovieLens from file to answer; needs GNNREC_DATA."""

import gzip
import json
import math
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import grpc
import pytest

from gnnrec_protos.v1 import recommender_pb2 as pb
from gnnrec_protos.v1 import recommender_pb2_grpc as rpc
from gnnrec_registry import ModelStore
from gnnrec_registry.files.json import Json
from tests.end_to_end.command import ok, serving

DATA = os.environ.get("GNNREC_DATA", "")
USERS = 6000
RECIPES = Path("benchmarks/recipes")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA and not os.environ.get("CI"), reason="GNNREC_DATA is not set"),
]


def recipe(name: str, into: Path, **changes: object) -> Path:
    """Copy a recipe with other values for some of its keys."""
    lines = (RECIPES / name).read_text().splitlines()
    for key, value in changes.items():
        place = next(n for n, line in enumerate(lines) if line.startswith(f"{key} ="))
        lines[place] = f"{key} = {value}"
    path = into / name
    path.write_text("\n".join(lines))
    return path


def batched(names: Iterable[str], size: int) -> Iterator[list[str]]:
    rest = iter(names)
    while batch := list(islice(rest, size)):
        yield batch


def trained(config: Path, registry: Path) -> Json:
    """Train and promote, whatever the baselines say of so brief a training; return its JSON."""
    done: Json = json.loads(ok("train", config, "--registry", registry, "--json").splitlines()[-1])
    forced = ("--force", "--why", "trained briefly")
    ok("promote", done["version"], "--registry", registry, *forced)
    return done


def test_gowallas_metrics_over_grpc_are_those_of_the_manifest(tmp_path: Path) -> None:
    """Recall and NDCG of the answers to its first users agree with the manifest to 1e-6."""
    for name in ("train", "test"):
        with gzip.open(Path(DATA, f"gowalla/{name}.txt.gz"), "rt") as lines:
            (tmp_path / f"{name}.txt").write_text("".join(islice(lines, USERS)))
    here = {"folder": '"."', "interactions": '"train.txt"', "test": '"test.txt"'}
    config = recipe("gowalla.toml", tmp_path, epochs=2, batch_size=16384, **here)
    # what is measured is what is served
    kept = [line for line in config.read_text().splitlines() if not line.startswith("refit =")]
    config.write_text("\n".join(["refit = false", *kept]))
    registry = tmp_path / "registry"
    trained(config, registry)
    wanted = {}
    for line in (tmp_path / "test.txt").read_text().splitlines():
        user, *items = line.split()
        wanted[user] = set(items)
    with (
        serving(registry, "gowalla") as address,
        grpc.insecure_channel(address) as channel,
    ):
        stub = rpc.RecommenderServiceStub(channel)
        recall = ndcg = 0.0
        for asked in batched(wanted, 256):
            requests = [pb.TopKRequest(user_id=user, k=20) for user in asked]
            answer = stub.BatchTopK(pb.BatchTopKRequest(requests=requests), timeout=60)
            for user, entry in zip(asked, answer.entries, strict=True):
                goal = wanted[user]
                hits = [item in goal for item in entry.response.item_ids]
                assert len(hits) == 20
                recall += sum(hits) / len(goal)
                ideal = sum(1 / math.log2(rank + 2) for rank in range(min(20, len(goal))))
                ndcg += sum(hit / math.log2(rank + 2) for rank, hit in enumerate(hits)) / ideal
    (version,) = ModelStore(registry, "gowalla").versions()
    manifest = json.loads(
        (registry / "gowalla/versions" / version.name / "manifest.json").read_text()
    )
    metrics = manifest["variants"]["lightgcn"]["metrics"]["test"]
    assert len(wanted) == USERS
    assert recall / len(wanted) == pytest.approx(metrics["recall@20"], abs=1e-6)
    assert ndcg / len(wanted) == pytest.approx(metrics["ndcg@20"], abs=1e-6)


def test_movielens_answers_with_titles(tmp_path: Path) -> None:
    """The model beats the popularity baseline, and answers have the titles of films."""
    config = recipe("movielens.toml", tmp_path, epochs=12, negatives=1024)
    registry = tmp_path / "registry"
    done = trained(config, registry)
    version = ModelStore(registry, "movielens").open(done["version"])
    popularity = version.manifest.baselines["popularity"]["test"]
    assert done["metrics"]["test"]["ndcg@10"] > popularity["ndcg@10"]
    with serving(registry, "movielens") as address:
        answer = json.loads(ok("topk", 1, "-k", 5, "--address", address, "--json"))
    assert len(answer["items"]) == 5
    assert all(item["title"].endswith(")") for item in answer["items"]), "titles end in a year"
