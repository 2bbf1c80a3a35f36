"""From what is known of the nodes to the vectors that models take.

U users, I items, F_u and F_i the widths of what they are described by.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gnnrec_registry import FeatureEncoder, FeaturesExport, NodeFeatures
from gnnrec_registry.features import (
    CategoricalEncoding,
    Encoding,
    Matrix,
    NumericEncoding,
    TableValue,
    VectorEncoding,
)
from gnnrec_training.config_data import NodeFeatureConfig
from gnnrec_training.data.dataset import Dataset
from gnnrec_training.data.nodes import NodeTable
from gnnrec_training.errors import InvalidData


def describe(dataset: Dataset, users: NodeTable | None, items: NodeTable | None) -> Dataset:
    """Return the data set with the features of its nodes, if the tables have any.

    The encodings are fitted to the nodes of train, which come first; every node is encoded. A side
    without features has width 0. Raises InvalidData for a feature that no node of train has.
    """
    if not any(table is not None and table.features for table in (users, items)):
        return dataset
    trained_users, trained_items = (
        int(rows.max()) + 1 for rows in (dataset.train.user_rows, dataset.train.item_rows)
    )
    unknown: Counter[str] = Counter()
    user_encoder, user_rows = _encode("users", users, dataset.user_ids, trained_users, unknown)
    item_encoder, item_rows = _encode("items", items, dataset.item_ids, trained_items, unknown)
    encoding = NodeFeatures(users=user_encoder, items=item_encoder)
    return replace(
        dataset,
        features=FeaturesExport(encoding, user_rows, item_rows),
        unknown_texts=dict(unknown),
    )


def _encode(
    side: str, table: NodeTable | None, ids: list[str], trained: int, unknown: Counter[str]
) -> tuple[FeatureEncoder, Matrix]:
    """Fit to the first `trained` nodes and encode all: ids (N,) -> (N, width)."""
    if table is None or not table.features:
        return FeatureEncoder(), np.zeros((len(ids), 0), np.float32)
    values = table.values_of(ids)
    columns: list[Encoding] = []
    for feature in table.features:
        known = [value for value in values[feature.name][:trained] if value is not None]
        if not known:
            raise InvalidData(
                f"{table.name}: none of the {trained} {side} with training interactions has a "
                f"value of feature {feature.name!r}; see its column, pattern and id_column"
            )
        columns.append(fit_encoding(feature, known))
    encoder = FeatureEncoder(columns=tuple(columns))
    counts: Counter[str] = Counter()
    rows = encoder.encode(values, counts)
    unknown.update({f"{side}.{name}": count for name, count in counts.items()})
    return encoder, rows


def fit_encoding(feature: NodeFeatureConfig, known: Sequence[TableValue]) -> Encoding:
    """Return the encoding of a feature that fits its values, none of them missing.

    Raises InvalidData when the values leave nothing to encode, or are too large to.
    """
    if feature.kind == "numeric":
        return _fit_numeric(feature, np.array(known, np.float64))
    if feature.kind == "vector":
        return _fit_vector(feature, np.array(known, np.float64))
    if feature.buckets:
        return CategoricalEncoding(
            kind=feature.kind,
            name=feature.name,
            pattern=feature.pattern,
            buckets=feature.buckets,
        )
    # a text counts once a node; tags as the encoding reads them
    nodes = [_texts(value, lower=feature.kind == "tags") for value in known]
    counts = Counter(text for texts in nodes for text in texts)
    frequent = [text for text, count in counts.items() if count >= feature.min_count]
    if not frequent:
        raise InvalidData(
            f"feature {feature.name!r}: no text is that of {feature.min_count} nodes with training "
            "interactions; set a lower min_count"
        )
    frequent.sort(key=lambda text: (-counts[text], text))
    kept = tuple(frequent[: feature.max_categories])
    weights = [math.log((1 + len(nodes)) / (1 + counts[text])) + 1 for text in kept]
    return CategoricalEncoding(
        kind=feature.kind,
        name=feature.name,
        pattern=feature.pattern,
        categories=kept,
        weights=tuple(weights) if feature.kind == "tags" else (),
    )


def _fit_numeric(feature: NodeFeatureConfig, known: NDArray[np.float64]) -> NumericEncoding:
    with np.errstate(over="ignore", invalid="ignore"):
        mean, std = float(known.mean()), float(known.std())
    if not math.isfinite(mean) or not math.isfinite(std):
        raise InvalidData(f"feature {feature.name!r}: its values are too large to take a mean of")
    # equal numbers may miss their own mean by a rounding
    std = std if std > 0 and known.min() < known.max() else 1.0
    if not feature.centres:
        return NumericEncoding(name=feature.name, pattern=feature.pattern, mean=mean, std=std)
    low, high = np.percentile(known, [1, 99])
    spread = float(high - low) / (feature.centres - 1)
    return NumericEncoding(
        name=feature.name,
        pattern=feature.pattern,
        mean=mean,
        std=std,
        centres=tuple(np.linspace(low, high, feature.centres).tolist()),
        spread=spread if spread > 0 else 1.0,
    )


def _fit_vector(feature: NodeFeatureConfig, known: NDArray[np.float64]) -> VectorEncoding:
    """Fit to vectors (N, W)."""
    width = known.shape[1]
    if feature.scaling == "unit":
        return VectorEncoding(name=feature.name, size=width)
    with np.errstate(over="ignore", invalid="ignore"):
        mean, std = known.mean(axis=0), known.std(axis=0)
    if not np.isfinite(mean).all() or not np.isfinite(std).all():
        raise InvalidData(f"feature {feature.name!r}: its values are too large to take a mean of")
    # as for a number
    std = np.where((std > 0) & (known.min(axis=0) < known.max(axis=0)), std, 1.0)
    return VectorEncoding(
        name=feature.name, size=width, mean=tuple(mean.tolist()), std=tuple(std.tolist())
    )


def _texts(value: TableValue, *, lower: bool) -> set[str]:
    texts = [value] if isinstance(value, str) else value
    assert isinstance(texts, Sequence)  # the readers give numbers to numeric features alone
    return {text.strip().lower() if lower else text for text in map(str, texts)}
