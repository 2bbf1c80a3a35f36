"""How many threads the libraries that compute may use: as many as this process has cores."""

import os
from pathlib import Path

import faiss
import threadpoolctl


def available_cores(root: Path = Path("/")) -> int:
    """Return how many cores this process may use: of the machine, and of the container's quota."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = (root / "sys/fs/cgroup/cpu.max").read_text().split()
        return min(cores, max(1, int(quota) // int(period)))
    except (OSError, ValueError):  # no such group, or "max"
        return cores


def limit(count: int = 1) -> None:
    """Let FAISS, when it is called by this thread, and BLAS compute on so many cores."""
    threadpoolctl.threadpool_limits(count)
    faiss.omp_set_num_threads(count)
