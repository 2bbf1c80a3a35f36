import json
from pathlib import Path

import numpy as np
import pytest

from gnnrec_registry import ModelStore, Version
from gnnrec_registry.scoring.ranking import exact_scores
from gnnrec_training.config import load
from gnnrec_training.data.load import load_dataset
from gnnrec_training.data.samples import sample, toy_graphs
from gnnrec_training.data.samples.courses import sample_courses
from gnnrec_training.errors import InvalidConfig, TrainingDiverged
from gnnrec_training.reporter import Silent
from gnnrec_training.train import train

WORLD = sample_courses(300, 200, 6000, 0)


def run(made: sample.Sample, folder: Path) -> Version:
    sample.write(made, folder / "data")
    config = load(folder / "data" / sample.CONFIG)
    store = ModelStore(folder / "registry", config.name)
    return train(config, folder / "data", store, Silent()).version


@pytest.fixture(scope="module")
def courses(tmp_path_factory: pytest.TempPathFactory) -> Version:
    return run(WORLD, tmp_path_factory.mktemp("courses"))


def test_a_trained_version_is_whole_and_says_what_it_is(courses: Version) -> None:
    courses.verify()
    manifest = courses.manifest
    assert manifest.model == "courses"
    assert (manifest.data.users, manifest.data.items) == (300, 200)
    assert sum(manifest.data.interactions.values()) == 6000
    assert manifest.config["lightgcn"]["training"]["epochs"] == 40
    assert manifest.libraries["torch"].startswith("2.13.0")
    assert json.loads(courses.read("report/metrics.json"))["loss"]


def test_the_model_beats_popularity_and_popularity_beats_random(courses: Version) -> None:
    baselines = courses.manifest.baselines
    ours = courses.manifest.variants["lightgcn"].metrics
    for split in ("validation", "test"):
        for metric in ("recall@10", "ndcg@10"):
            popularity, chance = (
                baselines[name][split][metric] for name in ("popularity", "random")
            )
            assert ours[split][metric] > 1.5 * popularity > 2 * chance


def test_every_model_of_the_mission_stands_in_one_version(courses: Version) -> None:
    variants = courses.manifest.variants
    assert set(variants) == {"lightgcn", "sage", "hybrid"}
    assert variants["lightgcn"].fold_in is not None
    for name, graph in (("sage", None), ("hybrid", "lightgcn")):
        model = variants[name].model
        assert model is not None
        assert (model.kind, model.graph) == (name, graph)
        assert len(courses.read(model.file)) > 1000
    found = {name: each.metrics["validation"]["ndcg@10"] for name, each in variants.items()}
    assert found[courses.manifest.default_variant] == max(found.values())


def test_every_fitted_variant_tells_its_validations(courses: Version) -> None:
    """The last one of what validation did not tune afterwards is the metric that is published."""
    report = json.loads(courses.read("report/metrics.json"))
    config = courses.manifest.config
    for name, validations in report["validations"].items():
        training = config[name]["training"]
        every = range(5, training["epochs"] + 1, 5)
        assert [epoch for epoch, _ in validations] == list(every)
        assert len(report["loss"][name]) == training["epochs"]
        assert f"report/validation-{name}.png" in courses.manifest.files
        if name != "hybrid" and training["epochs"] % 5 == 0:
            published = courses.manifest.variants[name].metrics["validation"]["ndcg@10"]
            assert validations[-1][1] == pytest.approx(published, abs=1e-6)
    assert set(report["validations"]) == {"lightgcn", "sage", "hybrid"}


def test_the_hybrid_is_no_worse_than_its_graph_on_validation(courses: Version) -> None:
    metrics = {name: entry.metrics for name, entry in courses.manifest.variants.items()}
    ours, graph = (metrics[name]["validation"]["ndcg@10"] for name in ("hybrid", "lightgcn"))
    assert ours >= graph - 1e-9


def test_golden_answers_are_those_of_the_exported_embeddings(courses: Version) -> None:
    golden = json.loads(courses.read("golden.json"))
    assert len(golden["queries"]) == 16 * len(courses.manifest.variants)
    for query in golden["queries"]:
        users, items = courses.embeddings(query["variant"])
        user = users[courses.user_ids.index(query["user_id"])]
        rows = np.array([courses.item_ids.index(item) for item in query["item_ids"]])
        np.testing.assert_allclose(exact_scores(user[None], items, rows[None])[0], query["scores"])


def test_the_same_configuration_trains_the_same_version(courses: Version, tmp_path: Path) -> None:
    again = run(WORLD, tmp_path)
    assert again.manifest.files == courses.manifest.files
    assert again.name[-8:] == courses.name[-8:]


@pytest.mark.parametrize("name", ["a", "b"])
def test_the_toys_train_and_recommend_within_their_components(name: str, tmp_path: Path) -> None:
    """In toy A user U1 shares an item with U0, so U0's other item is their best unseen one."""
    version = run(toy_graphs.toy_graph(name), tmp_path)
    version.verify()
    if name == "a":
        users, items = version.embeddings("lightgcn")
        scores = items @ users[version.user_ids.index("U1")]
        scores[version.item_ids.index("I1")] = -np.inf
        assert version.item_ids[int(scores.argmax())] == "I0"


def test_the_toys_are_the_graphs_they_are_known_as(tmp_path: Path) -> None:
    sample.write(toy_graphs.toy_graph("b"), tmp_path)
    dataset = load_dataset(load(tmp_path / sample.CONFIG), tmp_path)
    assert len(dataset.train) == 12
    assert dataset.user_ids == ["U0", "U1", "U2", "U3", "U4"]
    assert toy_graphs.toy_graph("a").tables["users.csv"].shape == (5, 9)
    assert toy_graphs.toy_graph("b").tables["items.csv"].row(9) == ("I9", 0.33, 0.33, 0.33)
    with pytest.raises(InvalidConfig, match="no toy 'z'"):
        toy_graphs.toy_graph("z")


def test_generate_is_deterministic_and_exact_in_its_counts(tmp_path: Path) -> None:
    for name, seed in (("one", 5), ("two", 5), ("three", 6)):
        sample.write(sample_courses(50, 30, 700, seed), tmp_path / name)
    contents = [
        {path.name: path.read_bytes() for path in sorted((tmp_path / name).iterdir())}
        for name in ("one", "two", "three")
    ]
    assert contents[0] == contents[1] != contents[2]
    lines = contents[0]["enrolments.csv"].decode().splitlines()
    assert len(lines) == len(set(lines)) == 701
    with pytest.raises(InvalidConfig, match="at most 750 fit"):
        sample_courses(50, 30, 751, 0)


def test_a_training_that_fails_leaves_no_trace(tmp_path: Path) -> None:
    sample.write(toy_graphs.toy_graph("b"), tmp_path / "data")
    path = tmp_path / "data" / sample.CONFIG
    text = path.read_text().replace("[lightgcn]\n", "[lightgcn]\ninit_std = 1e30\n")
    path.write_text(text)
    store = ModelStore(tmp_path / "registry", "toy-b")
    with pytest.raises(TrainingDiverged):
        train(load(path), tmp_path / "data", store, Silent())
    assert not (tmp_path / "registry").exists()
