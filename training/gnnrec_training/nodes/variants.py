"""GraphSAGE and the hybrid as variants: fitted, balanced, exported, verified."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from gnnrec_registry import NodeModel, VariantExport
from gnnrec_registry.arrays import distinct
from gnnrec_training.checkpoint import Checkpoint
from gnnrec_training.config import Config, HybridConfig, SageConfig
from gnnrec_training.data.dataset import Dataset, Interactions
from gnnrec_training.evaluate import evaluate, heldout
from gnnrec_training.graph import Halves, csr, tensors
from gnnrec_training.models.hybrid import Hybrid
from gnnrec_training.nodes.fit import (
    Advance,
    Course,
    embed_hybrid,
    embed_sage,
    fit_hybrid,
    fit_sage,
)
from gnnrec_training.nodes.inputs import NodeInputs, node_inputs
from gnnrec_training.nodes.onnx import export_hybrid, export_sage
from gnnrec_training.validation import validation

# The most cautious first.
_SHARES = (0.0, 0.125, 0.25, 0.5, 1.0)
_NEW_ITEMS = (0.1, 0.25, 0.5, 0.75, 1.0)
_USERS_ASKED = 4096


@dataclass(frozen=True)
class Fitted:
    """A variant, and how it came about.

    It is embedded over all that is known of the users, validation part included, as a server sees
    them. `on_train` has the users (U, D) and items (I, D) over the training part alone: only these
    may be measured on validation.
    """

    variant: VariantExport
    on_train: Halves
    course: Course


def build_sage(
    config: Config,
    shape: SageConfig,
    dataset: Dataset,
    device: torch.device,
    advance: Advance,
    kept: Checkpoint,
) -> Fitted:
    """Fit, export and verify GraphSAGE."""
    inputs, known = _inputs(dataset, dataset.train), _inputs(dataset, dataset.known)
    watch = validation(config, dataset)
    model, course = fit_sage(inputs, shape, config.seed, device, advance, watch, kept)
    onnx = export_sage(model, inputs.x.shape[1])
    variant = _exported(embed_sage(model, known), "sage", onnx)
    return Fitted(variant, embed_sage(model, inputs), course)


def build_hybrid(
    config: Config,
    shape: HybridConfig,
    dataset: Dataset,
    lightgcn: VariantExport,
    device: torch.device,
    advance: Advance,
    kept: Checkpoint,
) -> Fitted:
    """Fit, export and verify the hybrid over the embeddings of [lightgcn]."""
    inputs, known = _inputs(dataset, dataset.train), _inputs(dataset, dataset.known)
    graph = known_only(tensors(lightgcn), inputs)
    watch = validation(config, dataset)
    model, course = fit_hybrid(inputs, graph, shape, config.seed, device, advance, watch, kept)
    _balance(config, dataset, model, inputs, graph)
    onnx = export_hybrid(model, graph[0].shape[1], inputs.x.shape[1])
    variant = _exported(embed_hybrid(model, known, graph), "hybrid", onnx, "lightgcn")
    return Fitted(variant, embed_hybrid(model, inputs, graph), course)


def known_only(graph: Halves, inputs: NodeInputs) -> Halves:
    """Return graph embeddings with zeros for nodes that the graph has not seen."""
    users, items = graph
    has = (torch.from_numpy(inputs.user_degrees > 0), torch.from_numpy(inputs.item_degrees > 0))
    return users * has[0][:, None], items * has[1][:, None]


def _balance(
    config: Config, dataset: Dataset, model: Hybrid, inputs: NodeInputs, graph: Halves
) -> None:
    """Set how loud new items are and how much features change known nodes, by validation.

    Each by the NDCG of the users asked: what finds the most, and of what finds as much within one
    standard error, the setting that changes least of what the graph ranks. Without a validation
    part new items stay as they were learned, and known nodes as the graph has them.
    """
    model.share.fill_(0.0)
    if len(dataset.validation) == 0:
        return
    users, items = len(dataset.user_ids), len(dataset.item_ids)
    there = distinct(dataset.validation.user_rows)
    some = np.random.default_rng([config.seed, 5]).permutation(there)[:_USERS_ASKED]
    asked = dataset.validation.take(np.isin(dataset.validation.user_rows, some))
    seen, held_out = csr(dataset.train, users), heldout(asked, users, items)
    k = config.evaluation.k[0]

    def ndcg() -> NDArray[np.float64]:
        halves = [half.numpy() for half in embed_hybrid(model, inputs, graph)]
        result = evaluate(halves[0], np.ascontiguousarray(halves[1]), seen, held_out, (k,))
        return result.per_user[f"ndcg@{k}"]

    for setting, candidates in ((model.new_items, _NEW_ITEMS), (model.share, _SHARES)):
        found = []
        for candidate in candidates:
            setting.fill_(candidate)
            found.append(ndcg())
        setting.fill_(candidates[_first_as_good(np.array(found))])


def _first_as_good(found: NDArray[np.float64]) -> int:
    """Return the first of the candidates (C, V) that the best does not beat by a standard error."""
    best = found[np.argmax(found.mean(axis=1))]
    for place, values in enumerate(found):
        lost = best - values
        if lost.mean() <= lost.std() / math.sqrt(len(lost)):
            return place
    raise AssertionError("the best is as good as itself")


def _inputs(dataset: Dataset, over: Interactions) -> NodeInputs:
    assert dataset.features is not None  # the configuration demands feature columns
    return node_inputs(dataset.features, over)


def _exported(halves: Halves, kind: str, onnx: bytes, graph: str | None = None) -> VariantExport:
    users, items = (np.ascontiguousarray(half.numpy(force=True)) for half in halves)
    model = NodeModel.model_validate({"kind": kind, "file": f"{kind}/{kind}.onnx", "graph": graph})
    return VariantExport(users, items, model=model, onnx=onnx)
