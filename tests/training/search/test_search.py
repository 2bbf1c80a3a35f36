from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gnnrec_training.config import Config
from gnnrec_training.data.dataset import Dataset
from gnnrec_training.errors import InvalidConfig, TrainingDiverged
from gnnrec_training.export.closed_forms import ClosedForms
from gnnrec_training.export.variants import build_variants
from gnnrec_training.fitting.checkpoint import Checkpoints
from gnnrec_training.reporter import Silent
from gnnrec_training.search.search import Found, search
from tests.training.boards import interactions
from tests.training.search.tastes import config, nothing, tastes

DATA = tastes()
QUICK = ("ease", "spectral", "als", "cooccurrence")


def still() -> float:
    """Return the time of a clock that stands, so that no machine is too slow for the plan."""
    return 0.0


def found(folder: Path, dataset: Dataset = DATA, *, resume: bool = False, **keys: Any) -> Found:
    kept = Checkpoints(folder, {"config": 1}, Silent(), resume=resume)
    return search(config(**keys), dataset, Path(), Silent(), kept, still)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return found(tmp_path_factory.mktemp("quick"), minutes=0.1, models=QUICK)


def same(first: Found, second: Found) -> bool:
    """Tell whether two searches chose the same models, to the last bit."""
    return first.config == second.config and all(
        np.array_equal(model.users, second.built.variants[name].users)
        and np.array_equal(model.items, second.built.variants[name].items)
        for name, model in first.built.variants.items()
    )


def without_times(found: Found) -> list[Any]:
    return [replace(trial, seconds=0) for trial in found.trials]


def test_what_is_found_is_a_configuration_that_is_trained_without_a_search(quick: Found) -> None:
    assert quick.config.search is None
    again = build_variants(quick.config, DATA, Path(), Silent())
    assert set(again.variants) == set(quick.built.variants)
    for name, model in again.variants.items():
        assert np.array_equal(model.users, quick.built.variants[name].users)
        assert np.array_equal(model.items, quick.built.variants[name].items)


def test_every_kind_that_was_planned_is_tried_defaults_first(quick: Found) -> None:
    tried = [trial.model for trial in quick.trials if trial.stage == "models"]
    assert list(dict.fromkeys(tried)) == list(QUICK)
    assert quick.why.startswith(str(quick.config.serve))


def test_a_search_repeated_is_the_same_to_the_last_bit(tmp_path: Path, quick: Found) -> None:
    again = found(tmp_path, minutes=0.1, models=QUICK)
    assert same(quick, again)
    assert without_times(quick) == without_times(again)


def test_the_test_part_has_no_influence(tmp_path: Path, quick: Found) -> None:
    other = found(tmp_path, replace(DATA, test=nothing()), minutes=0.1, models=QUICK)
    assert same(quick, other)


def test_an_interrupted_search_goes_on_to_the_same_end(
    tmp_path: Path, quick: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stops(Silent):
        """Stops the search as Ctrl-C does, once ten trials are done."""

        def advance(self, done: float, note: str = "") -> None:
            if note and done >= 10:
                raise KeyboardInterrupt

    hours = iter(range(0, 10**9, 3_600))
    kept = Checkpoints(tmp_path, {}, Silent(), resume=False, clock=lambda: float(next(hours)))
    asked = config(minutes=0.1, models=QUICK)
    with pytest.raises(KeyboardInterrupt):
        search(asked, DATA, Path(), Stops(), kept, still)
    kept = Checkpoints(tmp_path, {}, Silent(), resume=True)
    resumed = search(asked, DATA, Path(), Silent(), kept, still)
    assert same(quick, resumed)
    assert len(resumed.trials) == len(quick.trials)


def test_without_minutes_each_kind_is_tried_once_lightgcn_too(tmp_path: Path) -> None:
    once = found(tmp_path, minutes=0)
    beside = ("graph", "fusion")
    models = [(trial.stage, trial.model) for trial in once.trials if trial.stage not in beside]
    assert models == [*(("models", name) for name in QUICK), ("full", "lightgcn")]


def test_lightgcn_has_short_trials_and_one_in_full(tmp_path: Path) -> None:
    tried = found(tmp_path, minutes=0.5, models=["lightgcn"])
    short = [trial for trial in tried.trials if trial.stage == "models"]
    (full,) = [trial for trial in tried.trials if trial.stage == "full"]
    assert len(short) > 1
    assert full.settings in [trial.settings for trial in short]
    assert tried.config.serve == "lightgcn"
    assert tried.built.epochs["lightgcn"] > 0


def test_settings_of_a_key_that_the_user_set_are_kept(tmp_path: Path) -> None:
    asked = Config.model_validate(
        {**config(minutes=0, models=["spectral"]).model_dump(exclude_unset=True), "seed": 5}
    )
    kept = Checkpoints(tmp_path, {}, Silent(), resume=False)
    assert search(asked, DATA, Path(), Silent(), kept, still).config.seed == 5


def test_disliked_items_may_count_in_the_graph(tmp_path: Path) -> None:
    """People dislike items of their own taste alone: these tell what they like."""
    disliked = interactions([(u, i) for u in range(0, 60, 3) for i in range(40) if u % 2 == i % 2])
    had = set(zip(DATA.train.user_rows.tolist(), DATA.train.item_rows.tolist(), strict=True))
    pairs = [
        (int(u), int(i))
        for u, i in zip(disliked.user_rows, disliked.item_rows, strict=True)
        if (u, i) not in had
    ]
    data = replace(DATA, seen_only=interactions(pairs))
    values = config(minutes=0.2, models=["ease", "spectral"]).model_dump(exclude_unset=True)
    values["data"] = {"interactions": "-", "weight_column": "stars", "min_weight": 3}
    kept = Checkpoints(tmp_path, {}, Silent(), resume=False)
    tried = search(Config.model_validate(values), data, Path(), Silent(), kept, still)
    graphs = [trial.settings for trial in tried.trials if trial.stage == "graph"]
    assert [graph.get("disliked_weight", 0.75) for graph in graphs] == [0.75, 0.5, 0.25, 1.0, 0.0]
    assert tried.config.graph.disliked_weight > 0


def test_a_search_with_nobody_to_ask_says_so_before_it_tries_anything(tmp_path: Path) -> None:
    """As with a split by time, where everybody in the validation part came later."""
    strangers = replace(DATA.validation, user_rows=DATA.validation.user_rows + len(DATA.user_ids))
    with pytest.raises(InvalidConfig, match=r"nobody to ask.* take another split.method"):
        found(tmp_path, replace(DATA, validation=strangers), minutes=0)


def test_a_search_where_every_model_fails_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise TrainingDiverged("the numbers are not finite")

    monkeypatch.setattr(ClosedForms, "ease", fail)
    with pytest.raises(InvalidConfig, match="found no model: ease: the numbers are not finite"):
        found(tmp_path, minutes=0.1, models=["ease"])
