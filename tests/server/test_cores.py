import os
from pathlib import Path

from server import cores


def test_a_container_s_quota_counts_besides_the_machine(tmp_path: Path) -> None:
    machine = len(os.sched_getaffinity(0))
    assert cores.available(tmp_path) == machine
    limit = tmp_path / "sys/fs/cgroup/cpu.max"
    limit.parent.mkdir(parents=True)
    for text, expected in (
        ("max 100000\n", machine),
        ("100000 100000\n", 1),
        ("50000 100000\n", 1),
        ("99900000 100000\n", machine),
    ):
        limit.write_text(text)
        assert cores.available(tmp_path) == expected
