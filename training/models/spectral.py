"""A closed-form recommender: the leading singular vectors of the degree-weighted interactions.

With W = D_u^-a R D_i^-b and V its right singular vectors, a user is R D_i^-b V and an item is
D_i^c V: what users have, smoothed by the graph's low frequencies, and seen at the other end. With
a = b = c = 1/2 it is the linear part of GF-CF (Shen et al. 2021, "How Powerful is Graph Convolution
for Recommendation?"). U users, I items, D dimensions.
"""

import math

import numpy as np
import torch
from torch import Tensor

from training.config import SpectralConfig
from training.data.dataset import Interactions
from training.graph import sparse_matrix

# A Lanczos basis of so many times D columns and some to spare, grown by at most so many at a time:
# enough for recommendation, though the last vectors have not converged to machine precision.
_OVERSAMPLING = 1.8
_SPARE = 64
_BLOCK = 128
_DENSE_ITEMS = 512


def spectral(
    train: Interactions, users: int, items: int, config: SpectralConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return user (U, D) and item (I, D) embeddings; D is at most the number of items."""
    user_degree = _degrees(train.user_rows, train.weights, users)
    item_degree = _degrees(train.item_rows, train.weights, items)
    values = train.weights * (
        user_degree[train.user_rows] ** -config.user_exponent
        * item_degree[train.item_rows] ** -config.item_exponent
    )
    weighted = sparse_matrix(train.user_rows, train.item_rows, values, (users, items))
    transposed = sparse_matrix(train.item_rows, train.user_rows, values, (items, users))
    vectors = right_singular_vectors(
        weighted, transposed, min(config.embedding_dim, items), generator
    )
    had = sparse_matrix(train.user_rows, train.item_rows, train.weights, (users, items))
    degree = torch.from_numpy(item_degree).float()[:, None]
    user_embeddings = had @ (vectors * degree**-config.item_exponent)
    return user_embeddings, vectors * degree**config.output_exponent


def right_singular_vectors(
    matrix: Tensor, transposed: Tensor, count: int, generator: torch.Generator
) -> Tensor:
    """Return the right singular vectors of the `count` largest singular values: (I, count).

    matrix (U, I) and its transpose as sparse CSR. Block Lanczos on the smaller Gram side with full
    reorthogonalisation and one Rayleigh-Ritz step (Golub and Underwood 1977; Golub and Van Loan,
    "Matrix Computations", 10.3.6): each block costs two sparse products, and all else are dense
    products.
    """
    items = matrix.shape[1]
    if items <= _DENSE_ITEMS or 2 * count > items:
        return _dense(matrix, count)
    block = min(_BLOCK, -(-count // 8))
    blocks = min(math.ceil((count * _OVERSAMPLING + _SPARE) / block), items // block)
    basis = torch.empty(blocks * block, items)  # row-major: a block is a run of rows
    projected = torch.zeros(blocks * block, blocks * block, dtype=torch.float64)
    current = _orthonormal(torch.randn(items, block, generator=generator))
    for step in range(blocks):
        start, stop = step * block, (step + 1) * block
        basis[start:stop] = current.T
        done = basis[:stop]
        following = transposed @ (matrix @ current)  # (I, block)
        coefficients = done @ following
        projected[:stop, start:stop] = coefficients.double()
        following = following - done.T @ coefficients
        following = following - done.T @ (done @ following)  # once more, against rounding
        if step + 1 < blocks:
            current = _orthonormal(following)
    projected = torch.triu(projected)
    projected = projected + torch.triu(projected, 1).T
    _, rotation = torch.linalg.eigh(projected)  # ascending
    vectors: Tensor = basis.T @ rotation.flip(1)[:, :count].float()
    return vectors


def _dense(matrix: Tensor, count: int) -> Tensor:
    """Do it by a dense decomposition, for catalogues of a few hundred items."""
    dense = matrix.to_dense().double()
    _, vectors = torch.linalg.eigh(dense.T @ dense)  # ascending
    leading: Tensor = vectors.flip(1)[:, :count].float()
    return leading


def _orthonormal(block: Tensor) -> Tensor:
    """Return an orthonormal basis of the columns: CholeskyQR twice, or QR where that fails."""
    for _ in range(2):
        factor, failed = torch.linalg.cholesky_ex((block.T @ block).double())
        if failed:
            orthonormal: Tensor = torch.linalg.qr(block)[0]
            return orthonormal
        block = torch.linalg.solve_triangular(factor, block.T.double(), upper=False).T.float()
    return block


def _degrees(rows: np.ndarray, weights: np.ndarray, count: int) -> np.ndarray:
    """Return the sum of the weights at each node, and 1 where there is none."""
    degrees = np.bincount(rows, weights.astype(np.float64), minlength=count)
    return np.where(degrees > 0, degrees, 1.0)
