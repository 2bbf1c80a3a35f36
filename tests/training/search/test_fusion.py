import numpy as np
import torch

from gnnrec_registry import VariantExport
from gnnrec_training.evaluation.intervals import PerUser
from gnnrec_training.evaluation.judge import Judge
from gnnrec_training.evaluation.seen import history
from gnnrec_training.search.fusion import fusions
from tests.training.search.tastes import ITEMS, USERS, config, tastes

DATA = tastes()
GRAPH = history(config(), DATA)
WANTED = torch.zeros(USERS, ITEMS)
WANTED[
    torch.from_numpy(DATA.validation.user_rows).long(),
    torch.from_numpy(DATA.validation.item_rows).long(),
] = 1
NOISE = torch.randn(3, USERS, ITEMS, generator=torch.Generator().manual_seed(0))
HALF = (torch.arange(ITEMS) % 4 < 2).float()


def model(scores: torch.Tensor) -> VariantExport:
    """Return a model that gives these scores (U, I)."""
    return VariantExport(scores.numpy(), np.eye(ITEMS, dtype=np.float32))


def steps_of(**scores: torch.Tensor) -> list[tuple[dict[str, float], PerUser]]:
    models = {name: model(one) for name, one in scores.items()}
    pools = Judge(config(), DATA).pools(models, GRAPH, USERS)
    return fusions(pools, {name: float(one.std()) for name, one in scores.items()}, 3)


def found(**scores: torch.Tensor) -> list[dict[str, float]]:
    return [weights for weights, _ in steps_of(**scores)]


def test_the_best_model_stands_first_and_alone() -> None:
    steps = found(good=WANTED + 0.5 * NOISE[0], bad=NOISE[1])
    assert steps[0] == {"good": 1.0}


def test_a_model_that_knows_other_items_is_added() -> None:
    """Each of the two is right about one half of the items."""
    one, other = WANTED * HALF * 3 + NOISE[0], WANTED * (1 - HALF) * 3 + NOISE[1]
    assert set(found(one=one, other=other)[-1]) == {"one", "other"}


def test_a_copy_and_noise_are_not_added() -> None:
    good = WANTED * 2 + NOISE[0]
    assert len(found(good=good, copy=good.clone(), noise=NOISE[1])) == 1


def test_each_step_is_better_than_the_one_before() -> None:
    parts = [WANTED * HALF.roll(place) * 2 + NOISE[place] for place in range(3)]
    steps = steps_of(**{f"part {place}": part for place, part in enumerate(parts)})
    means = [float(per_user.mean()) for _, per_user in steps]
    assert means == sorted(means)
