import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import faiss

from gnnrec_server.process import compute_threads


def test_a_container_s_quota_counts_besides_the_machine(tmp_path: Path) -> None:
    machine = len(os.sched_getaffinity(0))
    assert compute_threads.available_cores(tmp_path) == machine
    limit = tmp_path / "sys/fs/cgroup/cpu.max"
    limit.parent.mkdir(parents=True)
    for text, expected in (
        ("max 100000\n", machine),
        ("100000 100000\n", 1),
        ("50000 100000\n", 1),
        ("99900000 100000\n", machine),
    ):
        limit.write_text(text)
        assert compute_threads.available_cores(tmp_path) == expected


def test_a_thread_uses_as_many_as_it_is_told_to() -> None:
    with ThreadPoolExecutor(1, initializer=compute_threads.limit) as pool:
        assert pool.submit(faiss.omp_get_max_threads).result() == 1
        pool.submit(compute_threads.limit, 2).result()
        assert pool.submit(faiss.omp_get_max_threads).result() == 2
        pool.submit(compute_threads.limit).result()
        assert pool.submit(faiss.omp_get_max_threads).result() == 1
