import pytest

from gnnrec_training.config import Family
from gnnrec_training.config.defaults import Figures, defaults
from gnnrec_training.search.models import model_config
from gnnrec_training.search.plan import ORDER
from gnnrec_training.search.proposals import Proposals
from tests.training.search.tastes import config

FIGURES = Figures(users=1_000, items=400, catalogue=500, interactions=20_000)


@pytest.mark.parametrize("family", ORDER)
def test_equal_seeds_and_results_give_equal_proposals(family: Family) -> None:
    asked = []
    for _ in range(2):
        proposals, settings = Proposals(family, FIGURES, 7), []
        for trial in range(12):
            settings.append(proposals.ask())
            proposals.tell(None if trial == 3 else (trial * 7 % 5) / 5)
        asked.append(settings)
    assert asked[0] == asked[1]
    assert len({str(settings) for settings in asked[0]}) > 6


@pytest.mark.parametrize("family", [family for family in ORDER if family != "hybrid"])
def test_the_first_proposal_is_the_model_of_the_defaults(family: Family) -> None:
    proposed = Proposals(family, FIGURES, 0).ask()
    plain = model_config(config(), FIGURES, family, {})
    assert model_config(config(), FIGURES, family, proposed) == plain


@pytest.mark.parametrize("family", [family for family in ORDER if family != "hybrid"])
def test_every_proposal_is_a_valid_configuration(family: Family) -> None:
    proposals = Proposals(family, FIGURES, 3)
    for trial in range(30):
        made = model_config(config(), FIGURES, family, proposals.ask())
        assert getattr(made, family) is not None
        proposals.tell(trial % 4 / 4)


def test_a_trial_below_the_median_does_not_promise() -> None:
    proposals = Proposals("lightgcn", FIGURES, 0)
    for _ in range(4):
        proposals.ask()
        assert proposals.promises(1, 0.5)
        proposals.tell(0.6)
    proposals.ask()
    assert not proposals.promises(1, 0.1)


def test_the_defaults_know_every_family_with_a_width() -> None:
    assert set(defaults(FIGURES, patient=True)) >= {"spectral", "ease", "als", "lightgcn"}
