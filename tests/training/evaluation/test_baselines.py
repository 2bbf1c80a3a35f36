from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gnnrec_registry import VariantExport
from gnnrec_training.config import Config, EaseConfig
from gnnrec_training.data.dataset import Dataset, Interactions
from gnnrec_training.evaluation.baselines import baselines
from gnnrec_training.reporter import Silent
from tests.training.boards import interactions, random_interactions

USERS, ITEMS = 40, 25
CONFIG = Config.model_validate({"name": "x", "data": {"interactions": "-"}, "ease": {}})
TRAIN = random_interactions(USERS, ITEMS, 250, 0)
HAD = np.zeros((USERS, ITEMS), bool)
HAD[TRAIN.user_rows, TRAIN.item_rows] = True


def dataset(**parts: Interactions) -> Dataset:
    users, items = [f"u{row}" for row in range(USERS)], [f"i{row}" for row in range(ITEMS)]
    given: dict[str, Any] = {"train": TRAIN, **parts}
    return Dataset("x", users, items, **given)


def not_had(share: int) -> Interactions:
    """Return every `share`-th pair that is not in training."""
    pairs = [(int(user), int(item)) for user, item in np.argwhere(~HAD)]
    return interactions(pairs[::share])


def scores(model: VariantExport) -> np.ndarray:
    """Return all scores: (U, I)."""
    found: np.ndarray = model.users.astype(np.float64) @ model.items.T
    if model.lists is not None:
        lists = np.zeros((ITEMS, ITEMS))
        of = np.repeat(np.arange(ITEMS), np.diff(model.lists.indptr))
        lists[of, model.lists.items] = model.lists.weights
        found = found + HAD @ lists
    return found


@pytest.fixture(scope="module")
def made() -> dict[str, VariantExport]:
    return baselines(CONFIG, dataset(), Silent())


def test_the_baselines_are_those_that_are_named(made: dict[str, VariantExport]) -> None:
    names = ["random", "popularity", "item-knn", "als-64", "ease-default", "spectral-64"]
    assert list(made) == names


@pytest.mark.parametrize("part", ["validation", "test", "seen_only", "seen_later"])
def test_each_baseline_knows_the_training_part_alone(
    part: str, made: dict[str, VariantExport]
) -> None:
    """Whatever else there is, pairs that people did not like included."""
    again = baselines(CONFIG, dataset(**{part: not_had(3)}), Silent())
    for name, model in made.items():
        np.testing.assert_array_equal(scores(model), scores(again[name]), name)


def test_all_interactions_count_alike_whatever_the_configuration(
    made: dict[str, VariantExport],
) -> None:
    """Weights, times and the settings of what is trained make no difference, but for the seed."""
    even = replace(TRAIN, weights=np.ones_like(TRAIN.weights))
    other = Config.model_validate(
        {
            "name": "y",
            "data": {"interactions": "-", "weight_column": "w", "min_weight": 2},
            "graph": {"weighted": True, "disliked_weight": 1},
            "spectral": {"embedding_dim": 3},
            "evaluation": {"k": [1]},
        }
    )
    again = baselines(other, dataset(train=even), Silent())
    for name, model in made.items():
        np.testing.assert_array_equal(scores(model), scores(again[name]), name)


def test_item_knn_is_the_sum_of_cosines_with_what_a_user_had(
    made: dict[str, VariantExport],
) -> None:
    """Each item had counts for its 100 nearest, which are all of so few."""
    columns = HAD / np.linalg.norm(HAD, axis=0)
    cosines = columns.T @ columns
    np.fill_diagonal(cosines, 0)
    expected = HAD @ cosines
    ours = scores(made["item-knn"])
    reached = (expected > 0) & ~HAD
    # popularity, below all cosines, only orders what no cosine reaches
    least = cosines[cosines > 0].min() / 2
    popularity = HAD.sum(0) / HAD.sum(0).max()
    np.testing.assert_allclose(ours, expected + least * popularity, atol=1e-4)
    assert reached.any()


def test_ease_and_popularity_are_what_their_names_say(made: dict[str, VariantExport]) -> None:
    np.testing.assert_array_equal(scores(made["popularity"])[3], HAD.sum(0))
    gram = HAD.T.astype(float) @ HAD
    penalty = EaseConfig().penalty * np.diag(gram).mean()
    inverse = np.linalg.inv(gram + penalty * np.eye(ITEMS))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    ours = scores(made["ease-default"])
    np.testing.assert_allclose(ours[~HAD], (HAD @ weights)[~HAD], atol=1e-4)


def test_people_without_interactions_are_ranked_by_every_baseline_as_the_others_are() -> None:
    """Not by the order of the items, which would make them a baseline that is easily beaten."""
    some = dataset(train=TRAIN.take(TRAIN.user_rows >= 10), test=not_had(3))
    found = baselines(CONFIG, some, Silent())
    for name in ("als-64", "ease-default", "spectral-64"):
        mean = scores(found[name])[10:].mean(axis=0)
        np.testing.assert_allclose(scores(found[name])[0], mean, rtol=1e-4, atol=1e-5)
