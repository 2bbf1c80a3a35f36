"""The served variant beside the baselines: what is said, and whether it may be promoted."""

import json
from typing import Any

import numpy as np
import pytest

from gnnrec_registry.files.json import canonical_json
from gnnrec_training.config import Config
from gnnrec_training.evaluation.intervals import mean_of, paired_difference
from gnnrec_training.evaluation.measurement import Measured
from gnnrec_training.evaluation.verdict import Verdict, judge

USERS = 400
HARD = np.random.default_rng(0).random(USERS)
"""How hard each user is: what every model has in common."""


def found(share: float, seed: int) -> np.ndarray:
    """Return an NDCG of each user whose mean is about a share of what could be found."""
    noise = np.random.default_rng(seed).normal(0, 0.02, USERS)
    return np.clip(share * HARD + noise, 0, 1)


def judged(
    shares: dict[str, float],
    *,
    split: str = "test",
    unknown: int = 0,
    models: tuple[str, ...] = ("lightgcn",),
    **settings: Any,
) -> Verdict:
    """Return the verdict on LightGCN where each model finds such shares."""
    raw = {"name": "x", "data": {"interactions": "none.csv"}, "evaluation": {"k": [10]}}
    config = Config.model_validate(raw | {name: {} for name in models} | settings)
    measured = Measured(unknown_users={split: unknown})
    for place, (name, share) in enumerate(shares.items()):
        values = found(share, place)
        measured.per_user[name] = {split: {"ndcg@10": values, "recall@10": values / 2}}
    verdict = judge(config, measured, "lightgcn")
    assert verdict is not None
    return verdict


def test_what_is_above_the_best_baseline_says_by_how_much_and_how_surely() -> None:
    verdict = judged({"lightgcn": 0.4, "random": 0.9, "popularity": 0.1, "ease": 0.36})
    assert (verdict.beats_baselines, verdict.clearly) == (True, True)
    assert verdict.best_baseline == "ease"
    ours, ease = found(0.4, 0), found(0.36, 3)
    more = paired_difference(ours, ease)
    assert verdict.sentence == (
        f"lightgcn is served: NDCG@10 {ours.mean():.4f} on test, {more.value / ease.mean():.0%} "
        f"above the best baseline, ease {ease.mean():.4f} (95% interval "
        f"{more.low / ease.mean():+.1%} to {more.high / ease.mean():+.0%})."
    )


def test_what_is_below_the_best_baseline_says_that_it_is_not_promoted() -> None:
    verdict = judged({"lightgcn": 0.2, "popularity": 0.1, "item-kNN": 0.4})
    assert (verdict.beats_baselines, verdict.clearly) == (False, False)
    assert verdict.best_baseline == "item-kNN"
    assert "below the best baseline, item-kNN" in verdict.sentence
    assert verdict.sentence.endswith("; it is not promoted unless forced.")


@pytest.mark.parametrize("share", [0.3998, 0.4002])
def test_a_difference_within_the_noise_is_no_defeat_and_no_victory(share: float) -> None:
    verdict = judged({"lightgcn": share, "popularity": 0.4})
    assert (verdict.beats_baselines, verdict.clearly) == (True, False)
    assert "no worse than the best baseline, popularity" in verdict.sentence
    assert "is within the noise" in verdict.sentence


def test_baselines_are_the_models_that_are_no_variants_and_not_random() -> None:
    shares = {"spectral": 0.9, "lightgcn": 0.4, "random": 0.8, "popularity": 0.2, "new one": 0.3}
    verdict = judged(shares, models=("lightgcn", "spectral"))
    assert [row.model for row in verdict.rows] == ["lightgcn", "new one", "popularity"]
    assert "lightgcn is served, the best of 2 on validation: " in verdict.sentence
    named = judged(shares, models=("lightgcn", "spectral"), serve="lightgcn")
    assert "lightgcn is served, as configured: " in named.sentence


def test_validation_judges_where_there_is_no_test_part() -> None:
    verdict = judged({"lightgcn": 0.4, "popularity": 0.1}, split="validation")
    assert " on validation, " in verdict.sentence
    assert verdict.table()[0][0] == "on validation"


def test_users_unknown_to_training_lower_every_mean_and_no_relative_difference() -> None:
    shares = {"lightgcn": 0.4, "popularity": 0.3}
    (ours, theirs), (fewer, _) = judged(shares).rows, judged(shares, unknown=USERS).rows
    assert fewer.metrics["ndcg@10"].value == pytest.approx(ours.metrics["ndcg@10"].value / 2)
    assert theirs.metrics["ndcg@10"] == mean_of(found(0.3, 1))


def test_a_baseline_that_finds_nothing_is_compared_without_percent() -> None:
    config = Config.model_validate(
        {"name": "x", "data": {"interactions": "-"}, "lightgcn": {}, "evaluation": {"k": [1]}}
    )
    zeros = {"ndcg@1": np.zeros(9), "recall@1": np.zeros(9)}
    ones = {"ndcg@1": np.ones(9), "recall@1": np.ones(9)}
    for ours, said in ((ones, "+1.0000 above"), (zeros, "difference of +0.0000 is within")):
        per_user = {"lightgcn": {"test": ours}, "popularity": {"test": zeros}}
        verdict = judge(config, Measured(per_user=per_user, unknown_users={"test": 0}), "lightgcn")
        assert verdict is not None
        assert said.lstrip("+") in verdict.sentence
        assert verdict.beats_baselines


def test_nothing_measured_is_nothing_judged() -> None:
    config = Config.model_validate({"name": "x", "data": {"interactions": "-"}, "lightgcn": {}})
    assert judge(config, Measured(per_user={"lightgcn": {}}), "lightgcn") is None


def test_the_table_and_the_record_tell_the_same() -> None:
    verdict = judged({"lightgcn": 0.4, "popularity": 0.1})
    header, ours, theirs = verdict.table()
    assert header[:4] == ["on test", "ndcg@10", "error", "served has more"]
    assert (ours[0], ours[3], ours[6]) == ("lightgcn", "", "")
    record = json.loads(canonical_json(verdict.record()))
    more = record["rows"][1]["served_has_more"]["ndcg@10"]
    assert theirs[3] == f"{more['low']:+.4f} to {more['high']:+.4f}"
    assert theirs[2] == f"{record['rows'][1]['metrics']['ndcg@10']['standard_error']:.4f}"
    assert record["sentence"] == verdict.sentence
    assert record["baseline"] == "popularity"
