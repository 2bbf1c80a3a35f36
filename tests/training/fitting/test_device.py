import pytest
import torch

from gnnrec_training.config import Config
from gnnrec_training.errors import InvalidConfig
from gnnrec_training.fitting.device import training_device


def test_a_cuda_device_that_is_not_there_is_named() -> None:
    raw = {"name": "x", "data": {"interactions": "x.csv"}, "device": "cuda"}
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(InvalidConfig, match="no CUDA device"):
        training_device(Config.model_validate(raw))
