"""What training gives without any setting: python -m benchmarks.untuned [--minutes M] [DATA ...].

DATA: names of the cases below, configurations (.toml) with data and split alone, or files with
interactions; by default all cases for which GNNREC_DATA has the data. M: minutes of the search; by
default those that follow from the data, and 0 besides.

Beside it stand popularity, item-kNN, ALS, EASE and the closed form, each at the best of five
settings. They know the same interactions: settings are chosen by NDCG on the validation part, and
the chosen model is fitted on train and validation together and measured once on the test part, as
the search does. The interval is that of the difference by user to the best of them.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import report
from gnnrec.training.run import configured
from gnnrec_registry import ModelStore, VariantExport, Version
from gnnrec_training.config import (
    AlsConfig,
    Config,
    CooccurrenceConfig,
    EaseConfig,
    GraphConfig,
    SpectralConfig,
)
from gnnrec_training.data.dataset import Dataset, Interactions
from gnnrec_training.data.load import read_data
from gnnrec_training.evaluation.baselines import popularity
from gnnrec_training.evaluation.intervals import PerUser, paired_difference
from gnnrec_training.evaluation.measurement import judged_by
from gnnrec_training.evaluation.ranking import evaluate, heldout
from gnnrec_training.evaluation.seen import Split, history, seen_before
from gnnrec_training.export.closed_forms import ClosedForms
from gnnrec_training.graph.edges import evidence
from gnnrec_training.graph.sparse import Csr, by_user
from gnnrec_training.reporter import Silent
from gnnrec_training.train import train

Made = Callable[[Dataset], VariantExport]
"""made(dataset) -> a model that was fitted on its training part."""

_MOVIES = ("ratings.csv.gz", "movies.csv.gz", "tags.csv.gz")
_HUNDRED = ("ml-100k.inter.gz", "ml-100k.item.gz", "ml-100k.user.gz")
_FILES: dict[str, tuple[str, tuple[str, ...]]] = {
    "shop": ("shop", ("purchases.csv", "products.csv")),
    "ml-latest-small": ("ml-latest-small", _MOVIES),
    "ml-100k": ("ml-100k", _HUNDRED),
}
_GIVEN: dict[str, dict[str, Any]] = {
    "lastfm": {
        "data": {"interactions": "train.csv.gz", "test": "test.csv.gz", "weight_column": "plays"},
    },
    "gowalla": {
        "data": {"interactions": "train.txt.gz", "test": "test.txt.gz"},
        "evaluation": {"k": [20]},
    },
}
CASES = (
    "shop", "ml-latest-small/random", "ml-latest-small/time", "ml-100k/random", "ml-100k/time",
    "lastfm", "gowalla",
)  # fmt: skip


def case(name: str) -> tuple[Config, Path]:
    """Return the configuration of data and split, and the folder that its paths start from."""
    if name not in CASES:
        return configured([name], lambda line: None)
    data = Path(os.environ["GNNREC_DATA"])
    title, _, method = name.partition("/")
    if title in _GIVEN:
        values = {"name": title, "split": {"method": "given"}, **_GIVEN[title]}
        values["data"] = {**values["data"], "folder": str(data / title)}
        return Config.model_validate(values), Path()
    folder, files = _FILES[title]
    config, beside = configured([str(data / folder / file) for file in files], lambda line: None)
    return (with_values(config, split={"method": method}) if method else config), beside


def with_values(config: Config, **values: Any) -> Config:
    return Config.model_validate({**config.model_dump(exclude_unset=True), **values})


def rivals() -> Iterator[tuple[str, str, Made]]:
    """Yield the name of each simple model, one of its settings, and what makes it."""
    yield "popularity", "", most_popular
    for users, items in ((0, 0.5), (0, 0.3), (0.5, 0.5), (0.5, 0.3), (1, 0.5)):
        knn = CooccurrenceConfig(user_exponent=users, history_exponent=items, item_exponent=items)
        yield "item-kNN", f"{users} {items}", closed("cooccurrence", knn)
    for confidence, penalty in ((1, 3), (1, 10), (3, 10), (3, 30), (10, 30)):
        factors = AlsConfig(embedding_dim=64, confidence=confidence, penalty=penalty)
        yield "ALS", f"{confidence} {penalty}", closed("als", factors)
    for penalty in (1, 3, 10, 30, 100):
        yield "EASE", f"{penalty}", closed("ease", EaseConfig(penalty=penalty, embedding_dim=1024))
    for exponent in (0.0, 0.25, 0.5, 0.75, 1.0):
        spectral = SpectralConfig(embedding_dim=64, output_exponent=exponent)
        yield "closed form", f"{exponent}", closed("spectral", spectral)


def most_popular(dataset: Dataset) -> VariantExport:
    return VariantExport(*popularity(liked(dataset), *size(dataset)))


def closed(name: str, settings: Any) -> Made:
    def made(dataset: Dataset) -> VariantExport:
        if "embedding_dim" in type(settings).model_fields:
            width = min(settings.embedding_dim, len(dataset.item_ids))
            fitting = settings.model_copy(update={"embedding_dim": width})
        else:
            fitting = settings
        forms = ClosedForms(liked(dataset), *size(dataset), 0, weighted=False)
        model: VariantExport = getattr(forms, name)(fitting)
        return model

    return made


def liked(dataset: Dataset) -> Interactions:
    return evidence(dataset, GraphConfig(disliked_weight=0))


def had_and_liked(dataset: Dataset) -> Csr:
    return by_user(liked(dataset), len(dataset.user_ids)).positive()


def size(dataset: Dataset) -> tuple[int, int]:
    return len(dataset.user_ids), len(dataset.item_ids)


class Part:
    """The validation or the test part of a data set."""

    def __init__(self, config: Config, dataset: Dataset, name: Split, had: Csr) -> None:
        """Measure with what users had before the part left out; had: whose item lists count."""
        wanted = dataset.test if name == "test" else dataset.validation
        self.metrics, self.k = judged_by(config), config.evaluation.k[0]
        self.seen, self.had = seen_before(dataset, name), had
        self.held_out = heldout(wanted, *size(dataset))

    def measure(self, model: VariantExport) -> dict[str, PerUser]:
        """Return NDCG and recall of each user."""
        found = evaluate(
            model.users, np.ascontiguousarray(model.items), self.seen, self.held_out, (self.k,),
            lists=model.lists, history=self.had,
        ).per_user  # fmt: skip
        return {metric: found[metric] for metric in self.metrics}


def best_rivals(
    config: Config, choices: Dataset, before_test: Dataset
) -> dict[str, tuple[str, dict[str, PerUser]]]:
    """Return the best setting of each simple model, and its test metrics of each user."""
    validation = Part(config, choices, "validation", had_and_liked(choices))
    test = Part(config, before_test, "test", had_and_liked(before_test))
    ndcg, _ = validation.metrics
    best: dict[str, tuple[float, str, Made]] = {}
    for name, setting, made in rivals():
        score = float(validation.measure(made(choices))[ndcg].mean())
        if name not in best or score > best[name][0]:
            best[name] = score, setting, made
    return {
        name: (setting, test.measure(made(before_test)))
        for name, (_, setting, made) in best.items()
    }


def served(version: Version) -> VariantExport:
    """Return the default variant of a version as it was measured."""
    name = version.manifest.default_variant
    users, items = version.embeddings(name)
    return VariantExport(np.array(users), np.array(items), lists=version.lists(name))


def rows(name: str, minutes: list[float | None]) -> list[list[object]]:
    """Measure a case: a row for each of the minutes, None for those that follow from the data."""
    config, beside = case(name)
    data = read_data(config, beside, Silent())
    choices, before_test = data.split(), data.before_test()
    simple = best_rivals(config, choices, before_test)
    ndcg, recall = judged_by(config)
    found = []
    for length in minutes:
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            searched = with_values(config, search={"minutes": length}, refit=False)
            outcome = train(searched, beside, ModelStore(folder, config.name), Silent())
            manifest, seconds = outcome.version.manifest, time.monotonic() - started
            as_trained = Config.model_validate(manifest.config)
            had = history(as_trained, before_test)
            ours = Part(as_trained, before_test, "test", had).measure(served(outcome.version))
        search = manifest.search
        assert search is not None
        for metric in (ndcg, recall):
            rival = max(simple, key=lambda name: float(simple[name][1][metric].mean()))
            setting, theirs = simple[rival]
            more = paired_difference(ours[metric], theirs[metric])
            found.append(
                [
                    name, search["minutes"], round(seconds), len(search["trials"]),
                    models(manifest.config), metric, round(float(ours[metric].mean()), 4),
                    f"{rival} {setting}".strip(), round(float(theirs[metric].mean()), 4),
                    round(float(ours[metric].mean() / theirs[metric].mean()), 3),
                    f"{more.low:+.4f} to {more.high:+.4f}",
                ]
            )  # fmt: skip
    return found


def models(config: dict[str, Any]) -> str:
    fusion = config["fusion"]
    if fusion is None:
        return str(config["serve"])
    return " + ".join(f"{weight:g} {name}" for name, weight in fusion["weights"].items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="*", default=list(CASES))
    parser.add_argument("--minutes", type=float, action="append")
    chosen = parser.parse_args()
    header = [
        "data", "minutes", "seconds", "trials", "chosen", "metric", "untuned", "best simple model",
        "its best of 5", "ratio", "difference (95%)",
    ]  # fmt: skip
    for name in chosen.data:
        report(f"untuned: {name}", header, rows(name, chosen.minutes or [None, 0]))


if __name__ == "__main__":
    main()
