import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnnrec_training.config import Config
from gnnrec_training.config.defaults import (
    Figures,
    als_dim,
    defaults,
    ease_dim,
    lightgcn_dim,
    lightgcn_fit,
    node_fit,
    pair_fit,
    spectral_dim,
    with_defaults,
)
from gnnrec_training.errors import InvalidConfig

SHOP = Figures(users=1000, items=700, catalogue=800, interactions=12_000)
ITEMS = {"file": "items.csv", "features": [{"name": "x", "kind": "numeric"}]}
ALL: dict[str, Any] = {
    name: {} for name in ("spectral", "ease", "als", "cooccurrence", "lightgcn", "sage", "hybrid")
}


def config(**sections: object) -> Config:
    data = {"interactions": "data.csv", "items": ITEMS}
    return Config.model_validate({"name": "toy", "data": data, **sections})


@st.composite
def figures(draw: st.DrawFn) -> Figures:
    users, items = draw(st.integers(1, 10**7)), draw(st.integers(1, 10**6))
    return Figures(
        users=users,
        items=items,
        catalogue=items + draw(st.integers(0, 10**6)),
        interactions=draw(st.integers(max(users, items), users * items)),
    )


def is_power_of_two(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0


@given(figures())
def test_widths_stay_within_their_bounds_and_the_catalogue(found: Figures) -> None:
    assert 1 <= spectral_dim(found) <= min(1024, max(1, found.smaller // 4), found.catalogue)
    assert 1 <= ease_dim(found) <= min(512, found.catalogue)
    assert 1 <= als_dim(found) <= min(128, found.catalogue)
    assert 64 <= lightgcn_dim(found) <= 256
    assert is_power_of_two(lightgcn_dim(found))


@given(figures())
def test_what_epochs_follow_from_stays_within_its_bounds(found: Figures) -> None:
    for fit, batch, epochs in (
        (lightgcn_fit(found), (32, 1024), (10, 150)),
        (pair_fit(found), (256, 16_384), (10, 200)),
        (node_fit(found), (32, 256), (10, 60)),
    ):
        assert batch[0] <= fit["batch_size"] <= batch[1]
        assert is_power_of_two(fit["batch_size"])
        assert epochs[0] <= fit["epochs"] <= epochs[1]
        assert fit["validate_every"] == max(1, round(fit["epochs"] / 12))
    assert 256 <= lightgcn_fit(found)["negatives"] <= 4096
    assert pair_fit(found)["negatives"] == 1


@given(figures(), st.sampled_from(["softmax", "bsl", "bpr", "bce"]))
def test_any_figures_make_a_valid_configuration(found: Figures, loss: str) -> None:
    made = with_defaults(config(**ALL | {"lightgcn": {"training": {"loss": loss}}}), found)
    assert made.variants == tuple(ALL)
    assert with_defaults(made, found) == made, "what is filled in stays"


def test_the_rules_are_those_that_are_written() -> None:
    assert (spectral_dim(SHOP), ease_dim(SHOP), als_dim(SHOP)) == (32, 512, 64)
    large = Figures(users=30_000, items=40_000, catalogue=40_000, interactions=1_000_000)
    assert (spectral_dim(large), als_dim(large), lightgcn_dim(large)) == (1024, 128, 256)
    assert lightgcn_fit(large) == {
        "batch_size": 1024, "candidate_exponent": 0.7, "negatives": 4096,
        "learning_rate": 0.002, "temperature": 0.12,
        "epochs": round(750 / (30_000 / 1024)), "validate_every": 2,
    }  # fmt: skip
    assert pair_fit(large)["batch_size"] == 16_384
    assert node_fit(large)["batch_size"] == 256


def test_candidates_are_drawn_alike_where_people_had_more_than_one_item_in_500() -> None:
    for share, exponent in ((1 / 499, 0.0), (1 / 501, 0.7)):
        found = Figures(1000, 1000, 1000, math.ceil(share * 10**6))
        assert lightgcn_fit(found)["candidate_exponent"] == exponent


def test_what_follows_from_the_data_stands_in_the_configuration() -> None:
    made = with_defaults(config(**ALL), SHOP)
    for section, keys in defaults(SHOP, patient=True).items():
        model = getattr(made, section)
        for key, value in keys.items():
            if isinstance(value, dict):
                nested = getattr(model, key).model_dump()
                assert nested == nested | value, section
            else:
                assert getattr(model, key) == value, section


def test_what_does_not_follow_from_the_data_keeps_the_default_of_its_section() -> None:
    """The hybrid's learning rate too, though its section has a [hybrid.training] now."""
    base, made = config(**ALL), with_defaults(config(**ALL), SHOP)
    assert made.hybrid is not None
    assert made.hybrid.training.learning_rate == 0.003
    assert made.sage is not None
    assert made.sage.training.learning_rate == 0.005
    for section in ALL:
        before = getattr(base, section).model_dump()
        after = getattr(made, section).model_dump()
        filled = defaults(SHOP, patient=True).get(section, {})
        for key in before.keys() - filled.keys():
            assert after[key] == before[key], (section, key)
        if "training" in filled:
            for key in before["training"].keys() - filled["training"].keys():
                assert after["training"][key] == before["training"][key], (section, key)


def test_a_key_that_is_set_stays() -> None:
    """Even where it is set to the default of its section."""
    training = {"epochs": 3, "batch_size": 7, "patience": 0, "learning_rate": 0.5}
    made = with_defaults(
        config(
            spectral={"embedding_dim": 64},
            ease={"embedding_dim": 64, "penalty": 3.0},
            als={"embedding_dim": 5},
            lightgcn={"embedding_dim": 3, "training": training | {"negatives": 1024}},
            sage={"training": training | {"validate_every": 2}},
            hybrid={"training": training},
        ),
        SHOP,
    )
    assert made.spectral is not None
    assert made.spectral.embedding_dim == 64
    assert made.ease is not None
    assert (made.ease.embedding_dim, made.ease.penalty) == (64, 3)
    assert made.als is not None
    assert made.als.embedding_dim == 5
    assert made.lightgcn is not None
    assert (made.lightgcn.embedding_dim, made.lightgcn.training.negatives) == (3, 1024)
    assert made.sage is not None
    assert made.sage.training.validate_every == 2
    assert made.hybrid is not None
    for fit in (made.lightgcn.training, made.sage.training, made.hybrid.training):
        assert fit.model_dump() == fit.model_dump() | training


def test_validations_follow_from_the_epochs_that_are_configured() -> None:
    training = {"epochs": 60}
    made = with_defaults(config(lightgcn={"training": training}, sage={"training": training}), SHOP)
    assert made.lightgcn is not None
    assert made.sage is not None
    assert made.lightgcn.training.validate_every == made.sage.training.validate_every == 5


def test_no_model_means_a_search() -> None:
    made = with_defaults(config(), SHOP)
    assert made.search is not None
    assert made.variants == ()
    kept = with_defaults(config(search={"minutes": 3}), SHOP)
    assert kept.search is not None
    assert kept.search.minutes == 3
    assert with_defaults(config(ease={}), SHOP).search is None


def test_without_a_validation_part_nothing_is_patient() -> None:
    split = {"method": "random", "validation": 0}
    made = with_defaults(config(split=split, serve="lightgcn", **ALL), SHOP)
    patient = with_defaults(config(**ALL), SHOP)
    for name in ("lightgcn", "sage", "hybrid"):
        assert getattr(made, name).training.patience == 0
        assert getattr(patient, name).training.patience == 6


def test_no_model_and_no_validation_part_to_choose_one_on_is_an_error() -> None:
    with pytest.raises(InvalidConfig, match=r"no model is configured.*set split\.validation, or"):
        with_defaults(config(split={"method": "random", "validation": 0}), SHOP)


def test_nothing_but_the_models_changes() -> None:
    given = config(graph={"half_life_days": 9.0}, data={"interactions": "x", "time_column": "t",
                   "items": ITEMS}, seed=4, refit=False, **ALL)  # fmt: skip
    made = with_defaults(given, SHOP)
    for key in set(Config.model_fields) - set(ALL):
        assert getattr(made, key) == getattr(given, key), key
