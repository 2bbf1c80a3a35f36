"""Ridge regression, from which the hybrid's linear path starts."""

import torch
from torch import Tensor

_CHUNK = 65_536


def ridge(x: Tensor, y: Tensor, strength: float) -> Tensor:
    """Return the weights that minimise |x @ weights - y|^2 + strength * |weights|^2.

    x (N, F), y (N, D) -> (F, D), solved in float64 over the smaller of N and F. `strength` > 0.
    """
    rows, columns = x.shape
    if columns > rows:
        wide = x.double()
        dual = torch.linalg.solve(_raised(wide @ wide.T, strength), y.double())
        weights: Tensor = wide.T @ dual
        return weights.to(y.dtype)
    gram = torch.zeros(columns, columns, dtype=torch.float64)
    moments = torch.zeros(columns, y.shape[1], dtype=torch.float64)
    for x_part, y_part in zip(torch.split(x, _CHUNK), torch.split(y, _CHUNK), strict=True):
        part = x_part.double()
        gram += part.T @ part
        moments += part.T @ y_part.double()
    weights = torch.linalg.solve(_raised(gram, strength), moments)
    return weights.to(y.dtype)


def _raised(gram: Tensor, strength: float) -> Tensor:
    """Add the penalty to the diagonal."""
    return gram + strength * torch.eye(len(gram), dtype=gram.dtype)
