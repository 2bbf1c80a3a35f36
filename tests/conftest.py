import pytest
import torch
from hypothesis import HealthCheck, settings

# A busy machine draws examples slowly; that says nothing about what is tested.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Tests multiply small matrices, which two threads only slow down."""
    torch.set_num_threads(1)
