"""Several variants joined into the one of [fusion]."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from gnnrec_registry import FoldIn, Segment, VariantExport
from gnnrec_training.config import Config, FusionConfig
from gnnrec_training.data.dataset import Interactions
from gnnrec_training.export.arrays import one_segment, tensors, variant_export
from gnnrec_training.models.fusion import Part, compress, fuse, scales
from gnnrec_training.models.item_lists import joined
from gnnrec_training.models.unseen import place_unseen


def build_fused(
    config: Config, edges: Interactions, variants: Mapping[str, VariantExport]
) -> VariantExport:
    """Join the variants of [fusion].

    It folds new users in where all of its parts do and it is not compressed.
    """
    assert config.fusion is not None
    members = [variants[name] for name in config.fusion.weights]
    factors = fusion_factors(config.fusion, edges, variants)
    parts = [Part(tensors(member), member.lists) for member in members]
    embeddings = fuse(parts, factors)
    lists = [
        (member.lists, factor)
        for member, factor in zip(members, factors, strict=True)
        if member.lists is not None
    ]
    both = joined(lists, len(members[0].items)) if lists else None
    if config.fusion.embedding_dim is not None:
        compressed = compress(embeddings, config.fusion.embedding_dim)
        return variant_export(place_unseen(compressed, edges), lists=both)
    placed = place_unseen(embeddings, edges)
    # parts of lists alone take no columns; their own embeddings and fold are of no width here
    dense = [
        (member, factor)
        for member, factor in zip(members, factors, strict=True)
        if member.lists is None
    ]
    if not dense:
        zeros = torch.zeros(len(members[0].items), 1)
        segment = one_segment(zeros, 1, weighted=False)
        return variant_export(placed, fold=zeros, fold_in=segment, lists=both)
    fold, fold_in = _folds(dense, weighted=config.graph.weighted is True)
    return variant_export(placed, fold=fold, fold_in=fold_in, lists=both)


def fusion_factors(
    fusion: FusionConfig, edges: Interactions, variants: Mapping[str, VariantExport]
) -> list[float]:
    """Return what the scores of each part are multiplied by, in the order of its weights."""
    members = [variants[name] for name in fusion.weights]
    parts = [Part(tensors(member), member.lists) for member in members]
    return scales(parts, list(fusion.weights.values()), edges)


def _folds(
    dense: Sequence[tuple[VariantExport, float]], *, weighted: bool
) -> tuple[torch.Tensor | None, FoldIn | None]:
    """Return the fold-ins of the parts with embeddings as one; None where a part has none."""
    folds: list[NDArray[np.float32]] = []
    segments: list[Segment] = []
    for member, factor in dense:
        if member.fold is None or member.fold_in is None:
            return None, None
        folds.append(member.fold * np.float32(factor))
        segments.extend(member.fold_in.segments)
    joint = torch.from_numpy(np.concatenate(folds, 1))
    return joint, FoldIn(segments=tuple(segments), weighted=weighted)
