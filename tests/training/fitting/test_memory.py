import subprocess
import sys

import pytest

from gnnrec_training.config import Config
from gnnrec_training.errors import InsufficientMemory
from gnnrec_training.fitting import memory
from tests.training.boards import checkerboard

_PROBE = """
import resource, torch
from gnnrec_training.fitting.memory import keep_freed
if {keep}: keep_freed()
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.ones(16_000_000)
before = faults()
for _ in range(10): torch.ones(16_000_000)
print(faults() - before)
"""


def faults(keep: bool) -> int:
    done = subprocess.run(
        [sys.executable, "-c", _PROBE.format(keep=keep)], check=True, capture_output=True
    )
    return int(done.stdout)


def test_kept_memory_is_not_handed_out_page_by_page_again() -> None:
    assert faults(keep=True) < faults(keep=False)


def test_a_training_that_cannot_fit_is_refused_with_figures() -> None:
    board = checkerboard(30)
    config = Config.model_validate(
        {"name": "x", "data": {"interactions": "x.csv"}, "lightgcn": {"embedding_dim": 4096}}
    )
    needed = memory.estimate(config, board)
    assert memory.check(config, board, available=needed) == needed
    with pytest.raises(InsufficientMemory, match=r"needs about \d+\.\d GiB and 0\.0 GiB are free"):
        memory.check(config, board, available=1000)
    assert memory.available_bytes() > 1 << 20
