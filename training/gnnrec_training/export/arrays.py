"""Between embeddings as torch tensors and the arrays of a published variant."""

import numpy as np
import torch
from torch import Tensor

from gnnrec_registry import FoldIn, ItemLists, NodeModel, Segment, VariantExport
from gnnrec_training.graph.propagation import EmbeddingPair


def variant_export(
    embeddings: EmbeddingPair,
    *,
    fold: Tensor | None = None,
    fold_in: FoldIn | None = None,
    lists: ItemLists | None = None,
    model: NodeModel | None = None,
    onnx: bytes | None = None,
) -> VariantExport:
    """Return embeddings as a variant, with its fold-in, its lists or its ONNX model."""
    users, items = (np.ascontiguousarray(half.numpy(force=True)) for half in embeddings)
    folded = None if fold is None else fold.numpy(force=True)
    return VariantExport(
        users, items, fold=folded, fold_in=fold_in, lists=lists, model=model, onnx=onnx
    )


def one_segment(fold: Tensor, degree_exponent: float, *, weighted: bool) -> FoldIn:
    """Return a fold-in whose columns all have the same degree exponent."""
    segment = Segment(width=fold.shape[1], degree_exponent=degree_exponent)
    return FoldIn(segments=(segment,), weighted=weighted)


def tensors(variant: VariantExport) -> EmbeddingPair:
    """Return the embeddings of a variant as tensors that share its memory."""
    return torch.from_numpy(variant.users), torch.from_numpy(variant.items)
