import json
from pathlib import Path

import numpy as np
import pytest
import torch

from gnnrec_registry import ModelStore
from gnnrec_registry.scoring.metrics import Hits
from gnnrec_training.config import Config, load
from gnnrec_training.data.numeric_tables import read_numeric_table
from gnnrec_training.data.samples import sample, toy_graphs
from gnnrec_training.errors import InvalidConfig, InvalidData
from gnnrec_training.reporter import Silent
from gnnrec_training.train import train


def toy_config(folder: Path, lightgcn: str, rest: str = "", top: str = "") -> Config:
    sample.write(toy_graphs.toy_graph("b"), folder)
    path = folder / sample.CONFIG
    text = path.read_text().replace("embedding_dim = 8\n", lightgcn)
    path.write_text(
        top + text + "\n[lightgcn.features]\nusers = 'users.csv'\nitems = 'items.csv'\n" + rest
    )
    return load(path)


def run(folder: Path, config: Config) -> ModelStore:
    store = ModelStore(folder / "registry", config.name)
    train(config, folder, store, Silent())
    return store


def test_given_features_of_the_same_width_are_layer_0(tmp_path: Path) -> None:
    config = toy_config(tmp_path, 'embedding_dim = 3\ninit = "features"\n')
    run(tmp_path, config)
    features = read_numeric_table(tmp_path / "items.csv", "item_id", ["I1", "I9"])
    np.testing.assert_allclose(features, [[0.8, 0.2, 0], [0.33, 0.33, 0.33]], rtol=1e-6)


def test_features_of_another_width_are_refused_or_projected(tmp_path: Path) -> None:
    config = toy_config(tmp_path, 'embedding_dim = 5\ninit = "features"\n')
    with pytest.raises(InvalidConfig, match="has 3 numeric columns and embedding_dim is 5"):
        run(tmp_path, config)
    for width in (2, 5):
        folder = tmp_path / str(width)
        text = f'embedding_dim = {width}\ninit = "projected_features"\n'
        (version,) = run(folder, toy_config(folder, text)).versions()
        version = ModelStore(folder / "registry", "toy-b").open(version.name)
        assert version.manifest.variants["lightgcn"].embedding_dim == width


def test_a_node_without_features_is_named(tmp_path: Path) -> None:
    config = toy_config(tmp_path, 'embedding_dim = 3\ninit = "features"\n')
    path = tmp_path / "items.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith("I6")))
    with pytest.raises(InvalidData, match=r"items\.csv has no row for 'I6'"):
        run(tmp_path, config)


def test_fusion_publishes_each_part_and_the_whole(tmp_path: Path) -> None:
    spectral = (
        "\n[spectral]\nembedding_dim = 4\n[fusion]\nembedding_dim = 5\n"
        "weights = { lightgcn = 1, spectral = 0.6 }\n"
    )
    lightgcn = 'embedding_dim = 3\ninit = "features"\n'
    config = toy_config(tmp_path, lightgcn, spectral, top='serve = "lightgcn"\n')
    (version,) = run(tmp_path, config).versions()
    manifest = ModelStore(tmp_path / "registry", "toy-b").open(version.name).manifest
    widths = {name: variant.embedding_dim for name, variant in manifest.variants.items()}
    assert widths == {"spectral": 4, "lightgcn": 3, "fused": 5}
    assert manifest.default_variant == "lightgcn", "the one that the configuration names"
    assert manifest.data.as_of is None


def test_lists_longer_than_the_catalogue_are_refused(tmp_path: Path) -> None:
    config = toy_config(tmp_path, 'embedding_dim = 3\ninit = "features"\n')
    with pytest.raises(InvalidConfig, match="lists of 30 and the training data has"):
        run(
            tmp_path,
            config.model_copy(
                update={"evaluation": config.evaluation.model_copy(update={"k": (30,)})}
            ),
        )
    assert not (tmp_path / "registry").exists()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("loss", ["bpr", "softmax"])
def test_the_same_training_runs_on_a_gpu(tmp_path: Path, loss: str) -> None:
    config = toy_config(tmp_path, 'embedding_dim = 3\ninit = "features"\n')
    lightgcn = config.lightgcn
    assert lightgcn is not None
    training = lightgcn.training.model_copy(update={"loss": loss})
    shaped = lightgcn.model_copy(update={"training": training})
    run(tmp_path, config.model_copy(update={"lightgcn": shaped, "device": "cuda"}))


def test_the_report_holds_metrics_by_user_and_by_slice(tmp_path: Path) -> None:
    sample.write(toy_graphs.toy_graph("a"), tmp_path)
    path = tmp_path / sample.CONFIG
    path.write_text(path.read_text().replace("test = 0\n", "test = 0.5\n").replace("[3]", "[2, 3]"))
    config = load(path)
    (listed,) = run(tmp_path, config).versions()
    version = ModelStore(tmp_path / "registry", "toy-a").open(listed.name)
    slices_of = json.loads(version.read("report/metrics.json"))["slices"]["lightgcn"]["test"]
    files = slices_of["hits"]
    held_out = version.array(files["held_out"])
    assert held_out.dtype == np.uint8
    assert held_out.shape == (len(version.user_ids),)
    measured = held_out[held_out > 0]
    hits = Hits.unpacked(version.array(files["ranks"]), measured)
    metrics = version.manifest.variants["lightgcn"].metrics["test"]
    assert files["k"] == [2, 3]
    for k in files["k"]:
        for name, values in hits.metrics(k).items():
            assert values.mean() == pytest.approx(metrics[name], abs=1e-12), name
    assert sum(row["users"] for row in slices_of["by_activity"]) == len(measured)
    assert "found@3" in slices_of["by_popularity"][0]
