"""Sorting by several keys: the permutation of numpy.lexsort in a fraction of its time.

torch sorts integers by their digits, which at 20M entries is several times as fast.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

_SIGN = np.int64(2**63 - 1)


def order_by(*keys: NDArray[Any]) -> NDArray[np.int64]:
    """Return the permutation (E,) that sorts by the first key, ties by the next, then by position.

    keys (E,) each, of integers or floats; no NaN.
    """
    order: NDArray[np.int64] | None = None
    for key in reversed(keys):
        numbers = _whole(key)
        step = torch.argsort(
            torch.from_numpy(numbers if order is None else numbers[order]), stable=True
        ).numpy()
        order = step if order is None else order[step]
    assert order is not None
    return order


def _whole(key: NDArray[Any]) -> NDArray[Any]:
    """Return integers that sort as the keys do; a float's are its bits, in reverse if negative."""
    if key.dtype.kind != "f":
        return key
    bits = (key.astype(np.float64) + 0.0).view(np.int64)  # makes -0.0 the same as 0.0
    return np.where(bits < 0, bits ^ _SIGN, bits)
