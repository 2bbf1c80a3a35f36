import math

import numpy as np
import pytest

from gnnrec_training.evaluation.intervals import first_as_good, mean_of, paired_difference


def test_a_mean_and_its_error_are_those_of_the_sample() -> None:
    values = np.random.default_rng(0).random(50)
    mean = mean_of(values)
    assert mean.value == pytest.approx(values.mean())
    assert mean.standard_error == pytest.approx(values.std(ddof=1) / math.sqrt(50))
    assert mean.high - mean.low == pytest.approx(2 * 1.959964 * mean.standard_error)


def test_unknown_users_count_as_users_who_found_nothing() -> None:
    values = np.random.default_rng(0).random(50)
    with_zeros = mean_of(np.concatenate([values, np.zeros(7)]))
    assert mean_of(values, 7).value == pytest.approx(with_zeros.value)
    assert mean_of(values, 7).standard_error == pytest.approx(with_zeros.standard_error)
    assert mean_of(values[:0], 3).value == 0


def test_a_paired_difference_does_not_suffer_from_how_hard_users_are() -> None:
    """Users' metrics vary by tenths, and one model is a thousandth better for most of them."""
    generator = np.random.default_rng(0)
    theirs = generator.random(200)
    ours = theirs + generator.normal(0.001, 0.0005, 200)
    difference = paired_difference(ours, theirs)
    assert difference.low > 0
    apart = math.hypot(mean_of(ours).standard_error, mean_of(theirs).standard_error)
    assert difference.standard_error < apart / 100


def test_the_interval_holds_the_true_mean_nineteen_times_of_twenty() -> None:
    generator = np.random.default_rng(0)
    draws = generator.random((2000, 150)) < 0.3
    means = [mean_of(draw.astype(float)) for draw in draws]
    held = sum(mean.low <= 0.3 <= mean.high for mean in means) / len(means)
    assert 0.93 < held < 0.97


def test_of_one_user_nothing_is_sure() -> None:
    one = mean_of(np.array([0.4]))
    assert one.low < -1
    assert one.high > 1


@pytest.mark.parametrize(
    ("found", "chosen"),
    [
        ([[0.1, 0.1, 0.1, 0.1], [0.5, 0.5, 0.5, 0.5]], 1),
        ([[0.4, 0.5, 0.4, 0.6], [0.5, 0.5, 0.5, 0.5]], 0),
        ([[0, 0, 0, 0], [0.6, 0.3, 0.7, 0.4], [0.6, 0.4, 0.6, 0.5]], 1),
        ([[0.5, 0.5], [0.5, 0.5]], 0),
    ],
)
def test_the_first_within_a_standard_error_of_the_best_is_as_good(
    found: list[list[float]], chosen: int
) -> None:
    assert first_as_good(np.array(found)) == chosen
