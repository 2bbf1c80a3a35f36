"""What a training will need, told before it starts, and how it keeps what it has."""

import ctypes
import sys
from pathlib import Path

from gnnrec_training.config import Config
from gnnrec_training.data.dataset import Dataset
from gnnrec_training.errors import InsufficientMemory

_FLOAT = 4
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # malloc.h


def check(config: Config, dataset: Dataset, available: int | None = None) -> int:
    """Return the estimate in bytes, or raise InsufficientMemory with both figures.

    `available` is what the machine has left, unless given.
    """
    needed = estimate(config, dataset)
    available = available_bytes() if available is None else available
    if needed > available:
        nodes = len(dataset.user_ids) + len(dataset.item_ids)
        raise InsufficientMemory(
            f"training {nodes} nodes and {len(dataset.train)} interactions needs about "
            f"{needed / 2**30:.1f} GiB and {available / 2**30:.1f} GiB are free; a smaller "
            "embedding_dim or batch_size needs less"
        )
    return needed


def estimate(config: Config, dataset: Dataset) -> int:
    """Return about how many bytes the largest step of the training holds at once."""
    nodes = len(dataset.user_ids) + len(dataset.item_ids)
    # four arrays an interaction, the same sorted both ways as indices and values
    graph = len(dataset.train) * (20 + 6 * 8)
    largest = 0
    if config.lightgcn is not None:
        width, training = config.lightgcn.embedding_dim, config.lightgcn.training
        # layer 0, gradient, two moments, final, its gradient, a product under way, the best kept
        tables = 8 * nodes * width * _FLOAT
        # the softmax's logits stand in memory a block at a time, the pairs' embeddings all at once
        softmax = training.loss in ("softmax", "bsl")
        batch = training.negatives * width if softmax else training.batch_size * 6 * width
        largest = tables + 4 * batch * _FLOAT
    if config.spectral is not None:
        width = min(config.spectral.embedding_dim, len(dataset.item_ids))
        basis = 2 * width * len(dataset.item_ids) + 3 * (2 * width) ** 2
        largest = max(largest, (basis + 2 * nodes * width) * _FLOAT)
    for nodes_model in (config.sage, config.hybrid):
        if nodes_model is not None and dataset.features is not None:
            # the inputs three times over, the hidden layer and its gradient
            floats = 3 * dataset.features.encoding.width + 3 * nodes_model.hidden_dim
            largest = max(largest, nodes * floats * _FLOAT)
    return graph + largest


def available_bytes() -> int:
    """Return the free memory of the machine, or of the container's share of it if that is less."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
    except OSError:
        return free
    return free if limit == "max" else min(free, int(limit) - used)


def keep_freed() -> None:
    """Have this process keep freed memory for its next arrays instead of giving it back.

    glibc returns every large array to the kernel, which hands it out again page by page: at 256
    dimensions that is a third of a step. Elsewhere than on glibc it does nothing.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_TOP_PAD, 2**26)
