"""Features of users and items, as vectors that models take.

N is the number of users or of items.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gnnrec_registry import FeatureEncoder, FeaturesExport, NodeFeatures
from gnnrec_registry.features.encoders import (
    CategoricalEncoding,
    Encoding,
    Matrix,
    NumericEncoding,
    TableValue,
    VectorEncoding,
)
from gnnrec_training.config import NodeFeatureConfig
from gnnrec_training.data.dataset import Dataset
from gnnrec_training.data.node_tables import NodeTable
from gnnrec_training.errors import InvalidData


def add_features(dataset: Dataset, users: NodeTable | None, items: NodeTable | None) -> Dataset:
    """Return the data set with the encoded features of its users and items, if tables have any.

    Encodings are fitted to the users and items of train, and then encode all. If only one of users
    and items has features, the other's vectors have width 0. Raises InvalidData for a feature that
    no user or item of train has.
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
    """Fit encodings to the first `trained` of the ids (N,), and encode all: (N, width).

    `unknown` counts the texts that the encodings leave out.
    """
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
    """Return the encoding of a feature, fitted to its `known` values, none of them missing.

    Tags are weighted by their smoothed inverse document frequency, ln((1 + n) / (1 + n_t)) + 1, for
    n nodes of which n_t have the tag. Raises InvalidData for values that are too large to take a
    mean of, and where min_count leaves no text.
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
    # a text counts once for each node; tags in lower case, as the encoding reads them
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
    # the mean of equal numbers may differ from them by rounding, which leaves a tiny deviation
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
    """Fit to vectors: known (N, W)."""
    width = known.shape[1]
    if feature.scaling == "unit":
        return VectorEncoding(name=feature.name, size=width)
    with np.errstate(over="ignore", invalid="ignore"):
        mean, std = known.mean(axis=0), known.std(axis=0)
    if not np.isfinite(mean).all() or not np.isfinite(std).all():
        raise InvalidData(f"feature {feature.name!r}: its values are too large to take a mean of")
    # a constant number keeps deviation 1, as in _fit_numeric
    std = np.where((std > 0) & (known.min(axis=0) < known.max(axis=0)), std, 1.0)
    return VectorEncoding(
        name=feature.name, size=width, mean=tuple(mean.tolist()), std=tuple(std.tolist())
    )


def _texts(value: TableValue, *, lower: bool) -> set[str]:
    """Return the different texts of one node's value."""
    texts = [value] if isinstance(value, str) else value
    assert isinstance(texts, Sequence)  # only numeric features have numbers as values
    return {text.strip().lower() if lower else text for text in map(str, texts)}
