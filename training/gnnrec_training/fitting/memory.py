"""The memory of a training: how much it will need, and that the process keeps what it has freed."""

import ctypes
import sys
from pathlib import Path

from gnnrec_training.config import Config
from gnnrec_training.config.defaults import defaults
from gnnrec_training.data.dataset import Dataset
from gnnrec_training.errors import InsufficientMemory

_FLOAT = 4
_EASE_EXACT = 20_000
"""Up to so many items the regression of EASE is a dense matrix."""
_SCORES = 1 << 26
"""How many scores of one model a search holds to fuse it with others."""
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # malloc.h


def check(config: Config, dataset: Dataset, available: int | None = None) -> int:
    """Return the estimate in bytes; raise InsufficientMemory if it is more than is available.

    available: in bytes; what the machine has left, unless given
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
    """Return about how many bytes the training needs at its peak."""
    items = len(dataset.item_ids)
    nodes = len(dataset.user_ids) + items
    # four arrays of the interactions, and indices and values of both directions of the graph
    graph = len(dataset.train) * (20 + 6 * 8)
    largest = 0
    if config.lightgcn is not None:
        width, training = config.lightgcn.embedding_dim, config.lightgcn.training
        # layer 0, its gradient, Adam's two moments, the final embeddings, their gradient, one
        # product, and the best layer 0 so far
        tables = 8 * nodes * width * _FLOAT
        # softmax computes its logits in small blocks; BPR holds the embeddings of all its pairs
        softmax = training.loss in ("softmax", "bsl")
        batch = training.negatives * width if softmax else training.batch_size * 6 * width
        largest = tables + 4 * batch * _FLOAT
    if config.spectral is not None:
        width = min(config.spectral.embedding_dim, len(dataset.item_ids))
        basis = 2 * width * len(dataset.item_ids) + 3 * (2 * width) ** 2
        largest = max(largest, (basis + 2 * nodes * width) * _FLOAT)
    if config.ease is not None and items <= _EASE_EXACT:
        largest = max(largest, 2 * items**2 * _FLOAT)
    if config.search is not None:
        widest = max(
            section.get("embedding_dim", 0)
            for section in defaults(dataset.figures, patient=True).values()
        )
        # the models that are kept, and the scores of each for the users of a fusion
        largest = max(largest, (4 * nodes * widest + 6 * _SCORES) * _FLOAT)
    for nodes_model in (config.sage, config.hybrid):
        if nodes_model is not None and dataset.features is not None:
            # three copies of the inputs, and three of the size of the hidden layer
            floats = 3 * dataset.features.encoding.width + 3 * nodes_model.hidden_dim
            largest = max(largest, nodes * floats * _FLOAT)
    return graph + largest


def available_bytes() -> int:
    """Return the free memory of the machine, or of its container if that is less."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
    except OSError:
        return free
    return free if limit == "max" else min(free, int(limit) - used)


def keep_freed() -> None:
    """Have this process keep the memory that it frees, and use it for its next arrays.

    By default glibc gives every large array back to the kernel, which hands it out again page by
    page: at 256 dimensions that takes a third of a training step. Without glibc this does nothing.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_TOP_PAD, 2**26)
