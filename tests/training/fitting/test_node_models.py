import numpy as np
import pytest
import torch

from gnnrec_training.config import HybridConfig, SageConfig
from gnnrec_training.errors import InvalidData, TrainingDiverged
from gnnrec_training.fitting.node_models import fit_hybrid, fit_sage
from gnnrec_training.graph.propagation import EmbeddingPair
from gnnrec_training.models.hybrid import Hybrid, embed_hybrid
from gnnrec_training.models.node_inputs import node_inputs
from gnnrec_training.models.ridge import ridge
from gnnrec_training.models.sage import embed_sage
from tests.training.boards import interactions
from tests.training.kinds import (
    CPU,
    QUICK,
    USERS,
    find_their_kind,
    graph_embeddings,
    inputs,
    kinds,
)


@pytest.mark.parametrize("loss", ["softmax", "bce"])
@pytest.mark.parametrize("fanout", [None, (5, 3)])
def test_sage_places_new_items_with_the_users_of_their_kind(
    loss: str, fanout: tuple[int, int] | None
) -> None:
    training = QUICK.model_copy(update={"loss": loss})
    config = SageConfig(embedding_dim=8, hidden_dim=16, fanout=fanout, training=training)
    data = inputs()
    model, course = fit_sage(data, config, 0, CPU)
    assert course.losses[-1] < course.losses[0]
    assert find_their_kind(*embed_sage(model, data)) > 0.95


@pytest.mark.parametrize("loss", ["softmax", "bce"])
def test_the_hybrid_places_new_items_by_their_features(loss: str) -> None:
    config = HybridConfig(hidden_dim=16, training=QUICK.model_copy(update={"loss": loss}))
    data, graph = inputs(), graph_embeddings()
    model, _ = fit_hybrid(data, graph, config, 0, CPU)
    users, items = embed_hybrid(model, data, graph)
    assert find_their_kind(users, items) > 0.95
    model.share.fill_(0)
    users, items = embed_hybrid(model, data, graph)
    torch.testing.assert_close(users, graph[0] * model.scale)
    torch.testing.assert_close(items[:40], graph[1][:40] * model.scale)
    assert (items[40:].norm(dim=1) > 0).all(), "what the graph does not know is still placed"


def test_new_items_are_scaled_and_known_nodes_and_new_users_are_not() -> None:
    config = HybridConfig(hidden_dim=16, training=QUICK)
    data, graph = inputs(), graph_embeddings()
    model, _ = fit_hybrid(data, graph, config, 0, CPU)
    model.share.fill_(0)
    users, items = embed_hybrid(model, data, graph)
    model.new_items.fill_(0.25)
    same_users, quieter = embed_hybrid(model, data, graph)
    torch.testing.assert_close(same_users, users)
    torch.testing.assert_close(quieter[:40], items[:40])
    torch.testing.assert_close(quieter[40:], 0.25 * items[40:])
    nobody = torch.zeros_like(graph[0])
    here = embed_hybrid(model, data, (nobody, graph[1]))[0]
    model.new_items.fill_(1.0)
    torch.testing.assert_close(embed_hybrid(model, data, (nobody, graph[1]))[0], here)


def test_seen_nodes_keep_their_graph_embedding_in_the_configured_share_of_steps() -> None:
    seen: list[float] = []

    def watch(module: torch.nn.Module, arguments: object) -> None:
        if isinstance(module, Hybrid) and module.training:
            seen.append(float(module.share))

    config = HybridConfig(hidden_dim=4, still_share=0.25, training=QUICK)
    hook = torch.nn.modules.module.register_module_forward_pre_hook(watch)
    try:
        model, _ = fit_hybrid(inputs(), graph_embeddings(), config, 0, CPU)
    finally:
        hook.remove()
    assert set(seen) == {0.0, 1.0}
    assert np.mean(seen) == pytest.approx(0.75, abs=0.1)
    assert float(model.share) == 1


def test_a_fit_is_repeatable_and_a_seed_changes_it() -> None:
    config = SageConfig(embedding_dim=4, hidden_dim=8, training=QUICK)
    first, again, other = (fit_sage(inputs(), config, seed, CPU)[1] for seed in (0, 0, 1))
    assert first == again != other


def test_looking_at_the_validation_part_changes_nothing() -> None:
    """What is looked at last is what is published."""
    data, graph = inputs(), graph_embeddings()
    training = QUICK.model_copy(update={"validate_every": 7, "epochs": 14})
    sage = SageConfig(embedding_dim=4, hidden_dim=8, training=training)
    hybrid = HybridConfig(hidden_dim=8, training=training)
    looked: list[torch.Tensor] = []

    def validate(halves: EmbeddingPair) -> float:
        looked.append(torch.cat(halves))
        return 0.5

    model, course = fit_sage(data, sage, 0, CPU, validate=validate)
    assert course.validations == [(7, 0.5), (14, 0.5)]
    assert course.losses == fit_sage(data, sage, 0, CPU)[1].losses
    torch.testing.assert_close(looked[1], torch.cat(embed_sage(model, data)), rtol=0, atol=0)
    mixed, course = fit_hybrid(data, graph, hybrid, 0, CPU, validate=validate)
    assert course.validations == [(7, 0.5), (14, 0.5)]
    assert course.losses == fit_hybrid(data, graph, hybrid, 0, CPU)[1].losses
    learned = torch.cat(embed_hybrid(mixed, data, graph))
    torch.testing.assert_close(looked[3], learned, rtol=0, atol=0)


def test_a_loss_that_is_not_finite_stops_the_fit() -> None:
    training = QUICK.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(TrainingDiverged, match="node model is"):
        fit_sage(inputs(), SageConfig(training=training), 0, CPU)
    dataset, _ = kinds()
    assert dataset.features is not None
    one = node_inputs(dataset.features, interactions([(0, 0)]))
    with pytest.raises(InvalidData, match="fewer than two items"):
        fit_sage(one, SageConfig(training=QUICK), 0, CPU)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("fanout", [None, (5, 3)])
def test_the_same_fits_run_on_a_gpu(fanout: tuple[int, int] | None) -> None:
    data, cuda = inputs(), torch.device("cuda")
    sage = SageConfig(embedding_dim=8, hidden_dim=16, fanout=fanout, training=QUICK)
    assert find_their_kind(*embed_sage(fit_sage(data, sage, 0, cuda)[0], data)) > 0.95
    hybrid = HybridConfig(hidden_dim=16, training=QUICK)
    graph = graph_embeddings()
    model, _ = fit_hybrid(data, graph, hybrid, 0, cuda)
    assert find_their_kind(*embed_hybrid(model, data, graph)) > 0.95


def test_the_hybrid_starts_from_a_ridge_to_the_graph_embeddings() -> None:
    still = QUICK.model_copy(update={"learning_rate": 1e-12, "epochs": 1})
    config = HybridConfig(hidden_dim=16, ridge_l2=2.0, training=still)
    data, graph = inputs(), graph_embeddings()
    model, _ = fit_hybrid(data, graph, config, 0, CPU)
    weights = ridge(data.x[USERS : USERS + 40], graph[1][:40] * model.scale, 2.0)
    items = embed_hybrid(model, data, graph)[1]
    torch.testing.assert_close(items[40:], data.x[USERS + 40 :] @ weights)
    assert find_their_kind(graph[0], items) == 1
