from collections.abc import Callable

import numpy as np
import pytest

from gnnrec_registry import VariantExport
from gnnrec_training.config import AlsConfig, CooccurrenceConfig, EaseConfig, SpectralConfig
from gnnrec_training.export.closed_forms import ClosedForms
from tests.training.boards import random_interactions

USERS, ITEMS = 30, 20
PART = random_interactions(USERS, ITEMS, 160, 0)

Make = Callable[[ClosedForms], VariantExport]
MAKES: dict[str, Make] = {
    "spectral": lambda forms: forms.spectral(SpectralConfig(embedding_dim=5)),
    "narrower": lambda forms: forms.spectral(SpectralConfig(embedding_dim=3)),
    "all of it": lambda forms: forms.spectral(SpectralConfig(embedding_dim=100)),
    "of another spectrum": lambda forms: forms.spectral(
        SpectralConfig(embedding_dim=5, user_exponent=0.2)
    ),
    "ease": lambda forms: forms.ease(EaseConfig(embedding_dim=6)),
    "ease of the spectral model's": lambda forms: forms.ease(
        EaseConfig(embedding_dim=6, user_exponent=1, item_exponent=0.5, penalty=0.3)
    ),
    "ease lists": lambda forms: forms.ease(EaseConfig(neighbours=4)),
    "als": lambda forms: forms.als(AlsConfig(embedding_dim=4)),
    "cooccurrence": lambda forms: forms.cooccurrence(CooccurrenceConfig(neighbours=6)),
}


def closed(seed: int = 0) -> ClosedForms:
    """Return the forms over a graph with a user and an item that have no interactions."""
    return ClosedForms(PART, USERS + 1, ITEMS + 1, seed, weighted=True)


def scores(variant: VariantExport) -> np.ndarray:
    """Return all scores: (U, I)."""
    found = variant.users.astype(np.float64) @ variant.items.T
    if variant.lists is None:
        return found
    had = np.zeros((USERS + 1, ITEMS + 1))
    had[PART.user_rows, PART.item_rows] = 1
    lists = np.zeros((ITEMS + 1, ITEMS + 1))
    of = np.repeat(np.arange(ITEMS + 1), np.diff(variant.lists.indptr))
    lists[of, variant.lists.items] = variant.lists.weights
    whole: np.ndarray = found + had @ lists
    return whole


def test_spectra_that_are_kept_change_no_result() -> None:
    """Whatever was computed before, in whatever order, and after a spectrum was let go."""
    alone = {name: scores(make(closed())) for name, make in MAKES.items()}
    for names in (list(MAKES), list(reversed(MAKES)), [*MAKES, *MAKES]):
        forms = closed()
        for name in names:
            np.testing.assert_allclose(
                scores(MAKES[name](forms)), alone[name], atol=1e-4, rtol=1e-4, err_msg=name
            )


def test_a_spectrum_is_computed_once_for_models_of_the_same_exponents() -> None:
    """A computed one is drawn step by step; one that is kept has no steps to tell of."""
    told: list[float] = []
    users, items = 600, 560  # beyond what is decomposed as a whole
    part = random_interactions(users, items, 4000, 0)
    forms = ClosedForms(part, users, items, 0, weighted=False, share_done=told.append)

    def computed(**config: object) -> bool:
        told.clear()
        forms.spectral(SpectralConfig.model_validate(config))
        return bool(told)

    assert computed(embedding_dim=16)
    assert not computed(embedding_dim=16, output_exponent=0)
    assert not computed(embedding_dim=8)
    assert computed(embedding_dim=24), "a wider one is computed anew"
    assert not computed(embedding_dim=16), "and serves for the narrower"
    for exponent in (0.1, 0.2, 0.3):
        assert computed(embedding_dim=16, user_exponent=exponent)
    assert computed(embedding_dim=16), "only the last ones are kept"


@pytest.mark.parametrize("name", MAKES)
def test_every_form_folds_new_users_in(name: str) -> None:
    variant = MAKES[name](closed())
    assert variant.fold is not None
    assert variant.fold_in is not None
    assert sum(segment.width for segment in variant.fold_in.segments) == variant.users.shape[1]
    assert variant.fold.shape == variant.items.shape
    assert variant.fold_in.weighted is (variant.lists is None)


@pytest.mark.parametrize("name", ["spectral", "ease", "als"])
def test_nodes_without_interactions_are_placed_neutrally(name: str) -> None:
    variant = MAKES[name](closed())
    assert not variant.items[ITEMS].any()
    np.testing.assert_allclose(variant.users[USERS], variant.users[:USERS].mean(0), atol=1e-5)


def test_the_same_seed_computes_the_same_model() -> None:
    for name, make in MAKES.items():
        first, again = make(closed()), make(closed())
        assert first.users.tobytes() == again.users.tobytes(), name
        assert first.items.tobytes() == again.items.tobytes(), name
