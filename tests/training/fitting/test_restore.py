"""What is kept of a training on one device goes on upon another, without a device of that kind.

A tensor on the device "meta" has a place and no content, so it tells where a resumed training on
a GPU would have its tensors.
"""

import io
from collections.abc import Callable

import pytest
import torch

from gnnrec_training.fitting import lightgcn, node_models
from gnnrec_training.fitting.checkpoint import Saved
from gnnrec_training.models.sage import GraphSAGE
from tests.training.boards import checkerboard
from tests.training.kinds import QUICK, inputs
from tests.training.untrained import build, shape


def written_and_read(state: Saved) -> Saved:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    read: Saved = torch.load(buffer, map_location="cpu", weights_only=True)
    return read


def lightgcn_training(device: str) -> lightgcn._Training:
    model, batches = build(checkerboard(8), config := shape(4, 1))
    return lightgcn._Training(model.to(device), batches, config.training, torch.Generator())


def sage_training(device: str) -> node_models._Training:
    data = inputs()

    def loss(model: GraphSAGE, *_: object) -> torch.Tensor:
        return sum((values.sum() for values in model.parameters()), torch.zeros(()))

    model = GraphSAGE(data.x.shape[1], 4, 4).to(device)
    return node_models._Training(model, loss, lambda fitted: fitted, data, QUICK, 0)


Make = Callable[[str], lightgcn._Training | node_models._Training]


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("make", [lightgcn_training, sage_training])
def test_moments_are_resumed_where_their_parameters_are(make: Make, device: str) -> None:
    """The count of steps of a fused optimizer is there too; others keep it on the CPU."""
    before, after = make("cpu"), make(device)
    before.step(before.epoch()[0], 0.01)  # type: ignore[arg-type]
    after._optimizer.load_state_dict(written_and_read(before.state())["optimizer"])
    (group,) = after._optimizer.param_groups
    assert len(after._optimizer.state) == len(group["params"]) > 0
    for parameter in group["params"]:
        state = after._optimizer.state[parameter]
        assert parameter.device.type == device
        assert {state[name].device.type for name in ("exp_avg", "exp_avg_sq")} == {device}
        assert state["step"].device.type == (device if group["fused"] else "cpu")
        if device == "cpu":
            assert float(state["step"]) == 1
