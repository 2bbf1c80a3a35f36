"""Ridge regression: where the linear path of the hybrid starts."""

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
        return _as(wide.T @ dual, y)
    gram = torch.zeros(columns, columns, dtype=torch.float64)
    moments = torch.zeros(columns, y.shape[1], dtype=torch.float64)
    for some, theirs in zip(torch.split(x, _CHUNK), torch.split(y, _CHUNK), strict=True):
        part = some.double()
        gram += part.T @ part
        moments += part.T @ theirs.double()
    return _as(torch.linalg.solve(_raised(gram, strength), moments), y)


def _raised(gram: Tensor, strength: float) -> Tensor:
    return gram + strength * torch.eye(len(gram), dtype=gram.dtype)


def _as(weights: Tensor, y: Tensor) -> Tensor:
    return weights.to(y.dtype)
