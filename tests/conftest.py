import faulthandler
import os

import pytest
import torch
from hypothesis import HealthCheck, settings

# A busy machine draws examples slowly; that says nothing about what is tested.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_configure() -> None:
    """Tests talk to this machine alone: no proxy of the environment may come between."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]
    if "PYTEST_XDIST_WORKER" in os.environ:
        # there is a worker for each core; what two of them start would only wait for each other
        os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Tests multiply small matrices, which two threads only slow down."""
    torch.set_num_threads(1)


def pytest_unconfigure() -> None:
    """A process that does not end after its tests tells where it hangs, and fails."""
    faulthandler.dump_traceback_later(60, exit=True)
