import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gnnrec_registry import ModelStore
from gnnrec_registry.measures import Hits
from gnnrec_training import memory
from gnnrec_training.config import Config, LightGCNConfig, load
from gnnrec_training.data.numeric_tables import read_numeric_table
from gnnrec_training.data.samples import sample, toy_graphs
from gnnrec_training.errors import InsufficientMemory, InvalidConfig, InvalidData
from gnnrec_training.graph import csr
from gnnrec_training.initial import initial
from gnnrec_training.reporter import Silent
from gnnrec_training.slices import by_activity, slices
from gnnrec_training.train import train
from gnnrec_training.variants import device, published
from tests.training.boards import checkerboard, interactions, random_interactions


def toy_config(folder: Path, lightgcn: str, rest: str = "", name: str = "b") -> Config:
    sample.write(toy_graphs.toy_graph(name), folder)
    path = folder / sample.CONFIG
    text = path.read_text().replace("embedding_dim = 8\n", lightgcn)
    path.write_text(
        text + "\n[lightgcn.features]\nusers = 'users.csv'\nitems = 'items.csv'\n" + rest
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


def test_a_projection_keeps_the_geometry() -> None:
    """Distances survive the principal components when the width allows."""
    generator = torch.Generator().manual_seed(0)
    features = np.random.default_rng(0).standard_normal((20, 6)).astype(np.float32)
    for width in (6, 10):
        config = LightGCNConfig.model_validate(
            {
                "embedding_dim": width, "init": "projected_features", "init_std": 0.1,
                "features": {"users": "u", "items": "i"},
            }
        )  # fmt: skip
        users, _ = initial(
            config, random_interactions(20, 20, 50, 0), 20, 20, generator, (features, features)
        )
        assert float(users.std()) == pytest.approx(0.1, rel=1e-3)
        ours = torch.pdist(users)
        given = torch.pdist(torch.from_numpy(features))
        torch.testing.assert_close(ours / ours.mean(), given / given.mean(), atol=1e-4, rtol=1e-4)


def test_a_spectral_start_is_the_scaled_spectral_model() -> None:
    board = checkerboard(20)
    config = LightGCNConfig(embedding_dim=2, init="spectral")
    users, items = initial(config, board.train, 20, 20, torch.Generator().manual_seed(0))
    best = (users @ items.T).argsort(1, descending=True)[:, :10]
    assert (best % 2 == torch.arange(20)[:, None] % 2).all()
    assert float(items.std()) == pytest.approx(0.1, rel=1e-3)
    wide = LightGCNConfig(embedding_dim=64, init="spectral")
    with pytest.raises(InvalidConfig, match="more than the 20 items"):
        initial(wide, board.train, 20, 20, torch.Generator())


def test_fusion_publishes_each_part_and_the_whole(tmp_path: Path) -> None:
    spectral = "\n[spectral]\nembedding_dim = 4\n[fusion]\nembedding_dim = 5\n"
    config = toy_config(tmp_path, 'embedding_dim = 3\ninit = "features"\n', spectral)
    (version,) = run(tmp_path, config).versions()
    manifest = ModelStore(tmp_path / "registry", "toy-b").open(version.name).manifest
    widths = {name: variant.embedding_dim for name, variant in manifest.variants.items()}
    assert widths == {"spectral": 4, "lightgcn": 3, "fused": 5}
    assert manifest.default_variant == "fused"
    assert manifest.data.as_of is None


def test_published_items_keep_their_length_to_a_power() -> None:
    halves = torch.randn(4, 3), torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, 0.5]])
    for exponent, lengths in ((1.0, [5, 0.5]), (0.5, [5**0.5, 0.5**0.5]), (0.0, [1, 1])):
        users, items = published(halves, LightGCNConfig(norm_exponent=exponent))
        assert users is halves[0]
        torch.testing.assert_close(items.norm(dim=1), torch.tensor(lengths, dtype=torch.float))
        torch.testing.assert_close(F.normalize(items), F.normalize(halves[1]))


def test_a_training_that_cannot_fit_is_refused_with_figures() -> None:
    board = checkerboard(30)
    config = Config.model_validate(
        {"name": "x", "data": {"interactions": "x.csv"}, "lightgcn": {"embedding_dim": 4096}}
    )
    needed = memory.estimate(config, board)
    assert memory.check(config, board, available=needed) == needed
    with pytest.raises(InsufficientMemory, match=r"needs about \d+\.\d GiB and 0\.0 GiB are free"):
        memory.check(config, board, available=1000)
    assert memory.available_bytes() > 1 << 20


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


def test_a_cuda_device_that_is_not_there_is_named() -> None:
    raw = {"name": "x", "data": {"interactions": "x.csv"}, "device": "cuda"}
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(InvalidConfig, match="no CUDA device"):
        device(Config.model_validate(raw))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("loss", ["bpr", "softmax"])
def test_the_same_training_runs_on_a_gpu(tmp_path: Path, loss: str) -> None:
    config = toy_config(tmp_path, 'embedding_dim = 3\ninit = "features"\n')
    lightgcn = config.lightgcn
    assert lightgcn is not None
    training = lightgcn.training.model_copy(update={"loss": loss})
    shaped = lightgcn.model_copy(update={"training": training})
    run(tmp_path, config.model_copy(update={"lightgcn": shaped, "device": "cuda"}))


def test_slices_part_users_by_activity_and_items_by_interactions() -> None:
    """Nine users with 1..9 of nine items; item i is had by 9 - i of them."""
    pairs = [(user, item) for user in range(9) for item in range(user + 1)]
    parts = slices(csr(interactions(pairs), 9), 9)
    assert np.bincount(parts.user_part).tolist() == [3, 3, 3]
    assert parts.user_names == ["1 to 3 interactions", "4 to 6 interactions", "7 to 9 interactions"]
    mass = [sum(9 - item for item in np.flatnonzero(parts.item_part == part)) for part in range(3)]
    assert sum(mass) == 45
    assert max(mass) - min(mass) <= 9
    rows = by_activity(np.arange(9), {"recall@1": np.arange(9.0)}, parts)
    assert [row["metrics"]["recall@1"] for row in rows] == [1, 4, 7]


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
