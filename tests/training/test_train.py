import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gnnrec_registry import ModelStore, Version
from gnnrec_registry.scoring.ranking import exact_scores
from gnnrec_training.config import Config, load
from gnnrec_training.data.load import load_dataset, read_data
from gnnrec_training.data.samples import sample, toy_graphs
from gnnrec_training.data.samples.courses import sample_courses
from gnnrec_training.errors import InvalidConfig, TrainingDiverged
from gnnrec_training.export.variants import build_variants
from gnnrec_training.reporter import Silent
from gnnrec_training.train import train

WORLD = sample_courses(300, 200, 6000, 0)


def run(made: sample.Sample, folder: Path) -> Version:
    """Train on a sample, and publish what was measured; every five epochs validation looks."""
    sample.write(made, folder / "data")
    path = folder / "data" / sample.CONFIG
    often = "training]\npatience = 0\nvalidate_every = 5\n"
    text = path.read_text().replace("training]\n", often)
    missing = [name for name in ("sage", "hybrid") if f"[{name}]" in text]
    text += "".join(f"\n[{name}.{often}" for name in missing)
    path.write_text("refit = false\n" + text)
    config = load(path)
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
    names = {"random", "popularity", "item-knn", "als-64", "ease-default", "spectral-64"}
    assert set(baselines) == names
    for metric in ("recall@10", "ndcg@10"):
        popularity, chance = (baselines[name]["test"][metric] for name in ("popularity", "random"))
        for split in ("validation", "test"):
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


def board(folder: Path, **sections: Any) -> Version:
    """Train on a board where even users like even items, in the order of the diagonals."""
    size = 40
    pairs = [(u, (u + 2 * d) % size) for d in range(size // 2) for u in range(size)]
    rows = [f"u{u},i{i},{place}\n" for place, (u, i) in enumerate(pairs) if (u * i) % 7]
    (folder / "board.csv").write_text("user_id,item_id,at\n" + "".join(rows))
    raw = {
        "name": "board",
        "data": {"interactions": "board.csv", "time_column": "at"},
        "evaluation": {"k": [5]},
        **sections,
    }
    config = Config.model_validate(raw)
    store = ModelStore(folder / "registry", "board")
    return train(config, folder, store, Silent()).version


EASE: dict[str, Any] = {"ease": {}, "cooccurrence": {}, "serve": "ease"}
LIGHTGCN: dict[str, Any] = {
    "lightgcn": {"embedding_dim": 8, "training": {"epochs": 12, "validate_every": 2}}
}


def test_what_is_published_is_fitted_once_more_on_everything(tmp_path: Path) -> None:
    """Items of the validation and test parts are seen, and are what the graph has."""
    version = board(tmp_path, **EASE)
    counts = version.manifest.data.interactions
    total = sum(counts.values())
    assert counts["validation"] > 0
    assert counts["test"] > 0
    assert len(version.seen[1]) == total
    assert version.liked is None, "all of them are interactions of the graph"
    fits = version.manifest.fits
    assert fits is not None
    assert (fits.measured.interactions, fits.published.interactions) == (counts["train"], total)
    assert fits.shared is not None
    assert 0.1 <= fits.shared <= 1
    config = Config.model_validate({**version.manifest.config, "refit": False})
    whole = read_data(config, tmp_path).whole()
    again = build_variants(config, whole, tmp_path, Silent()).variants["ease"]
    users, items = version.embeddings("ease")
    np.testing.assert_array_equal(users, again.users)
    np.testing.assert_array_equal(items, again.items)


def test_without_refit_what_was_measured_is_published(tmp_path: Path) -> None:
    version = board(tmp_path, refit=False, **EASE)
    counts = version.manifest.data.interactions
    fits = version.manifest.fits
    assert fits is not None
    assert fits.measured == fits.published
    assert fits.published.interactions == counts["train"]
    assert fits.shared is None
    assert version.liked is not None
    assert version.liked.sum() == counts["train"]
    assert len(version.seen[1]) == counts["train"] + counts["validation"]
    config = Config.model_validate(version.manifest.config)
    split = load_dataset(config, tmp_path)
    users, items = version.embeddings("ease")
    again = build_variants(config, split, tmp_path, Silent()).variants["ease"]
    np.testing.assert_array_equal(users, again.users)
    np.testing.assert_array_equal(items, again.items)


def test_refit_changes_neither_metrics_nor_verdict_nor_what_is_served(tmp_path: Path) -> None:
    found = []
    for name, refit in (("with", True), ("without", False)):
        (tmp_path / name).mkdir()
        found.append(board(tmp_path / name, refit=refit, **EASE).manifest)
    first, second = found
    assert {name: each.metrics for name, each in first.variants.items()} == {
        name: each.metrics for name, each in second.variants.items()
    }
    assert first.baselines == second.baselines
    assert first.verdict == second.verdict
    assert first.default_variant == second.default_variant
    assert first.data.fingerprint == second.data.fingerprint


def test_the_second_fit_has_the_epochs_that_validation_chose(tmp_path: Path) -> None:
    version = board(tmp_path, **LIGHTGCN)
    fits = version.manifest.fits
    assert fits is not None
    report = json.loads(version.read("report/metrics.json"))
    validations = report["validations"]["lightgcn"]
    best = max(validations, key=lambda entry: entry[1])[0]
    assert fits.measured.epochs == {"lightgcn": best}
    assert fits.published.epochs == fits.measured.epochs
    assert len(report["loss"]["lightgcn"]) >= best, "the losses are those of the first fit"


def test_with_nothing_held_out_there_is_one_fit(tmp_path: Path) -> None:
    version = board(tmp_path, split={"test": 0, "validation": 0}, **EASE)
    fits = version.manifest.fits
    assert fits is not None
    assert fits.measured == fits.published
    assert fits.shared is None


def test_a_training_that_fails_leaves_no_trace(tmp_path: Path) -> None:
    sample.write(toy_graphs.toy_graph("b"), tmp_path / "data")
    path = tmp_path / "data" / sample.CONFIG
    text = path.read_text().replace("[lightgcn]\n", "[lightgcn]\ninit_std = 1e30\n")
    text = text.replace("[lightgcn.training]\n", '[lightgcn.training]\nloss = "bpr"\n')
    path.write_text(text)
    store = ModelStore(tmp_path / "registry", "toy-b")
    with pytest.raises(TrainingDiverged):
        train(load(path), tmp_path / "data", store, Silent())
    assert not (tmp_path / "registry").exists()
