import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Tests multiply small matrices, which two threads only slow down."""
    torch.set_num_threads(1)
