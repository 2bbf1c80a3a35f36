import onnx
import pytest
import torch

from gnnrec_training.errors import ExportFailed
from gnnrec_training.export import onnx as node_onnx
from gnnrec_training.export.onnx import export_hybrid, export_sage
from gnnrec_training.models.hybrid import Hybrid
from gnnrec_training.models.sage import GraphSAGE


def test_onnx_files_are_verified_and_add_up_their_scatters(monkeypatch: pytest.MonkeyPatch) -> None:
    sage, hybrid = GraphSAGE(6, 5, 3, 0.5), Hybrid(4, 6, 5, 0.5)
    for layer in (hybrid.wide, hybrid.second):
        torch.nn.init.normal_(layer.weight)
    graph = onnx.load_from_string(export_sage(sage, 6)).graph
    scatters = [node for node in graph.node if node.op_type.startswith("Scatter")]
    assert scatters
    for node in scatters:
        assert {a.name: a.s for a in node.attribute}["reduction"] == b"add"
    export_hybrid(hybrid, 4, 6)
    wrong = export_sage(GraphSAGE(6, 5, 3), 6)
    monkeypatch.setattr(node_onnx, "_export", lambda *arguments: wrong)
    with pytest.raises(ExportFailed, match=r"does not give what torch gives for inputs of shape"):
        export_sage(sage, 6)
