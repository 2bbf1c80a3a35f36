"""GraphSAGE and the hybrid as variants: fitted, balanced by validation, exported to ONNX."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from gnnrec_registry import NodeModel, VariantExport
from gnnrec_registry.files.arrays import among, distinct
from gnnrec_training import seeds
from gnnrec_training.config import Config
from gnnrec_training.data.dataset import Dataset, Interactions
from gnnrec_training.evaluation.intervals import first_as_good
from gnnrec_training.evaluation.ranking import evaluate, heldout
from gnnrec_training.evaluation.seen import seen_before
from gnnrec_training.evaluation.validation import validation
from gnnrec_training.export.arrays import tensors, variant_export
from gnnrec_training.export.onnx import export_hybrid, export_sage
from gnnrec_training.fitting.checkpoint import Checkpoint
from gnnrec_training.fitting.device import training_device
from gnnrec_training.fitting.loop import History
from gnnrec_training.fitting.node_models import fit_hybrid, fit_sage
from gnnrec_training.graph.propagation import EmbeddingPair
from gnnrec_training.models.hybrid import Hybrid, embed_hybrid
from gnnrec_training.models.node_inputs import NodeInputs, node_inputs
from gnnrec_training.models.sage import embed_sage
from gnnrec_training.reporter import Progress

# Ascending: the first changes least of what the graph embeddings rank.
_SHARES = (0.0, 0.125, 0.25, 0.5, 1.0)
_NEW_ITEMS = (0.1, 0.25, 0.5, 0.75, 1.0)
_USERS_ASKED = 4096


Factors = tuple[float, float]
"""The hybrid's new_items and share (models/hybrid)."""


@dataclass(frozen=True)
class Fitted:
    """A node model's variant, and how it came about."""

    variant: VariantExport
    history: History
    factors: Factors | None = None
    """Of a hybrid: those that were chosen on validation."""


def build_sage(
    config: Config,
    dataset: Dataset,
    edges: Interactions,
    progress: Progress,
    checkpoint: Checkpoint,
    stop_after: int | None = None,
) -> Fitted:
    """Fit, export and verify the GraphSAGE of [sage].

    stop_after: end after so many epochs of the schedule, if not earlier
    """
    assert config.sage is not None
    inputs, device = _inputs(dataset, edges), training_device(config)
    stops = config.sage.training.patience > 0
    validate = validation(config, dataset, decides=stops)
    model, history = fit_sage(
        inputs, config.sage, config.seed, device, progress, validate, checkpoint, stop_after
    )
    onnx = export_sage(model, inputs.x.shape[1])
    embeddings = embed_sage(model, inputs)
    return Fitted(variant_export(embeddings, model=_node_model("sage"), onnx=onnx), history)


def build_hybrid(
    config: Config,
    dataset: Dataset,
    edges: Interactions,
    lightgcn: VariantExport,
    progress: Progress,
    checkpoint: Checkpoint,
    stop_after: int | None = None,
    factors: Factors | None = None,
) -> Fitted:
    """Fit, export and verify the hybrid of [hybrid] over the embeddings of [lightgcn].

    stop_after: end after so many epochs of the schedule, if not earlier; factors: those chosen
    before, for data without a validation part
    """
    assert config.hybrid is not None
    inputs, device = _inputs(dataset, edges), training_device(config)
    graph = _seen_only(tensors(lightgcn), inputs)
    stops = config.hybrid.training.patience > 0
    validate = validation(config, dataset, decides=stops)
    model, history = fit_hybrid(
        inputs, graph, config.hybrid, config.seed, device, progress, validate, checkpoint,
        stop_after,
    )  # fmt: skip
    if factors is None:
        _balance(config, dataset, model, inputs, graph)
    else:
        model.new_items.fill_(factors[0])
        model.share.fill_(factors[1])
    onnx = export_hybrid(model, graph[0].shape[1], inputs.x.shape[1])
    variant = variant_export(
        embed_hybrid(model, inputs, graph), model=_node_model("hybrid", "lightgcn"), onnx=onnx
    )
    return Fitted(variant, history, (float(model.new_items), float(model.share)))


def _seen_only(graph: EmbeddingPair, inputs: NodeInputs) -> EmbeddingPair:
    """Return graph embeddings with zeros for nodes without training interactions."""
    users, items = graph
    has = (torch.from_numpy(inputs.user_degrees > 0), torch.from_numpy(inputs.item_degrees > 0))
    return users * has[0][:, None], items * has[1][:, None]


def _balance(
    config: Config, dataset: Dataset, model: Hybrid, inputs: NodeInputs, graph: EmbeddingPair
) -> None:
    """Choose the hybrid's two factors by validation: first `new_items`, then `share`.

    `new_items` multiplies the embeddings of items without a graph embedding; `share` is how much
    features add to the graph embeddings of the others. Each candidate is measured by the NDCG of
    the users asked, and the smallest one within a standard error of the best is taken. Without a
    validation part `new_items` stays 1 and `share` is 0: nodes seen in training keep their graph
    embedding.
    """
    model.share.fill_(0.0)
    if len(dataset.validation) == 0:
        return
    users, items = len(dataset.user_ids), len(dataset.item_ids)
    there = distinct(dataset.validation.user_rows)
    generator = np.random.default_rng([config.seed, seeds.BALANCE_USERS])
    some = generator.permutation(there)[:_USERS_ASKED]
    asked = dataset.validation.take(among(dataset.validation.user_rows, some))
    seen, held_out = seen_before(dataset, "validation"), heldout(asked, users, items)
    k = config.evaluation.k[0]

    def ndcg() -> NDArray[np.float64]:
        user_half, item_half = (half.numpy() for half in embed_hybrid(model, inputs, graph))
        result = evaluate(user_half, np.ascontiguousarray(item_half), seen, held_out, (k,))
        return result.per_user[f"ndcg@{k}"]

    for factor, candidates in ((model.new_items, _NEW_ITEMS), (model.share, _SHARES)):
        found = []
        for candidate in candidates:
            factor.fill_(candidate)
            found.append(ndcg())
        factor.fill_(candidates[first_as_good(np.array(found))])


def _inputs(dataset: Dataset, over: Interactions) -> NodeInputs:
    assert dataset.features is not None  # the configuration demands feature columns
    return node_inputs(dataset.features, over)


def _node_model(kind: str, graph: str | None = None) -> NodeModel:
    """Return the manifest's entry of an ONNX file; `graph`: the variant it takes embeddings of."""
    return NodeModel.model_validate({"kind": kind, "file": f"{kind}/{kind}.onnx", "graph": graph})
