import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnnrec_training.config import Family
from gnnrec_training.config.defaults import Figures
from gnnrec_training.search.models import SHORT
from gnnrec_training.search.plan import ORDER, Plan, minutes_for, plan
from tests.training.search.tastes import config

SHOP = Figures(users=1_000, items=400, catalogue=500, interactions=20_000)
PLACES = Figures(users=30_000, items=41_000, catalogue=41_000, interactions=800_000)
FIGURES = st.builds(
    lambda users, items, each: Figures(users, items, items, users * each),
    st.integers(2, 200_000), st.integers(2, 100_000), st.integers(1, 200),
)  # fmt: skip


def planned(found: Plan, family: Family) -> float:
    """Return about how many seconds the trials of a kind take, LightGCN's later fits too."""
    cost, trials = found.costs[family], found.trials[family]
    if family != "lightgcn" or trials == 0:
        return cost * trials
    return 2 * cost + (cost * SHORT * trials if trials > 1 else 0)


@given(FIGURES, st.floats(0.1, 600))
def test_a_plan_fits_into_its_minutes_or_is_the_cheapest_model_alone(
    figures: Figures, minutes: float
) -> None:
    found = plan(config(minutes=minutes), figures, ORDER)
    kinds = [family for family, trials in found.trials.items() if trials]
    if len(kinds) == 1 and found.trials[kinds[0]] == 1:
        cheapest = found.costs[kinds[0]] == min(found.costs.values())
        assert cheapest or planned(found, kinds[0]) < found.seconds
        return
    several = [family for family in kinds if found.trials[family] > 1]
    assert sum(planned(found, family) for family in several) <= 0.8 * found.seconds
    # a kind whose share is shorter than one trial still has one
    for family in kinds:
        assert planned(found, family) <= 0.8 * found.seconds


@given(FIGURES)
def test_without_minutes_each_kind_is_tried_once(figures: Figures) -> None:
    assert plan(config(minutes=0), figures, ORDER).trials == dict.fromkeys(ORDER, 1)


@given(FIGURES, st.floats(0.1, 300))
def test_more_minutes_never_mean_fewer_kinds(figures: Figures, minutes: float) -> None:
    less = plan(config(minutes=minutes), figures, ORDER).trials
    more = plan(config(minutes=2 * minutes), figures, ORDER).trials
    assert {family for family in ORDER if less[family]} <= {
        family for family in ORDER if more[family]
    }


def test_large_data_in_little_time_get_closed_forms_alone() -> None:
    trials = plan(config(minutes=3), PLACES, ORDER).trials
    assert trials["lightgcn"] == trials["als"] == 0
    assert min(trials["ease"], trials["spectral"], trials["cooccurrence"]) >= 1


def test_with_time_for_two_trainings_lightgcn_is_trained_in_full() -> None:
    assert plan(config(minutes=20), PLACES, ORDER).trials["lightgcn"] == 1
    assert plan(config(minutes=3), SHOP, ORDER).trials["lightgcn"] > 5


def test_no_further_trial_of_a_kind_begins_after_its_share_of_the_time() -> None:
    found = plan(config(minutes=3), SHOP, ORDER)
    until = [found.until[family] for family in ORDER]
    assert until == sorted(until)
    assert until[-1] == pytest.approx(0.9 * 180)


def test_the_minutes_follow_from_the_number_of_interactions() -> None:
    assert minutes_for(SHOP) == 2
    assert minutes_for(PLACES) == 20
    assert minutes_for(Figures(1_000_000, 1_000_000, 1_000_000, 50_000_000)) == 60
