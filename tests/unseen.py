"""A published version with every way to embed newcomers: fold-ins, a sage and a hybrid model."""

import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch_geometric.nn import SAGEConv

from gnnrec_registry import (
    Export,
    FeatureEncoder,
    FeaturesExport,
    FoldIn,
    ModelStore,
    NodeFeatures,
    NodeModel,
    Segment,
    VariantExport,
    Version,
)
from gnnrec_registry.features.encoders import (
    CategoricalEncoding,
    Matrix,
    NumericEncoding,
    Value,
    VectorEncoding,
)
from gnnrec_registry.files.arrays import Embeddings
from tests import made

USERS, ITEMS, WIDTH = 12, 9, 4

# User u has had items (u mod 9), (2u mod 9) and, all but the last user, i0.
SEEN = [sorted({u % ITEMS, 2 * u % ITEMS, *([0] if u < 11 else [])}) for u in range(USERS)]

USER_TABLE: dict[str, list[Value | None]] = {
    "age": [20.0 + u if u % 4 else None for u in range(USERS)],
    "goal": ["degree" if u % 2 else "fun" for u in range(USERS)],
    "interests": [["Music", "Law"][: u % 3] for u in range(USERS)],
}
ITEM_TABLE: dict[str, list[Value | None]] = {
    "level": ["first" if i % 2 else "second" for i in range(ITEMS)],
    "tags": [["graphs", "art", "maths"][i % 3 :] for i in range(ITEMS)],
    "text": [[i, 3.0] if i % 3 else None for i in range(ITEMS)],
}
FEATURES = NodeFeatures(
    users=FeatureEncoder(
        columns=(
            NumericEncoding(name="age", mean=25.0, std=5.0, centres=(20.0, 30.0), spread=5.0),
            CategoricalEncoding(kind="categorical", name="goal", categories=("degree", "fun")),
            CategoricalEncoding(kind="multi", name="interests", categories=("Law", "Music")),
        )
    ),
    items=FeatureEncoder(
        columns=(
            CategoricalEncoding(kind="categorical", name="level", categories=("first", "second")),
            CategoricalEncoding(
                kind="tags", name="tags", categories=("art", "graphs", "maths"), weights=(1, 2, 3)
            ),
            VectorEncoding(name="text", size=2),
        )
    ),
)
USER_FEATURES: Matrix = FEATURES.users.encode(USER_TABLE, Counter())
ITEM_FEATURES: Matrix = FEATURES.items.encode(ITEM_TABLE, Counter())

FOLD = made.embeddings(ITEMS, WIDTH, seed=3)
FOLD_IN = FoldIn(segments=(Segment(width=WIDTH, degree_exponent=0.5),))
MIXED = FoldIn(
    weighted=True,
    segments=(
        Segment(width=1, degree_exponent=0),
        Segment(width=2, degree_exponent=0.5),
        Segment(width=1, degree_exponent=1),
    ),
)


def described(user: int) -> dict[str, Value]:
    """Return the raw features of a user of the training data, without the missing ones."""
    row = {name: values[user] for name, values in USER_TABLE.items()}
    return {name: value for name, value in row.items() if value is not None}


class Sage(nn.Module):
    """x (N, F), edge_index (2, E) -> (N, D)."""

    def __init__(self, embedding_dim: int = WIDTH) -> None:
        super().__init__()
        self.first = SAGEConv(FEATURES.width, 8)
        self.second = SAGEConv(8, embedding_dim)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Send messages twice."""
        hidden = self.first(x, edge_index).relu()
        embeddings: Tensor = self.second(hidden, edge_index)
        return embeddings


class Hybrid(nn.Module):
    """graph (N, D), x (N, F) -> (N, D)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(WIDTH + FEATURES.width, 6), nn.ReLU(), nn.Linear(6, WIDTH)
        )

    def forward(self, graph: Tensor, x: Tensor) -> Tensor:
        """Join the two and transform them."""
        embeddings: Tensor = self.layers(torch.cat([graph, x], dim=1))
        return embeddings


def to_onnx(model: nn.Module, sample: Mapping[str, Tensor], dynamic: Mapping[str, Any]) -> bytes:
    """Return a model as ONNX, with the sample's names for inputs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, while it exports
        program = torch.onnx.export(
            model.eval(), tuple(sample.values()), dynamo=True, opset_version=18,
            external_data=False, input_names=list(sample), output_names=["embeddings"],
            dynamic_shapes=dict(dynamic), verbose=False,
        )  # fmt: skip
    assert program is not None
    content: bytes = program.model_proto.SerializeToString()
    return content


def sage_onnx(model: nn.Module) -> bytes:
    """Return a Sage as ONNX."""
    nodes, edges = torch.export.Dim("N"), torch.export.Dim("E")
    sample = {"x": torch.zeros(3, FEATURES.width), "edge_index": torch.tensor([[1, 2], [0, 1]])}
    return to_onnx(model, sample, {"x": {0: nodes}, "edge_index": {1: edges}})


def hybrid_onnx(model: nn.Module) -> bytes:
    """Return a Hybrid as ONNX."""
    nodes = torch.export.Dim("N")
    sample = {"graph": torch.zeros(3, WIDTH), "x": torch.zeros(3, FEATURES.width)}
    return to_onnx(model, sample, {"graph": {0: nodes}, "x": {0: nodes}})


@cache
def sage_model() -> Sage:
    """Return the torch model behind sage."""
    torch.manual_seed(1)
    return Sage()


@cache
def hybrid_model() -> Hybrid:
    """Return the torch model behind hybrid."""
    torch.manual_seed(2)
    return Hybrid()


@cache
def sage() -> VariantExport:
    """Return the embeddings by the torch model over the whole graph, edges both ways."""
    model = sage_model()
    x = np.concatenate([FEATURES.user_inputs(USER_FEATURES), FEATURES.item_inputs(ITEM_FEATURES)])
    pairs = [(user, USERS + item) for user, items in enumerate(SEEN) for item in items]
    edges = torch.tensor([*pairs, *((item, user) for user, item in pairs)]).T
    output = _output(model(torch.from_numpy(x), edges))
    node_model = NodeModel(kind="sage", file="sage/sage.onnx")
    return VariantExport(output[:USERS], output[USERS:], model=node_model, onnx=sage_onnx(model))


@cache
def hybrid() -> VariantExport:
    """Return the embeddings by the torch model, from those of lightgcn and the features."""
    model = hybrid_model()
    graph = lightgcn()
    around_users = np.stack([ITEM_FEATURES[items].mean(axis=0) for items in SEEN])
    users = FEATURES.user_inputs(USER_FEATURES, around_users)
    items = FEATURES.item_inputs(ITEM_FEATURES)
    node_model = NodeModel(kind="hybrid", file="hybrid/hybrid.onnx", graph="lightgcn")
    return VariantExport(
        _output(model(torch.from_numpy(graph.users), torch.from_numpy(users))),
        _output(model(torch.from_numpy(graph.items), torch.from_numpy(items))),
        model=node_model,
        onnx=hybrid_onnx(model),
    )


def lightgcn() -> VariantExport:
    """Return embeddings whose users are what their items fold into."""
    users = np.stack([FOLD[items].sum(axis=0) / len(items) ** 0.5 for items in SEEN])
    items = made.embeddings(ITEMS, WIDTH, seed=4)
    return VariantExport(users.astype(np.float32), items, fold_in=FOLD_IN, fold=FOLD)


def _output(embeddings: Tensor) -> Embeddings:
    array: NDArray[np.float32] = embeddings.detach().numpy()
    return array


def export(**variants: VariantExport) -> Export:
    """Return a version to be; without `variants`, of all kinds, lightgcn the default."""
    if not variants:
        mixed = replace(lightgcn(), fold_in=MIXED)
        plain = replace(lightgcn(), fold_in=None, fold=None)
        variants = {"fused": mixed, "plain": plain, "sage": sage(), "hybrid": hybrid()}
    base = made.export(lightgcn().users, lightgcn().items, SEEN)
    features = FeaturesExport(FEATURES, USER_FEATURES, ITEM_FEATURES)
    return replace(base, variants={"lightgcn": lightgcn()} | variants, features=features)


def publish(root: Path, version: str | None = None, **variants: VariantExport) -> Version:
    """Publish an export."""
    return ModelStore(root, "toy").publish(export(**variants), version=version)
