"""How a variant embeds users and items unseen in training; docs/registry-format.md defines it.

With items j of weights w_j that a new user has interacted with, and rows f_j of the variant's fold:

    fold-in  e = (sum_j w_j f_j) / (sum_j w_j)^a      a the degree_exponent of a segment of
                                                     dimensions; w_j = 1 where weights do not count
    sage     e = SAGE(x, edges)[0]                   over the neighbourhood of the new node
    hybrid   e = hybrid(g, x)[0]                     g the fold-in of another variant, 0 for a node
                                                     without interactions

x holds the features of a node as the manifest encodes them; sage and hybrid are ONNX models.

U users, I items, D the variant's embedding_dim; F_u, F_i, F the widths of what describes users,
items, and a node to a model. P distinct items that a new user has interacted with.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gnnrec_registry import FoldIn, NodeFeatures, Version
from gnnrec_registry.features.encoders import Matrix
from gnnrec_registry.files.arrays import Embeddings
from gnnrec_registry.scoring.ranking import Rows
from gnnrec_server.errors import CannotStart, UnservableVersion
from gnnrec_server.version.neighbourhoods import ItemUsers
from gnnrec_server.version.onnx_model import CPU, Encoder

Weights = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Folding:
    """New users from interactions alone: a weighted sum of the items' rows of fold (I, D)."""

    rule: FoldIn
    fold: Embeddings

    def user(self, item_rows: Rows, weights: Weights) -> Embeddings:
        """Return a new user's embedding: item_rows (P,), weights (P,), P > 0 -> (D,)."""
        if not self.rule.weighted:
            weights = np.ones(len(item_rows))
        total = weights.sum()
        scales = [total**segment.degree_exponent for segment in self.rule.segments]
        widths = [segment.width for segment in self.rule.segments]
        summed = weights @ self.fold[item_rows].astype(np.float64)
        with np.errstate(over="ignore"):  # who asked for it finds out
            embedding: Embeddings = (summed / np.repeat(scales, widths)).astype(np.float32)
        return embedding


@dataclass(frozen=True, eq=False)
class Sage:
    """New nodes from their features and the graph around them."""

    encoder: Encoder
    features: NodeFeatures
    user_features: Matrix
    item_features: Matrix
    item_users: ItemUsers
    max_neighbours: int

    def user(self, own: Matrix, item_rows: Rows, weights: Weights) -> Embeddings:
        """Return a new user's embedding: own (1, F_u), item_rows (P,) -> (D,)."""
        around = self.item_users.around(item_rows, self.max_neighbours)
        nodes = [
            self.features.user_inputs(own),
            self.features.item_inputs(self.item_features[item_rows]),
            self.features.user_inputs(self.user_features[around.users]),
        ]
        return self._first(np.concatenate(nodes), around.edges)

    def item(self, own: Matrix) -> Embeddings:
        """Return a new item's embedding: own (1, F_i) -> (D,)."""
        return self._first(self.features.item_inputs(own), np.empty((2, 0), np.int64))

    def _first(self, x: Matrix, edges: NDArray[np.int64]) -> Embeddings:
        embedding: Embeddings = self.encoder.run({"x": x, "edge_index": edges})[0]
        return embedding


@dataclass(frozen=True, eq=False)
class Hybrid:
    """New nodes from their features and, of width D_g, a fold-in of another variant."""

    encoder: Encoder
    features: NodeFeatures
    item_features: Matrix
    graph_width: int
    folding: Folding | None
    """None where the other variant cannot fold in: then no newcomer is in the graph."""

    def user(self, own: Matrix, item_rows: Rows, weights: Weights) -> Embeddings:
        """Return a new user's embedding: own (1, F_u), item_rows, weights (P,) -> (D,)."""
        if len(item_rows) == 0:
            return self._first(self._no_graph(), self.features.user_inputs(own))
        graph = self._no_graph()
        if self.folding is not None:
            graph = self.folding.user(item_rows, weights)[None, :]
        around = self.item_features[item_rows].mean(axis=0, keepdims=True)
        return self._first(graph, self.features.user_inputs(own, around))

    def item(self, own: Matrix) -> Embeddings:
        """Return a new item's embedding: own (1, F_i) -> (D,)."""
        return self._first(self._no_graph(), self.features.item_inputs(own))

    def _no_graph(self) -> Matrix:
        return np.zeros((1, self.graph_width), np.float32)

    def _first(self, graph: Matrix, x: Matrix) -> Embeddings:
        embedding: Embeddings = self.encoder.run({"graph": graph, "x": x})[0]
        return embedding


Model = Sage | Hybrid


def load_foldings(version: Version) -> dict[str, Folding]:
    """Return the fold-in of each variant that has one."""
    return {
        name: Folding(entry.fold_in, version.fold(name))
        for name, entry in version.manifest.variants.items()
        if entry.fold_in is not None
    }


def load_models(
    version: Version, foldings: dict[str, Folding], max_neighbours: int, require_gpu: bool
) -> dict[str, Model]:
    """Return the model of each variant that has one, warmed up.

    Raises UnservableVersion for a model that does not do what the format says, CannotStart with
    `require_gpu` for one that ended on the CPU.
    """
    manifest = version.manifest
    features = manifest.features
    rules = {name: entry.model for name, entry in manifest.variants.items() if entry.model}
    if not rules or features is None:
        return {}
    user_features, item_features = version.features()
    has_sage = any(rule.kind == "sage" for rule in rules.values())
    item_users = None
    if has_sage:
        item_users = ItemUsers(*version.seen, manifest.data.items, version.liked)
    models: dict[str, Model] = {}
    for name, rule in rules.items():
        where = f"version {version.name!r}, variant {name!r}: {rule.file}"
        content, width = version.read(rule.file), manifest.variants[name].embedding_dim
        if item_users is not None and rule.kind == "sage":
            encoder = Encoder(where, content, _sage_samples(features.width), width)
            models[name] = Sage(
                encoder, features, user_features, item_features, item_users, max_neighbours
            )
        elif rule.graph is not None:
            graph_width = manifest.variants[rule.graph].embedding_dim
            encoder = Encoder(where, content, _hybrid_samples(graph_width, features.width), width)
            folding = foldings.get(rule.graph)
            models[name] = Hybrid(encoder, features, item_features, graph_width, folding)
        else:
            raise UnservableVersion(f"{where} does not name the variant of its graph input")
        if require_gpu and encoder.provider == CPU:
            raise CannotStart(
                f"{where} was bound to {CPU}, and --require-gpu asks for a GPU; install the CUDA "
                "libraries that onnxruntime-gpu needs, or serve without --require-gpu"
            )
    return models


def _sage_samples(width: int) -> list[dict[str, NDArray[np.float32] | NDArray[np.int64]]]:
    """Return a lone node, and three of which two are neighbours of the third."""
    return [
        {"x": np.zeros((1, width), np.float32), "edge_index": np.empty((2, 0), np.int64)},
        {"x": np.zeros((3, width), np.float32), "edge_index": np.array([[1, 2], [0, 1]])},
    ]


def _hybrid_samples(graph_width: int, width: int) -> list[dict[str, NDArray[np.float32]]]:
    return [
        {"graph": np.zeros((1, graph_width), np.float32), "x": np.zeros((1, width), np.float32)}
    ]
