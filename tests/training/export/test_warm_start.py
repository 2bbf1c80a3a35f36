"""A training that starts from the embeddings of a version that was published before."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.linalg import norm

from gnnrec_registry import ModelStore, StartEntry, VariantExport, Version
from gnnrec_training.config import Config, resolve
from gnnrec_training.data.dataset import Dataset
from gnnrec_training.data.load import read_data
from gnnrec_training.data.samples import sample
from gnnrec_training.data.samples.courses import sample_courses
from gnnrec_training.errors import Interrupted, InvalidConfig
from gnnrec_training.export.graph_models import LightGCNBuilt
from gnnrec_training.export.variants import Lessons, build_variants
from gnnrec_training.export.warm_start import Start, begun, build_warm, start_from
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


def read(world: tuple[Path, Version]) -> tuple[Config, Dataset]:
    """Return the configuration and the data set of a training that starts from the version."""
    folder, version = world
    config = configured("more.csv")
    return config, read_data(config, folder).split(version)


def test_a_warm_start_trains_an_eighth_of_the_epochs_and_says_what_it_started_from(
    world: tuple[Path, Version], warm: tuple[Version, Told]
) -> None:
    _, old = world
    version, told = warm
    manifest = version.manifest
    assert manifest.start == StartEntry(version=old.name, epochs=2)
    assert manifest.config["lightgcn"]["training"]["epochs"] == 16
    lines = [line for line in told.lines if "starts from" in line]
    assert lines[0] == (
        f"lightgcn starts from {old.name}, which has 200 of 201 users and 120 of 120 items, and "
        "trains 2 of 16 epochs"
    )
    ours = manifest.variants["lightgcn"].metrics["test"]["ndcg@10"]
    assert ours > manifest.baselines["popularity"]["test"]["ndcg@10"]
    assert old.manifest.start is None


def test_what_is_published_starts_from_the_version_as_what_is_measured_did(
    warm: tuple[Version, Told],
) -> None:
    version, told = warm
    fits = version.manifest.fits
    assert fits is not None
    assert fits.measured.epochs == fits.published.epochs == {"lightgcn": 2}
    assert fits.published.interactions > fits.measured.interactions
    assert len([line for line in told.lines if "lightgcn starts from" in line]) == 2


def test_only_what_the_version_did_not_know_is_held_out(
    world: tuple[Path, Version], warm: tuple[Version, Told]
) -> None:
    """The version was fitted on everything in old.csv; more.csv has 400 rows and a newcomer."""
    _, old = world
    data = warm[0].manifest.data.interactions
    assert 0 < data["validation"] < 200
    assert 0 < data["test"] < 202
    (line,) = [line for line in warm[1].lines if " to be held out" in line]
    assert line.startswith(f"{old.name} knew ")
    assert line.endswith(
        f"{data['validation']:,} new ones are for validation and {data['test']:,} for the test"
    )


def test_ids_and_not_rows_are_what_embeddings_go_by(world: tuple[Path, Version]) -> None:
    _, old = world
    config, dataset = read(world)
    assert dataset.user_ids[:200] != old.user_ids
    start = started(old, config, dataset)
    assert start is not None
    users, items = (half.numpy() for half in start.embeddings)
    old_users, old_items = old.embeddings("lightgcn")
    for row, name in enumerate(dataset.user_ids):
        if name != "newcomer":
            np.testing.assert_array_equal(users[row], old_users[old.user_ids.index(name)])
    for row, name in enumerate(dataset.item_ids):
        ours, published = items[row], old_items[old.item_ids.index(name)]
        assert ours @ published == pytest.approx(norm(ours) * norm(published)), "but for the length"


def started(
    version: Version, config: Config, dataset: Dataset, told: Told | None = None
) -> Start | None:
    return start_from(version, config, dataset, edges(dataset, config.graph), told or Told())


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
    start = started(version, configured("-", embedding_dim=4), dataset)
    assert start is not None
    np.testing.assert_allclose(start.embeddings[1].numpy(), embeddings(6, 4, 1), rtol=1e-4)


def test_lengths_that_are_lost_become_the_users_mean_one(tmp_path: Path) -> None:
    version, dataset = made(tmp_path, 0.0)
    start = started(version, configured("-", embedding_dim=4), dataset)
    assert start is not None
    users, items = start.embeddings
    expected = users.norm(dim=1).mean().expand(6)
    torch.testing.assert_close(items.norm(dim=1), expected)


def test_a_version_that_cannot_be_a_start_is_said_and_training_starts_from_nothing(
    tmp_path: Path, world: tuple[Path, Version]
) -> None:
    version, dataset = made(tmp_path, 1.0)
    told = Told()
    assert started(version, configured("-"), dataset, told) is None
    strange = replace(dataset, user_ids=[f"other {name}" for name in dataset.user_ids])
    assert started(version, configured("-", embedding_dim=4), strange, told) is None
    spectral = ModelStore(tmp_path, "toy").publish(
        replace(
            export(embeddings(5, 4), embeddings(6, 4)),
            variants={"spectral": VariantExport(embeddings(5, 4), embeddings(6, 4))},
            default_variant="spectral",
        )
    )
    assert started(spectral, configured("-"), dataset, told) is None
    assert told.lines == [
        f"lightgcn of {version.name} has 4 dimensions and lightgcn.embedding_dim is 16; training "
        "starts from nothing",
        f"{version.name} has none of the users of these data; training starts from nothing",
        f"{spectral.name} has no variant lightgcn (it has spectral); training starts from nothing",
    ]
    _, old = world
    other, told = again(world, embedding_dim=8)
    assert other.manifest.start == StartEntry(version=old.name, epochs=None)
    assert other.manifest.fits is not None
    assert other.manifest.fits.published.epochs["lightgcn"] > 2
    (line,) = [line for line in told.lines if "starts from nothing" in line]
    assert "16 dimensions and lightgcn.embedding_dim is 8;" in line


def test_a_configuration_without_lightgcn_has_nothing_to_start(world: tuple[Path, Version]) -> None:
    folder, version = world
    config = resolve(
        configured("old.csv").model_dump(exclude_unset=True) | {"lightgcn": None, "spectral": {}},
        "test",
    )
    store = ModelStore(folder / "other", "courses")
    with pytest.raises(
        InvalidConfig, match=r"only LightGCN can start from .* without \[lightgcn\]"
    ):
        train(config, folder, store, Told(), start=version)
    assert not (folder / "other").exists()


def test_a_configuration_without_models_takes_over_those_of_the_version(
    world: tuple[Path, Version],
) -> None:
    """One line of configuration more than the data, and no search."""
    folder, old = world
    raw = configured("more.csv").model_dump(exclude_unset=True)
    del raw["lightgcn"]
    told = Told()
    store = ModelStore(folder / "registry", "courses")
    version = train(resolve(raw, "test"), folder, store, told, start=old).version
    assert version.manifest.search is None
    for section in ("lightgcn", "graph"):
        assert version.manifest.config[section] == old.manifest.config[section]
    assert version.manifest.config["serve"] == "lightgcn"
    assert version.manifest.start == StartEntry(version=old.name, epochs=2)
    assert f"models of {old.name}, with its settings: lightgcn" in told.lines


def test_models_without_lightgcn_are_computed_anew(tmp_path: Path) -> None:
    sample.write(sample_courses(60, 40, 900, 0), tmp_path)
    raw = configured("enrolments.csv").model_dump(exclude_unset=True) | {"refit": False}
    del raw["lightgcn"]
    store = ModelStore(tmp_path, "courses")
    named = resolve(raw | {"spectral": {}, "ease": {}, "serve": "ease"}, "test")
    old = train(named, tmp_path, store, Told()).version
    told = Told()
    version = train(resolve(raw, "test"), tmp_path, store, told, start=old).version
    assert version.manifest.start == StartEntry(version=old.name, epochs=None)
    assert version.manifest.default_variant == "ease"
    assert set(version.manifest.variants) == {"spectral", "ease"}
    (line,) = [line for line in told.lines if line.startswith("models of")]
    assert line.endswith("spectral, ease; it has no lightgcn, so these are computed anew")


def test_what_is_served_is_what_the_version_serves(world: tuple[Path, Version]) -> None:
    """What is new is too little to choose by."""
    _, old = world
    raw = configured("more.csv").model_dump(exclude_unset=True) | {"spectral": {}}
    assert begun(resolve(raw, "test"), old, Told()).serve == "lightgcn"
    kept = resolve(raw | {"serve": "spectral"}, "test")
    assert begun(kept, old, Told()).serve == "spectral"


def test_without_anything_new_nothing_is_measured(world: tuple[Path, Version]) -> None:
    version, told = again(world, "old.csv")
    assert version.manifest.variants["lightgcn"].metrics == {}
    assert version.manifest.verdict is None
    assert version.manifest.data.interactions["test"] == 0
    assert any(line.startswith("only 0 users have validation interactions") for line in told.lines)


@pytest.mark.parametrize("warm_before", [True, False])
def test_a_later_fit_starts_as_the_first_one_did(
    world: tuple[Path, Version], warm_before: bool
) -> None:
    folder, old = world
    config, dataset = read(world)
    told = Told()
    lessons = Lessons({"lightgcn": 2}, warm=warm_before)
    built = build_variants(config, dataset, folder, told, None, lessons, start=old)
    assert built.start == StartEntry(version=old.name, epochs=2 if warm_before else None)
    assert any("starts from" in line for line in told.lines) == warm_before
    assert built.lessons == lessons
    cold = build_variants(config, dataset, folder, Told(), None, lessons).variants["lightgcn"]
    same = np.array_equal(built.variants["lightgcn"].users, cold.users)
    assert same != warm_before


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
    _, old = world
    config, dataset = read(world)
    fits, told = Fits(dataset, warm=0.0, cold=cold), Told()
    graph_edges = edges(dataset, config.graph)
    (variant, _), is_warm = build_warm(old, config, dataset, graph_edges, told, fits)
    assert fits.asked == [("lightgcn", True), ("lightgcn-cold", False)]
    quality = 0.0 if kept == "warm" else cold
    np.testing.assert_array_equal(variant.users, fits.embeddings(quality)[0].numpy())
    assert is_warm == (kept == "warm")
    assert "on what is new since then; training starts from nothing as well" in told.lines[-2]
    assert told.lines[-1].endswith(f"; the {kept} one is kept")


def test_a_warm_start_no_worse_than_its_beginning_is_kept(world: tuple[Path, Version]) -> None:
    _, old = world
    config, dataset = read(world)
    fits = Fits(dataset, warm=1.0, cold=1.0)
    graph_edges = edges(dataset, config.graph)
    _, is_warm = build_warm(old, config, dataset, graph_edges, Told(), fits)
    assert is_warm
    assert fits.asked == [("lightgcn", True)]


def test_too_few_users_do_not_judge_and_that_is_said(world: tuple[Path, Version]) -> None:
    _, old = world
    config, dataset = read(world)
    few = replace(dataset, validation=dataset.validation.take(np.arange(20)))
    fits, told = Fits(dataset, warm=-1.0, cold=1.0), Told()
    _, is_warm = build_warm(old, config, few, edges(few, config.graph), told, fits)
    assert is_warm
    assert told.lines[-1].startswith("only 20 users have validation interactions that ")
    assert fits.asked == [("lightgcn", True)]


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
