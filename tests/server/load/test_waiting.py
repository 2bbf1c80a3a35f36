"""The rule by which a request may wait, and the line through the times of searches behind it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnnrec_server.errors import Overloaded
from gnnrec_server.load.waiting import SearchTimeLine, WaitingRule


@given(
    st.floats(0.0, 1.0),
    st.floats(1e-4, 0.1),
    st.lists(st.integers(1, 256), min_size=3, max_size=60),
)
def test_searches_whose_times_lie_on_a_line_are_told_by_it(
    fixed_s: float, each_s: float, sizes: list[int]
) -> None:
    """Whatever comes: what each request adds, and what a request alone costs, are found."""
    line = SearchTimeLine()
    for size in [1, 2, 3, *sizes]:
        line.learn(fixed_s + each_s * size, size)
    lone_s = fixed_s + each_s
    assert line.each_s == pytest.approx(each_s, abs=1e-4 * lone_s)
    assert line.lone_s == pytest.approx(lone_s, abs=1e-4 * lone_s)


@given(st.lists(st.tuples(st.integers(1, 64), st.floats(0.9, 1.1)), min_size=20, max_size=40))
def test_the_line_is_the_least_squares_fit_whose_weights_fade(
    searches: list[tuple[int, float]],
) -> None:
    """The last search weighs 1, the one before it 0.95, and so on."""
    sizes = np.array([1, 30, *(size for size, _ in searches)], float)
    noise = np.array([1.0, 1.0, *(factor for _, factor in searches)])
    times = (0.5 + 0.1 * sizes) * noise
    line = SearchTimeLine()
    for size, took_s in zip(sizes, times, strict=True):
        line.learn(float(took_s), int(size))
    # polyfit weighs residuals, and squares them with their weights
    weights = np.sqrt(0.95 ** np.arange(len(sizes))[::-1])
    if np.average(sizes**2, weights=weights**2) - np.average(sizes, weights=weights**2) ** 2 < 1:
        return  # nearly all of one size: there is no slope to be seen
    slope, start = np.polyfit(sizes, times, 1, w=weights)
    if 0 <= slope <= np.average(times, weights=weights**2) / np.average(sizes, weights=weights**2):
        assert line.each_s == pytest.approx(slope, rel=1e-6)
        assert line.lone_s == pytest.approx(start + slope, rel=1e-6)


def test_where_all_searches_are_of_one_size_each_request_counts_its_share() -> None:
    line = SearchTimeLine()
    for _ in range(10):
        line.learn(0.8, 4)
    assert line.each_s == pytest.approx(0.2)
    assert line.lone_s == pytest.approx(0.2)


def test_one_search_that_takes_far_longer_counts_for_four_times_what_was_expected() -> None:
    calm, paused = SearchTimeLine(), SearchTimeLine()
    for line in (calm, paused):
        for _ in range(10):
            line.learn(0.1, 1)
    calm.learn(0.4, 1)
    paused.learn(60.0, 1)
    assert paused.lone_s == calm.lone_s


def test_a_wait_is_judged_by_what_one_more_costs() -> None:
    """However few are answered at a time, those who wait will be answered together."""
    patience = WaitingRule(3.5)
    for _ in range(20):
        patience.learn(1.1, 1)
        patience.learn(1.2, 2)
    patience.queued = 10
    assert patience.expected_wait_s == pytest.approx(1.0)
    patience.check_coming(left_s=1.1)
    with pytest.raises(Overloaded):
        patience.check_coming(left_s=0.9)
