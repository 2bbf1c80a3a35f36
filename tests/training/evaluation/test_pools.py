import numpy as np
import pytest
import torch

from gnnrec_registry import VariantExport
from gnnrec_training.evaluation import pools as module
from gnnrec_training.evaluation.pools import Pools, pools
from gnnrec_training.evaluation.ranking import evaluate, heldout
from gnnrec_training.graph.sparse import by_user
from tests.training.boards import interactions

USERS, ITEMS, K = 50, 400, 10
GENERATOR = np.random.default_rng(0)


def pairs(share: float) -> list[tuple[int, int]]:
    return [(int(u), int(i)) for u, i in np.argwhere(GENERATOR.random((USERS, ITEMS)) < share)]


SEEN = by_user(interactions(pairs(0.05)), USERS)
HELD_OUT = heldout(
    interactions([(user, user) for user in range(USERS)] + pairs(0.02)), USERS, ITEMS
)
MODELS = {
    name: VariantExport(
        GENERATOR.standard_normal((USERS, width), dtype=np.float32),
        GENERATOR.standard_normal((ITEMS, width), dtype=np.float32),
    )
    for name, width in (("narrow", 4), ("wide", 16))
}
ASKED = np.arange(0, USERS, 2)


@pytest.fixture(params=[1, 1 << 28])
def found(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Pools:
    """Return pools smaller than the catalogue, made user by user and all at once."""
    monkeypatch.setattr(module, "_BEST", 60)
    monkeypatch.setattr(module, "_CHUNK_BYTES", request.param)
    return pools(MODELS, ASKED, HELD_OUT, SEEN, SEEN, K)


def ndcg(model: VariantExport) -> list[float]:
    """Return the NDCG of the users asked by a ranking of all items."""
    whole = evaluate(model.users, model.items, SEEN, HELD_OUT, (K,)).per_user[f"ndcg@{K}"]
    return [float(value) for value in whole[ASKED]]


@pytest.mark.parametrize("name", MODELS)
def test_a_model_alone_is_judged_as_by_all_items(found: Pools, name: str) -> None:
    assert found.scores[name].shape == (len(ASKED), 120)
    assert found.per_user(found.scores[name]) == pytest.approx(ndcg(MODELS[name]), abs=1e-12)


def test_a_sum_is_judged_as_the_fused_model(found: Pools) -> None:
    narrow, wide = MODELS.values()
    fused = VariantExport(
        np.hstack([narrow.users, 0.5 * wide.users]), np.hstack([narrow.items, wide.items])
    )
    scores = found.scores["narrow"] + 0.5 * found.scores["wide"]
    assert found.per_user(scores) == pytest.approx(ndcg(fused), abs=1e-12)


def test_an_item_counts_once_however_many_models_have_it_among_their_best(found: Pools) -> None:
    same = torch.isfinite(found.scores["narrow"]) == torch.isfinite(found.scores["wide"])
    assert same.all()
    assert (torch.isfinite(found.scores["narrow"]).sum(1) < 120).all()
    assert int(found.wanted[torch.isfinite(found.scores["narrow"])].sum()) <= len(HELD_OUT.keys)
