"""Embeddings for users and items unseen in training, from interactions and features."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gnnrec_registry import FeatureEncoder
from gnnrec_registry.errors import InvalidFeature
from gnnrec_registry.features.encoders import Matrix, Value
from gnnrec_registry.files.arrays import Embeddings
from gnnrec_registry.scoring.ranking import NO_ROW, Rows
from gnnrec_server.errors import CannotEmbed, InvalidQuery
from gnnrec_server.version.node_models import Weights
from gnnrec_server.version.snapshot import LoadedVariant, Snapshot


@dataclass(frozen=True)
class Newcomer:
    """An embedding (D,), the rows of the items interacted with, and what was not understood."""

    vector: Embeddings
    item_rows: Rows
    unknown_item_ids: list[str]
    unknown_features: Counter[str]
    """How many texts of each feature training has not seen."""


def embed_user(
    snapshot: Snapshot,
    variant: LoadedVariant,
    weights: Mapping[str, float],
    features: Mapping[str, Value],
) -> Newcomer:
    """Embed a new user by what the variant takes: features and interactions, or the latter alone.

    weights: how much the interactions with each item count, by item id

    Raises InvalidQuery where nothing is left to embed from, CannotEmbed where the variant takes no
    new users.
    """
    rows, known_weights, unknown_ids = _find(snapshot, weights)
    unknown: Counter[str] = Counter()
    if variant.model is not None:
        if len(rows) == 0 and not features:
            raise InvalidQuery(
                "new_user", f"{_none_known(snapshot, weights)}, and it has no features"
            )
        own = _encode(snapshot.features.users, "new_user", features, unknown)
        vector = variant.model.user(own, rows, known_weights)
    elif variant.folding is not None:
        if len(rows) == 0:
            raise InvalidQuery(
                "new_user",
                f"{_none_known(snapshot, weights)}, and variant {variant.name!r} embeds new users "
                f"from interactions; variants that take features: {_that_take_features(snapshot)}",
            )
        vector = variant.folding.user(rows, known_weights)
    else:
        able = [other.name for other in snapshot.variants.values() if other.takes_new_users]
        raise CannotEmbed(
            f"variant {variant.name!r} of version {snapshot.version!r} cannot embed new users; "
            f"variants that can: {_listed(able)}"
        )
    return Newcomer(_finite("new_user", vector), rows, unknown_ids, unknown)


def embed_item(
    snapshot: Snapshot, variant: LoadedVariant, features: Mapping[str, Value]
) -> Newcomer:
    """Embed a new item by its features; raises CannotEmbed where the variant takes none."""
    if variant.model is None:
        raise CannotEmbed(
            f"variant {variant.name!r} of version {snapshot.version!r} cannot embed new items; "
            f"variants that can: {_that_take_features(snapshot)}"
        )
    unknown: Counter[str] = Counter()
    own = _encode(snapshot.features.items, "new_item", features, unknown)
    vector = _finite("new_item", variant.model.item(own))
    return Newcomer(vector, np.empty(0, np.int64), [], unknown)


def _finite(field: str, vector: Embeddings) -> Embeddings:
    """Return an embedding; raise InvalidQuery for one with which no score could be computed."""
    if not np.isfinite(vector).all():
        raise InvalidQuery(
            field, "has numbers so large that its embedding is beyond a float's range"
        )
    return vector


def _find(snapshot: Snapshot, weights: Mapping[str, float]) -> tuple[Rows, Weights, list[str]]:
    """Return the distinct known rows, ascending, their summed weights, and the unknown ids."""
    item_ids = list(weights)
    rows = snapshot.item_ids.rows(item_ids)
    known = rows != NO_ROW
    unknown = [item_ids[place] for place in np.flatnonzero(~known)]
    # two texts may be one id, but for outer spaces
    distinct, places = np.unique(rows[known], return_inverse=True)
    sums = np.bincount(places, np.array(list(weights.values()))[known], len(distinct))
    return distinct.astype(np.int64), sums.astype(np.float64), unknown


def _encode(
    encoder: FeatureEncoder, field: str, features: Mapping[str, Value], unknown: Counter[str]
) -> Matrix:
    try:
        return encoder.encode_one(features, unknown)
    except InvalidFeature as error:
        raise InvalidQuery(f"{field}.features[{error.name}]", error.problem) from None


def _none_known(snapshot: Snapshot, weights: Mapping[str, float]) -> str:
    if not weights:
        return "has no interactions"
    return f"has no interaction with an item of version {snapshot.version!r}"


def _that_take_features(snapshot: Snapshot) -> str:
    return _listed(
        [variant.name for variant in snapshot.variants.values() if variant.model is not None]
    )


def _listed(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names) or "none"
