import numpy as np
import onnx
import pytest
import torch

from gnnrec_registry import FeatureEncoder, FeaturesExport, NodeFeatures
from gnnrec_registry.features import CategoricalEncoding
from gnnrec_training.config import HybridConfig, NodeFitConfig, SageConfig
from gnnrec_training.data.dataset import Dataset
from gnnrec_training.errors import ExportFailed, InvalidData, TrainingDiverged
from gnnrec_training.graph import Halves
from gnnrec_training.losses import listwise
from gnnrec_training.models.hybrid import Hybrid
from gnnrec_training.models.sage import GraphSAGE
from gnnrec_training.nodes import onnx as node_onnx
from gnnrec_training.nodes.fit import embed_hybrid, embed_sage, fit_hybrid, fit_sage
from gnnrec_training.nodes.inputs import NodeInputs, node_inputs
from gnnrec_training.nodes.onnx import export_hybrid, export_sage
from gnnrec_training.nodes.sampling import Bipartite, sample
from gnnrec_training.nodes.steps import draw
from tests.training.boards import interactions, random_interactions

CPU = torch.device("cpu")
USERS, ITEMS, KINDS = 60, 48, 4
QUICK = NodeFitConfig(epochs=30, batch_size=20, learning_rate=0.02, feature_dropout=0)


def kinds() -> tuple[Dataset, np.ndarray]:
    """Return users who had most items of their kind, and the last items: as if not out yet.

    Items say of what kind they are, users say nothing. Items 40 and up have no interactions.
    """
    generator = np.random.default_rng(0)
    pairs = [
        (user, item)
        for user in range(USERS)
        for item in range(40)
        if user % KINDS == item % KINDS and generator.random() < 0.8
    ]
    encoding = NodeFeatures(
        items=FeatureEncoder(
            columns=(
                CategoricalEncoding(kind="categorical", name="kind", categories=tuple("abcd")),
            )
        )
    )
    described = np.eye(KINDS, dtype=np.float32)[np.arange(ITEMS) % KINDS]
    features = FeaturesExport(encoding, np.zeros((USERS, 0), np.float32), described)
    dataset = Dataset(
        "kinds",
        [f"u{row}" for row in range(USERS)],
        [f"i{row}" for row in range(ITEMS)],
        interactions(pairs),
        features=features,
    )
    return dataset, np.arange(40, ITEMS)


def inputs() -> NodeInputs:
    dataset, _ = kinds()
    assert dataset.features is not None
    return node_inputs(dataset.features, dataset.train)


def find_their_kind(users: torch.Tensor, items: torch.Tensor) -> float:
    """Return the share of users for whom the new items of their kind come before all others."""
    scores = (users @ items[40:].T).numpy()
    best = np.argsort(-scores, axis=1)[:, :2] + 40
    return float((best % KINDS == np.arange(USERS)[:, None] % KINDS).all(1).mean())


def graph_embeddings() -> tuple[torch.Tensor, torch.Tensor]:
    """Return embeddings that know the kinds, zero for items that have no interactions."""
    axes = torch.nn.functional.normalize(
        torch.randn(KINDS, 6, generator=torch.Generator().manual_seed(0))
    )
    items = axes[torch.arange(ITEMS) % KINDS]
    items[40:] = 0
    return axes[torch.arange(USERS) % KINDS], items


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


def test_known_nodes_stand_still_in_the_share_of_steps_that_is_asked() -> None:
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

    def validate(halves: Halves) -> float:
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


def test_no_message_passes_over_what_is_to_be_found() -> None:
    data = inputs()
    config = NodeFitConfig(isolated_share=0.3, edge_dropout=0.2)
    drawn = draw(data, np.arange(0, USERS, 2), config, np.random.default_rng(0))
    had = {
        (int(u), int(i)): bool(passes)
        for u, i, passes in zip(
            data.graph.user_rows, data.graph.item_rows, drawn.passing, strict=True
        )
    }
    for question in (drawn.new, drawn.known):
        asked = {(int(drawn.users[b]), int(question.items[c])) for b, c in question.found.nonzero()}
        given = {(int(drawn.users[b]), int(question.items[c])) for b, c in question.given.nonzero()}
        assert asked
        assert not any(had[pair] for pair in asked)
        assert all(had[pair] for pair in given)
        shown = {p for p in had if p[0] in drawn.users and p[1] in question.items}
        assert asked | given == shown
    new, lonely = set(drawn.new.items), set(drawn.users[drawn.isolated])
    assert lonely
    assert not any(passes for (u, i), passes in had.items() if i in new or u in lonely)
    assert set(drawn.new.items).isdisjoint(drawn.known.items)


def test_neighbours_are_the_rows_of_the_adjacency_under_the_mask() -> None:
    part = random_interactions(9, 7, 30, 0)
    graph = Bipartite(part.user_rows, part.item_rows, 9, 7)
    passing = np.random.default_rng(0).random(len(part)) < 0.6
    dense = np.zeros((16, 16))
    kept = graph.user_rows[passing], graph.item_rows[passing] + 9
    dense[kept] = 1
    dense[kept[::-1]] = 1
    np.testing.assert_array_equal(graph.neighbours(passing).csr().to_dense().numpy(), dense)


def test_a_sampled_neighbourhood_holds_true_edges_up_to_the_fanout() -> None:
    part = random_interactions(200, 30, 2000, 0)
    neighbours = Bipartite(part.user_rows, part.item_rows, 200, 30).neighbours()
    dense = neighbours.csr().to_dense().numpy()
    seeds = np.array([0, 5, 200, 229])
    nodes, edges = sample(neighbours, seeds, (4, 3), np.random.default_rng(0))
    assert nodes[:4].tolist() == seeds.tolist()
    assert len(set(nodes)) == len(nodes)
    sources, targets = nodes[edges.numpy()]
    assert (dense[targets, sources] == 1).all()
    assert len(set(zip(sources, targets, strict=True))) == len(sources)
    for target in np.unique(targets):
        limit = 4 if target in seeds else 3
        degree = int(dense[target].sum())
        found = int((targets == target).sum())
        assert found <= limit
        assert found == degree or degree > limit
    every, _ = sample(neighbours, seeds, (1000, 1000), np.random.default_rng(0))
    reached = dense[seeds].any(0)
    assert set(every) == {*seeds, *np.flatnonzero(reached), *np.flatnonzero(dense[reached].any(0))}


def test_sage_gives_the_same_on_csr_and_on_an_edge_list() -> None:
    part = random_interactions(9, 7, 30, 0)
    neighbours = Bipartite(part.user_rows, part.item_rows, 9, 7).neighbours()
    model, x = GraphSAGE(5, 6, 4), torch.randn(16, 5)
    targets = np.repeat(np.arange(16), np.diff(neighbours.indptr))
    edges = torch.from_numpy(np.stack([neighbours.sources.astype(np.int64), targets]))
    torch.testing.assert_close(model(x, neighbours.csr()), model(x, edges))


def test_means_over_neighbours_fill_the_other_block() -> None:
    data = inputs()
    rows = torch.tensor([0, USERS, USERS + 45])
    found = data.with_means(rows, data.graph.neighbours())
    mine = data.graph.item_rows[data.graph.user_rows == 0]
    expected = data.x[USERS + torch.from_numpy(mine).long(), :KINDS].mean(0)
    torch.testing.assert_close(found[0, :KINDS], expected)
    torch.testing.assert_close(found[0, KINDS:], torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(found[1:], data.x[rows[1:]])


def test_listwise_loss_equals_its_formula() -> None:
    generator = np.random.default_rng(0)
    scores, weights = generator.normal(size=(3, 5)), generator.random((3, 5))
    target = (generator.random((3, 5)) < 0.5).astype(float)
    scores[0, 1], target[0, 1] = -np.inf, 0
    shares = (np.exp(scores) / np.exp(scores).sum(1, keepdims=True))[target > 0]
    expected = -(weights[target > 0] * np.log(shares)).sum() / (weights * target).sum()
    ours = listwise(*map(torch.from_numpy, (scores, target, weights)))
    assert ours.item() == pytest.approx(expected)


def test_onnx_files_are_verified_and_add_up_their_scatters(monkeypatch: pytest.MonkeyPatch) -> None:
    sage, hybrid = GraphSAGE(6, 5, 3, 0.5), Hybrid(4, 6, 5, 0.5)
    for layer in (hybrid.wide, hybrid.second):
        torch.nn.init.normal_(layer.weight)
    graph = onnx.load_from_string(export_sage(sage, 6)).graph
    scatters = [node for node in graph.node if node.op_type.startswith("Scatter")]
    assert scatters
    for node in scatters:
        assert {a.name: a.s for a in node.attribute}["reduction"] == b"add"
    export_hybrid(hybrid, 4, 6)
    wrong = export_sage(GraphSAGE(6, 5, 3), 6)
    monkeypatch.setattr(node_onnx, "_export", lambda *arguments: wrong)
    with pytest.raises(ExportFailed, match=r"does not give what torch gives for inputs of shape"):
        export_sage(sage, 6)
