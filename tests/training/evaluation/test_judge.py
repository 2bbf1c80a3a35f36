from dataclasses import replace

import numpy as np
import pytest

from gnnrec_registry import VariantExport
from gnnrec_training.config import CooccurrenceConfig, SpectralConfig
from gnnrec_training.evaluation.judge import Judge
from gnnrec_training.evaluation.ranking import evaluate, heldout
from gnnrec_training.evaluation.seen import history, seen_before
from gnnrec_training.export.closed_forms import ClosedForms
from gnnrec_training.graph.edges import edges
from tests.training.search.tastes import ITEMS, USERS, config, nothing, tastes

DATA, CONFIG = tastes(), config()
GRAPH = history(CONFIG, DATA)


@pytest.fixture(scope="module", params=["spectral", "cooccurrence"])
def model(request: pytest.FixtureRequest) -> VariantExport:
    forms = ClosedForms(edges(DATA, CONFIG.graph), USERS, ITEMS, 0, weighted=False)
    if request.param == "spectral":
        return forms.spectral(SpectralConfig(embedding_dim=8))
    return forms.cooccurrence(CooccurrenceConfig(neighbours=10))


def test_a_model_is_judged_by_ndcg_at_the_longest_list_on_validation(model: VariantExport) -> None:
    found = evaluate(
        model.users, np.ascontiguousarray(model.items), seen_before(DATA, "validation"),
        heldout(DATA.validation, USERS, ITEMS), (5, 10), lists=model.lists, history=GRAPH,
    )  # fmt: skip
    judged = Judge(CONFIG, DATA).per_user(model, GRAPH)
    assert judged.tolist() == found.per_user["ndcg@10"].tolist()


def test_its_scores_in_a_pool_give_the_same_judgement(model: VariantExport) -> None:
    judge = Judge(CONFIG, DATA)
    pools = judge.pools({"model": model}, GRAPH, USERS)
    found = pools.per_user(pools.scores["model"])
    np.testing.assert_allclose(found, judge.per_user(model, GRAPH), atol=1e-12)


def test_no_more_users_are_asked_about_fusions_than_is_said(model: VariantExport) -> None:
    judge = Judge(CONFIG, DATA)
    pools = judge.pools({"model": model}, GRAPH, 7)
    assert len(pools.per_user(pools.scores["model"])) == 7


def test_the_test_part_is_never_looked_at(model: VariantExport) -> None:
    judged = Judge(CONFIG, replace(DATA, test=nothing())).per_user(model, GRAPH)
    assert judged.tolist() == Judge(CONFIG, DATA).per_user(model, GRAPH).tolist()
