"""Where to train."""

import torch

from gnnrec_training.config import Config
from gnnrec_training.errors import InvalidConfig


def training_device(config: Config) -> torch.device:
    """Return the configured device, or raise InvalidConfig where the machine does not have it."""
    there = torch.cuda.is_available()
    if config.device == "cuda" and not there:
        raise InvalidConfig('device is "cuda" and this machine has no CUDA device; use "auto"')
    return torch.device("cuda" if there and config.device != "cpu" else "cpu")
