"""GraphSAGE and the hybrid as ONNX files, checked against torch before they are published.

N nodes, E directed edges, F inputs, D dimensions.
"""

import logging
import warnings
from collections.abc import Iterator

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn
from torch.export import Dim

from gnnrec_training.errors import ExportFailed
from gnnrec_training.models.hybrid import Hybrid
from gnnrec_training.models.sage import GraphSAGE

_OPSET = 18
_TOLERANCE = 1e-5
_SIZES = ((1, 0), (1, 3), (2, 1), (7, 0), (50, 40), (333, 2500))
"""Nodes and edges of the graphs to check on; some have repeated edges, some nodes without."""


def export_sage(model: GraphSAGE, inputs: int) -> bytes:
    """Return the model as an ONNX file: x (N, F), edge_index (2, E) -> embeddings (N, D).

    inputs: F. Raises ExportFailed unless ONNX Runtime gives what torch gives on graphs of several
    sizes.
    """
    x, edges = torch.zeros(4, inputs), torch.tensor([[0, 1, 2], [1, 2, 3]])
    shapes = {"x": {0: Dim("N")}, "edges": {1: Dim("E")}}
    content = _export(model, (x, edges), ["x", "edge_index"], shapes)
    generator = torch.Generator().manual_seed(0)
    _verify(content, model, ["x", "edge_index"], _graphs(inputs, generator))
    return content


def export_hybrid(model: Hybrid, width: int, inputs: int) -> bytes:
    """Return the model as an ONNX file: graph (N, D), x (N, F) -> embeddings (N, D).

    width: D; inputs: F. Raises ExportFailed unless ONNX Runtime gives what torch gives for several
    numbers of nodes.
    """
    arguments = (torch.ones(4, width), torch.zeros(4, inputs))
    shapes = {"graph": {0: Dim("N")}, "x": {0: Dim("N")}}
    content = _export(model, arguments, ["graph", "x"], shapes)
    generator = torch.Generator().manual_seed(0)
    _verify(content, model, ["graph", "x"], _nodes(width, inputs, generator))
    return content


def _export(
    model: nn.Module,
    arguments: tuple[Tensor, ...],
    names: list[str],
    shapes: dict[str, dict[int, Dim]],
) -> bytes:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(
            model.eval(),
            arguments,
            input_names=names,
            output_names=["embeddings"],
            dynamo=True,
            opset_version=_OPSET,
            dynamic_shapes=shapes,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    content: bytes = program.model_proto.SerializeToString()
    return content


def _graphs(inputs: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    for nodes, edges in _SIZES:
        drawn = torch.randint(nodes, (2, edges), generator=generator)
        twice = torch.cat([drawn, drawn[:, : edges // 2]], 1)  # duplicate edges count twice
        yield torch.randn(nodes, inputs, generator=generator), twice


def _nodes(width: int, inputs: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    for nodes, _ in _SIZES:
        graph = torch.randn(nodes, width, generator=generator)
        graph[::2] = 0  # nodes without a graph embedding
        yield graph, torch.randn(nodes, inputs, generator=generator)


@torch.no_grad()
def _verify(
    content: bytes,
    model: nn.Module,
    names: list[str],
    cases: Iterator[tuple[Tensor, Tensor]],
) -> None:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    for case in cases:
        feeds = {name: part.numpy() for name, part in zip(names, case, strict=True)}
        (found,) = session.run(["embeddings"], feeds)
        expected = model(*case).numpy()
        if found.shape != expected.shape or not np.allclose(
            found, expected, rtol=_TOLERANCE, atol=_TOLERANCE
        ):
            sizes = " and ".join(str(tuple(part.shape)) for part in case)
            raise ExportFailed(
                f"ONNX Runtime does not give what torch gives for inputs of shape {sizes}; "
                "nothing was published"
            )
