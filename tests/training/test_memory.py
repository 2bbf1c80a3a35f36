import subprocess
import sys

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
