"""A training that starts from the embeddings of a version that was published before."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gnnrec_registry import ModelStore, VariantExport, Version
from gnnrec_training.config import Config, resolve
from gnnrec_training.data.dataset import Dataset, Interactions
from gnnrec_training.data.load import load_dataset
from gnnrec_training.data.samples import sample
from gnnrec_training.data.samples.courses import sample_courses
from gnnrec_training.errors import Interrupted, InvalidConfig
from gnnrec_training.export.graph_models import LightGCNBuilt
from gnnrec_training.export.warm_start import Start, build_warm, start_from
from gnnrec_training.fitting import checkpoint
from gnnrec_training.fitting.loop import History
from gnnrec_training.graph.edges import edges
from gnnrec_training.graph.propagation import EmbeddingPair
from gnnrec_training.train import train
from tests.made import embeddings, export
from tests.training.boards import interactions
from tests.training.telling import Told


def configured(name: str, **lightgcn: object) -> Config:
    training = {
        "loss": "softmax", "epochs": 16, "batch_size": 100, "negatives": 200,
        "learning_rate": 0.02, "schedule": "linear", "temperature": 0.3,
    }  # fmt: skip
    return resolve(
        {
            "name": "courses",
            "data": {
                "interactions": name, "user_column": "person_id", "item_column": "course_id",
                "time_column": "enrolled_at",
            },
            "split": {"method": "leave_last_out"},
            "lightgcn": {"embedding_dim": 16, "num_layers": 1, "training": training} | lightgcn,
            "evaluation": {"k": [10]},
        },
        "test",
    )  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Version]:
    """Return a folder with old.csv, more.csv and a registry, and the version of old.csv.

    more.csv has a newcomer and the latest tenth of the enrolments as well, in another order.
    """
    folder = tmp_path_factory.mktemp("world")
    sample.write(sample_courses(200, 120, 4000, 0), folder)
    header, *lines = (folder / "enrolments.csv").read_text().splitlines()
    by_time = sorted(lines, key=lambda line: int(line.split(",")[2]))
    late = set(by_time[-400:])
    old = [line for line in lines if line not in late]
    newcomer = [line.replace(line.split(",")[0], "newcomer") for line in lines[5:200:40]]
    for name, rows in (("old.csv", old), ("more.csv", [*reversed(lines), *newcomer])):
        (folder / name).write_text("\n".join([header, *rows]) + "\n")
    config = configured("old.csv")
    return folder, train(config, folder, ModelStore(folder / "registry", "courses"), Told()).version


def again(
    world: tuple[Path, Version], name: str = "more.csv", **lightgcn: object
) -> tuple[Version, Told]:
    folder, version = world
    told = Told()
    store = ModelStore(folder / "registry", "courses")
    config = configured(name, **lightgcn)
    return train(config, folder, store, told, start=version).version, told


@pytest.fixture(scope="module")
def warm(world: tuple[Path, Version]) -> tuple[Version, Told]:
    """Return the version of more.csv that started from that of old.csv, and what was told."""
    return again(world)


def numbers(version: Version) -> dict[str, dict[str, object]]:
    report: dict[str, dict[str, object]] = json.loads(version.read("report/metrics.json"))
    return report


def test_a_warm_start_trains_an_eighth_of_the_epochs_and_says_what_it_started_from(
    world: tuple[Path, Version], warm: tuple[Version, Told]
) -> None:
    _, old = world
    version, told = warm
    report = numbers(version)
    assert report["warm_start"]["version"] == old.name
    assert report["warm_start"]["epochs"] == 2
    assert len(report["loss"]["lightgcn"]) == 2  # type: ignore[arg-type]
    assert version.manifest.config["lightgcn"]["training"]["epochs"] == 16
    line = next(line for line in told.lines if "starts from" in line)
    assert line == (
        f"lightgcn starts from {old.name}, which has 200 of 201 users and 120 of 120 items, and "
        "trains 2 of 16 epochs"
    )
    ours = version.manifest.variants["lightgcn"].metrics["test"]["ndcg@10"]
    popularity = version.manifest.baselines["popularity"]["test"]["ndcg@10"]
    assert ours > popularity
    assert "warm_start" not in numbers(old)


def test_metrics_that_flatter_are_said(warm: tuple[Version, Told]) -> None:
    """By leave_last_out the test part is new, and the old validation part is that of many still."""
    version, told = warm
    known = numbers(version)["warm_start"]["known"]
    assert isinstance(known, dict)
    assert known["test"] == 0
    assert 0 < known["validation"] < 180
    (line,) = [line for line in told.lines if line.startswith("warning: ")]
    assert f"knew {known['validation']} of " in line
    assert "test interactions" not in line


def test_ids_and_not_rows_are_what_embeddings_go_by(world: tuple[Path, Version]) -> None:
    folder, old = world
    config = configured("more.csv")
    dataset = load_dataset(config, folder)
    assert dataset.user_ids[:200] != old.user_ids
    start = begun(old, config, dataset)
    assert start is not None
    for ids, old_ids, half, published in zip(
        (dataset.user_ids, dataset.item_ids), (old.user_ids, old.item_ids), start.embeddings,
        old.embeddings("lightgcn"), strict=True,
    ):  # fmt: skip
        for row, name in enumerate(ids):
            if name != "newcomer":
                np.testing.assert_array_equal(half[row].numpy(), published[old_ids.index(name)])


def begun(
    version: Version, config: Config, dataset: Dataset, told: Told | None = None
) -> Start | None:
    return start_from(version, config, dataset, edges(dataset.train, config.graph), told or Told())


def made(folder: Path, exponent: float, width: int = 4) -> tuple[Version, Dataset]:
    """Publish embeddings whose item lengths had an exponent, and return a data set of theirs."""
    users, items = embeddings(5, width), embeddings(6, width, 1)
    lengths = np.linalg.norm(items, axis=1, keepdims=True)
    variant = VariantExport(users, (items * lengths ** (exponent - 1)).astype(np.float32))
    toy = export(users, items, seen=[[0, 1], [2], [3], [4], [5]])
    config = {"lightgcn": {"norm_exponent": exponent}}
    version = ModelStore(folder, "toy").publish(
        replace(toy, variants={"lightgcn": variant}, config=config)
    )
    pairs = [(0, 0), (1, 2), (2, 3), (3, 4), (4, 5), (0, 1)]
    return version, Dataset("toy", version.user_ids, version.item_ids, interactions(pairs))


@pytest.mark.parametrize("exponent", [1.0, 0.7, 0.3])
def test_the_exponent_of_published_lengths_is_undone(tmp_path: Path, exponent: float) -> None:
    version, dataset = made(tmp_path, exponent)
    start = begun(version, configured("-", embedding_dim=4), dataset)
    assert start is not None
    np.testing.assert_allclose(start.embeddings[1].numpy(), embeddings(6, 4, 1), rtol=1e-4)


def test_lengths_that_are_lost_become_the_users_mean_one(tmp_path: Path) -> None:
    version, dataset = made(tmp_path, 0.0)
    start = begun(version, configured("-", embedding_dim=4), dataset)
    assert start is not None
    users, items = start.embeddings
    expected = users.norm(dim=1).mean().expand(6)
    torch.testing.assert_close(items.norm(dim=1), expected)


def test_a_version_that_cannot_be_a_start_is_said_and_training_starts_from_nothing(
    tmp_path: Path, world: tuple[Path, Version]
) -> None:
    version, dataset = made(tmp_path, 1.0)
    told = Told()
    assert begun(version, configured("-"), dataset, told) is None
    strange = replace(dataset, user_ids=[f"other {name}" for name in dataset.user_ids])
    assert begun(version, configured("-", embedding_dim=4), strange, told) is None
    spectral = ModelStore(tmp_path, "toy").publish(
        replace(
            export(embeddings(5, 4), embeddings(6, 4)),
            variants={"spectral": VariantExport(embeddings(5, 4), embeddings(6, 4))},
            default_variant="spectral",
        )
    )
    assert begun(spectral, configured("-"), dataset, told) is None
    assert told.lines == [
        f"lightgcn of {version.name} has 4 dimensions and lightgcn.embedding_dim is 16; training "
        "starts from nothing",
        f"{version.name} has none of the users of these data; training starts from nothing",
        f"{spectral.name} has no variant lightgcn (it has spectral); training starts from nothing",
    ]
    folder, _ = world
    cold = train(
        configured("more.csv", embedding_dim=8), folder, ModelStore(tmp_path, "courses"), Told()
    ).version
    other, told = again(world, embedding_dim=8)
    assert other.manifest.files == cold.manifest.files
    assert "8;" in next(line for line in told.lines if "starts from nothing" in line)


def test_a_configuration_without_lightgcn_has_nothing_to_start(world: tuple[Path, Version]) -> None:
    folder, version = world
    config = resolve(
        configured("old.csv").model_dump(exclude_unset=True) | {"lightgcn": None, "spectral": {}},
        "test",
    )
    store = ModelStore(folder / "other", "courses")
    with pytest.raises(InvalidConfig, match=r"only LightGCN can start from .* no \[lightgcn\]"):
        train(config, folder, store, Told(), start=version)
    assert not (folder / "other").exists()


class Fits:
    """In place of training: embeddings under which held-out items come first, last or anyhow."""

    def __init__(self, dataset: Dataset, warm: float, cold: float) -> None:
        self._dataset, self._quality = dataset, {"lightgcn": warm, "lightgcn-cold": cold}
        self.asked: list[tuple[str, bool]] = []

    def embeddings(self, quality: float) -> EmbeddingPair:
        part = self._dataset.validation
        users, items = len(self._dataset.user_ids), len(self._dataset.item_ids)
        taste = torch.zeros(users, items)
        taste[part.user_rows, part.item_rows] = quality
        noise = torch.rand(users, items, generator=torch.Generator().manual_seed(0))
        return taste + noise, torch.eye(items)

    def __call__(self, name: str, config: Config, start: EmbeddingPair | None) -> LightGCNBuilt:
        self.asked.append((name, start is not None))
        users, items = (half.numpy() for half in self.embeddings(self._quality[name]))
        return VariantExport(users, items), History(epochs=2)


@pytest.mark.parametrize(("cold", "kept"), [(1.0, "cold"), (-1.0, "warm")])
def test_a_warm_start_worse_than_its_beginning_is_compared_with_a_cold_one(
    world: tuple[Path, Version], cold: float, kept: str
) -> None:
    folder, old = world
    config = configured("more.csv")
    dataset = load_dataset(config, folder)
    fits, told = Fits(dataset, warm=0.0, cold=cold), Told()
    graph_edges = edges(dataset.train, config.graph)
    variant, _, record = build_warm(old, config, dataset, graph_edges, told, fits)
    assert fits.asked == [("lightgcn", True), ("lightgcn-cold", False)]
    quality = 0.0 if kept == "warm" else cold
    np.testing.assert_array_equal(variant.users, fits.embeddings(quality)[0].numpy())
    assert (record is None) == (kept == "cold")
    assert (
        "on validation interactions that it did not know; training starts from no" in told.lines[-2]
    )
    assert told.lines[-1].endswith(f"; the {kept} one is kept")


def test_a_warm_start_no_worse_than_its_beginning_is_kept(world: tuple[Path, Version]) -> None:
    folder, old = world
    config = configured("more.csv")
    dataset = load_dataset(config, folder)
    fits = Fits(dataset, warm=1.0, cold=1.0)
    graph_edges = edges(dataset.train, config.graph)
    _, _, record = build_warm(old, config, dataset, graph_edges, Told(), fits)
    assert record is not None
    assert fits.asked == [("lightgcn", True)]


def test_what_the_version_knew_does_not_judge(world: tuple[Path, Version]) -> None:
    """Where it knew all of the validation part, nothing can be judged, and that is said."""
    folder, old = world
    config = configured("old.csv")
    dataset = load_dataset(config, folder)
    fits, told = Fits(dataset, warm=-1.0, cold=1.0), Told()
    graph_edges = edges(dataset.train, config.graph)
    _, _, record = build_warm(old, config, dataset, graph_edges, told, fits)
    assert record is not None
    assert record["known"] == {"validation": len(dataset.validation), "test": 0}
    assert told.lines[-1].startswith("only 0 users have validation interactions that ")
    assert fits.asked == [("lightgcn", True)]


def test_a_part_with_unknown_nodes_is_not_known(tmp_path: Path) -> None:
    version, dataset = made(tmp_path, 1.0)
    part = Interactions(
        np.array([0, 0, 5, 1], np.int32), np.array([1, 2, 0, 9], np.int32), np.ones(4, np.float32)
    )
    start = begun(version, configured("-", embedding_dim=4), replace(dataset, test=part))
    assert start is not None
    assert start.known["test"].tolist() == [True, False, False, False]


def test_a_stopped_warm_start_goes_on_bit_by_bit(
    world: tuple[Path, Version],
    warm: tuple[Version, Told],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, old = world
    monkeypatch.setattr(checkpoint, "_INTERVAL_S", 0.0)
    store, config = ModelStore(tmp_path, "courses"), configured("more.csv")
    with pytest.raises(Interrupted, match="kept: lightgcn, epoch 1"):
        train(config, folder, store, Told("lightgcn", 1), start=old)
    told = Told()
    train(config, folder, store, told, resume=True)
    assert "of others" not in "".join(told.lines)
    assert [line for line in told.lines if "others of other configurations or data" in line], (
        "a training from nothing is another"
    )
    resumed = train(config, folder, store, Told(), resume=True, start=old).version
    assert resumed.manifest.files == warm[0].manifest.files
