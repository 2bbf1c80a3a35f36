import numpy as np
import pytest
import torch

from gnnrec_training.models import ridge as module
from gnnrec_training.models.ridge import ridge


@pytest.mark.parametrize("columns", [3, 20], ids=["more rows", "more columns"])
def test_ridge_equals_its_formula(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 4)
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(10, columns)), generator.normal(size=(10, 2))
    expected = np.linalg.solve(x.T @ x + 0.5 * np.eye(columns), x.T @ y)
    found = ridge(torch.from_numpy(x).float(), torch.from_numpy(y).float(), 0.5)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)
