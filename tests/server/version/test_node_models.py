from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gnnrec_registry import ModelStore, NodeModel
from gnnrec_registry.errors import VersionCorrupt
from gnnrec_server.errors import CannotStart, UnservableVersion
from gnnrec_server.version import loader
from gnnrec_server.version.onnx_model import CPU
from tests import made, unseen
from tests.end_to_end.command import refusal
from tests.server.running import running, scrape


def test_a_tampered_model_is_refused_by_its_checksum(tmp_path: Path) -> None:
    version = unseen.publish(tmp_path)
    path = version.file("sage/sage.onnx")
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(VersionCorrupt, match=r"sage/sage\.onnx has another sha256"):
        loader.load(version)


class Renamed(unseen.Sage):
    def forward(self, x: Tensor, links: Tensor) -> Tensor:
        return super().forward(x, links)


def renamed() -> bytes:
    """Return a sound model whose second input has another name."""
    nodes, edges = torch.export.Dim("N"), torch.export.Dim("E")
    tensor = torch.tensor([[1, 2], [0, 1]])
    sample = {"x": torch.zeros(3, unseen.FEATURES.width), "links": tensor}
    return unseen.to_onnx(Renamed(), sample, {"x": {0: nodes}, "links": {1: edges}})


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: b"", "cannot be loaded: "),
        (lambda: b"garbage", "cannot be loaded: .*INVALID_PROTOBUF"),
        (lambda: (unseen.sage().onnx or b"")[:-99], "cannot be loaded: "),
        (renamed, r"takes \['links', 'x'\].*expected \['edge_index', 'x'\]"),
        (lambda: unseen.hybrid().onnx, r"takes \['graph', 'x'\]"),
        (
            lambda: unseen.sage_onnx(unseen.Sage(embedding_dim=5)),
            r"gives float32 \(1, 5\), not float32 \(1, 4\)",
        ),
        (lambda: unseen.sage_onnx(broken()), "gives NaN or infinity"),
    ],
)
def test_a_model_that_breaks_the_format_is_named_with_the_reason(
    tmp_path: Path, build: Any, message: str
) -> None:
    version = unseen.publish(tmp_path, "v1", sage=replace(unseen.sage(), onnx=build()))
    with pytest.raises(UnservableVersion, match=message) as caught:
        loader.load(version)
    assert str(caught.value).startswith("version 'v1', variant 'sage': sage/sage.onnx ")


def broken() -> unseen.Sage:
    model = unseen.Sage()
    torch.nn.init.constant_(model.second.lin_l.bias, float("nan"))
    return model


def test_a_hybrid_over_a_variant_without_fold_in_sees_features_alone(tmp_path: Path) -> None:
    alone = replace(unseen.lightgcn(), fold_in=None, fold=None)
    version = unseen.publish(tmp_path, lightgcn=alone, hybrid=unseen.hybrid())
    model = loader.load(version).variants["hybrid"].model
    assert model is not None
    own = unseen.USER_FEATURES[[1]]
    around = unseen.ITEM_FEATURES[[2, 5]].mean(axis=0, keepdims=True)
    x = torch.from_numpy(unseen.FEATURES.user_inputs(own, around))
    expected = unseen.hybrid_model()(torch.zeros(1, unseen.WIDTH), x)[0].detach()
    got = model.user(own, np.array([2, 5]), np.ones(2))
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_a_model_without_a_graph_variant_is_refused(tmp_path: Path) -> None:
    nameless = NodeModel(kind="hybrid", file="hybrid/hybrid.onnx")
    version = unseen.publish(tmp_path, hybrid=replace(unseen.hybrid(), model=nameless))
    with pytest.raises(UnservableVersion, match="does not name the variant of its graph"):
        loader.load(version)


def provider(registry: Path) -> str:
    with running(registry) as server:
        providers = {
            dict(labels)["variant"]: dict(labels)["provider"]
            for name, labels in scrape(server)
            if name == "gnnrec_onnx_provider_info"
        }
    assert set(providers) == {"sage", "hybrid"}
    return providers["sage"]


def test_a_required_gpu_that_is_not_there_is_said_at_the_start(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    unseen.publish(tmp_path, "v1")
    ModelStore(tmp_path, "toy").aliases.promote("v1", alias="production")
    if provider(tmp_path) != CPU:
        pytest.skip("models are bound to a GPU here")
    with (
        pytest.raises(CannotStart, match="bound to CPUExecutionProvider, and --require-gpu asks"),
        running(tmp_path, require_gpu=True),
    ):
        pass
    assert capfd.readouterr() == ("", ""), "ONNX Runtime keeps quiet about it"
    line = refusal(
        "serve", "--registry", tmp_path, "--require-gpu",
        "--address", "127.0.0.1:0", "--metrics-port", 0,
    )  # fmt: skip
    assert "'hybrid': hybrid/hybrid.onnx was bound to CPUExecutionProvider" in line


def test_a_version_without_models_needs_no_gpu(tmp_path: Path) -> None:
    made.publish(tmp_path, version="v1")
    ModelStore(tmp_path, "toy").aliases.promote("v1", alias="production")
    with running(tmp_path, require_gpu=True) as server:
        assert server.client.top_k("u0").version == "v1"
