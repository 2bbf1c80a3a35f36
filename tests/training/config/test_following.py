"""A configuration that takes over the models of a version."""

from typing import Any

import pytest

from gnnrec_training.config import Config, resolve
from gnnrec_training.config.following import following
from gnnrec_training.errors import InvalidConfig

DATA: dict[str, Any] = {"name": "shop", "data": {"interactions": "-", "time_column": "t"}}


def asked(**sections: object) -> Config:
    return resolve(DATA | sections, "test")


def made_with(**sections: object) -> dict[str, Any]:
    return asked(**sections).model_dump(mode="json")


def test_models_graph_and_what_is_served_follow_the_version() -> None:
    version = made_with(
        lightgcn={"embedding_dim": 32, "training": {"epochs": 7}},
        ease={"penalty": 3.0},
        fusion={"weights": {"lightgcn": 1.0, "ease": 0.5}},
        graph={"half_life_days": 30.0},
    )
    ours = asked(split={"method": "time"}, seed=3, evaluation={"k": [5]}, refit=False)
    config = following(ours, "v", version, "fused")
    for section in ("lightgcn", "ease", "fusion", "graph"):
        assert config.model_dump(mode="json")[section] == version[section]
    assert config.serve == "fused"
    assert (config.split.method, config.seed, config.evaluation.k) == ("time", 3, (5,))
    assert not config.refit
    assert config.search is None


def test_ages_count_from_the_moment_of_the_data_of_today() -> None:
    version = made_with(ease={}, graph={"half_life_days": 30.0, "as_of": 5.0})
    assert following(asked(), "v", version, "ease").graph.as_of is None


def test_a_configuration_that_names_models_keeps_them() -> None:
    ours = asked(spectral={})
    assert following(ours, "v", made_with(ease={}), "ease") is ours


def test_a_search_is_refused() -> None:
    with pytest.raises(InvalidConfig, match=r"remove \[search\] to take over the models of the v"):
        following(asked(search={}), "v", made_with(ease={}), "ease")


@pytest.mark.parametrize(
    ("version", "problem"),
    [
        ({"name": "shop"}, "version v does not say what models it has"),
        ({"ease": {"strength": 3}}, "the models of version v this .*: ease.strength is no key"),
        ({"ease": {"penalty": None}}, "version v .*: ease.penalty: "),
        ({"ease": {}, "graph": {"weighted": True}}, "version v .* need data.weight_column"),
        ({"sage": {}}, "version v .* know nodes by their features"),
    ],
)
def test_what_cannot_be_taken_over_is_one_line(version: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidConfig, match=problem) as error:
        following(asked(), "v", version, "ease")
    assert "\n" not in str(error.value)
