"""The check of a version before a promotion."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gnnrec_registry import ModelStore, StartEntry, VerdictEntry
from gnnrec_registry.errors import NoSuchVersion, PromotionRefused
from gnnrec_registry.gate import check
from tests import made


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    made.publish(tmp_path, version="old", recall=0.5)
    store = ModelStore(tmp_path, "toy")
    store.aliases.promote("old", alias="production")
    return store


def publish(store: ModelStore, version: str, recall: float, **changed: Any) -> None:
    export = made.export(made.embeddings(5, 4), made.embeddings(30, 4), recall=recall)
    store.publish(replace(export, **changed), version=version)


@pytest.mark.parametrize(("recall", "tolerance"), [(0.5, 0.0), (0.48, 0.05), (0.9, 0.0)])
def test_what_is_no_worse_than_tolerated_passes(
    store: ModelStore, recall: float, tolerance: float
) -> None:
    publish(store, "new", recall)
    assert check(store, "new", alias="production", tolerance=tolerance) == (
        "compared with 'old' on test"
    )


def test_what_is_worse_is_refused_with_both_numbers(store: ModelStore) -> None:
    publish(store, "new", 0.4)
    with pytest.raises(PromotionRefused, match=r"recall@20 0\.4000, was 0\.5000.*5% is allowed"):
        check(store, "new", alias="production")
    assert "named nothing before" in check(store, "new", alias="canary")


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"config": {"split": {"method": "random"}}}, "splits"),
        ({"metric_definition": "another"}, "definitions of the metrics"),
        (
            {"start": StartEntry(version="old", epochs=2)},
            "held-out parts, for one is measured on what is new alone",
        ),
    ],
)
def test_what_was_measured_otherwise_is_not_compared_and_that_is_said(
    store: ModelStore, changed: dict[str, Any], what: str
) -> None:
    publish(store, "new", 0.1, **changed)
    note = check(store, "new", alias="production")
    assert note == f"not compared with 'old': other {what}"


def test_newer_data_are_compared_and_mentioned(store: ModelStore) -> None:
    data = made.export(made.embeddings(5, 4), made.embeddings(30, 4)).data
    publish(store, "new", 0.5, data=data.model_copy(update={"fingerprint": "1"}))
    note = check(store, "new", alias="production")
    assert note == "compared with 'old' on test, measured on other data"
    publish(store, "other", 0.5, data=data.model_copy(update={"name": "another"}))
    assert "other data sets" in check(store, "other", alias="production")


def judged(beats: bool) -> VerdictEntry:
    sentence = "lightgcn is served: NDCG@10 0.1 on test, 50% below popularity."
    return VerdictEntry(beats_baselines=beats, baseline="popularity", sentence=sentence)


@pytest.mark.parametrize("alias", ["production", "a new one"])
def test_what_does_not_beat_the_baselines_is_refused_at_its_first_promotion_too(
    store: ModelStore, alias: str
) -> None:
    publish(store, "new", 0.9, verdict=judged(beats=False))
    with pytest.raises(
        PromotionRefused,
        match=r"'new' does not beat the simple baseline 'popularity' \(lightgcn is served: .*50% "
        r"below popularity\); nothing was moved; .*--force --why",
    ):
        check(store, "new", alias=alias)


def test_what_beats_the_baselines_is_compared_as_ever(store: ModelStore) -> None:
    publish(store, "new", 0.5, verdict=judged(beats=True))
    assert check(store, "new", alias="production") == "compared with 'old' on test"
    publish(store, "worse", 0.4, verdict=judged(beats=True))
    with pytest.raises(PromotionRefused, match="recall@20 0"):
        check(store, "worse", alias="production")


def test_a_damaged_version_is_refused(store: ModelStore) -> None:
    publish(store, "new", 0.9)
    path = store.layout.version("new") / "users.ids"
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(PromotionRefused, match=r"users\.ids has .*--force --why"):
        check(store, "new", alias="production")
    with pytest.raises(NoSuchVersion):
        check(store, "none", alias="production")


def test_a_version_that_cannot_be_read_any_more_is_no_bar(store: ModelStore) -> None:
    publish(store, "new", 0.1)
    (store.layout.version("old") / "manifest.json").write_bytes(b"{")
    assert "not compared with 'old', which cannot be read" in check(
        store, "new", alias="production"
    )
