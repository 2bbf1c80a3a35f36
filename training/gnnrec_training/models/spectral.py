"""A closed-form recommender: the leading singular vectors of the degree-weighted interactions.

With W = D_u^-a R D_i^-b and V its right singular vectors, a user is R D_i^-b V and an item is
D_i^c V: what users have, smoothed by the graph's low frequencies, and seen at the other end. With
a = b = c = 1/2 it is the linear part of GF-CF (Shen et al. 2021, "How Powerful is Graph Convolution
for Recommendation?"). U users, I items, D dimensions.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gnnrec_training.config import SpectralConfig
from gnnrec_training.data.dataset import Interactions
from gnnrec_training.graph.propagation import EmbeddingPair
from gnnrec_training.graph.sparse import sparse_matrix

# A Lanczos basis of so many times D columns and some to spare, grown by at most so many at a time:
# enough for recommendation, though the last vectors have not converged to machine precision.
_OVERSAMPLING = 1.8
_SPARE = 64
_BLOCK = 128
_DENSE = 512
_LOST = 1e-2
_RANK = 1e-6


def spectral(
    train: Interactions,
    users: int,
    items: int,
    config: SpectralConfig,
    generator: torch.Generator,
    advance: Callable[[float], None] = lambda share: None,
) -> tuple[EmbeddingPair, Tensor]:
    """Return the embeddings of users (U, D) and items (I, D), and what users sum up: (I, D).

    D is at most the number of items. A user is the weighted sum of that over the user's items.
    `advance` hears the share done.
    """
    user_degree = _degrees(train.user_rows, train.weights, users)
    item_degree = _degrees(train.item_rows, train.weights, items)
    values = train.weights * (
        user_degree[train.user_rows] ** -config.user_exponent
        * item_degree[train.item_rows] ** -config.item_exponent
    )
    weighted = sparse_matrix(train.user_rows, train.item_rows, values, (users, items))
    transposed = sparse_matrix(train.item_rows, train.user_rows, values, (items, users))
    vectors = right_singular_vectors(
        weighted, transposed, min(config.embedding_dim, items), generator, advance
    )
    had = sparse_matrix(train.user_rows, train.item_rows, train.weights, (users, items))
    degree = torch.from_numpy(item_degree).float()[:, None]
    summed_up = vectors * degree**-config.item_exponent
    return (had @ summed_up, vectors * degree**config.output_exponent), summed_up


def right_singular_vectors(
    matrix: Tensor,
    transposed: Tensor,
    count: int,
    generator: torch.Generator,
    advance: Callable[[float], None] = lambda share: None,
) -> Tensor:
    """Return the right singular vectors of the `count` largest singular values: (I, count).

    matrix (U, I) and its transpose as sparse CSR; columns beyond the rank may be zero. Block
    Lanczos on the Gram matrix with full reorthogonalisation and one Rayleigh-Ritz step (Golub and
    Van Loan, "Matrix Computations", 10.3.6): a block costs two sparse products, all else is dense.
    """
    users, items = matrix.shape
    if min(users, items) <= _DENSE or 2 * count > min(users, items):
        return _exact(matrix, transposed, count)
    block = min(_BLOCK, -(-count // 8))
    wanted = math.ceil((count * _OVERSAMPLING + _SPARE) / block)
    blocks = min(wanted, min(users, items) // block)
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
        current = _orthonormal(following)
        advance((step + 1) / blocks)
        if step + 1 < blocks and not float((done @ current).abs().max()) < _LOST:
            break  # the matrix has no more directions; what is left is rounding
    return _ritz(basis[:stop], projected[:stop, :stop], count)


def _ritz(basis: Tensor, projected: Tensor, count: int) -> Tensor:
    """Return the leading eigenvectors that the basis (M, I) holds: (I, count), zero past M."""
    upper = torch.triu(projected)
    _, rotation = torch.linalg.eigh(upper + torch.triu(upper, 1).T)  # ascending
    vectors: Tensor = basis.T @ rotation.flip(1)[:, :count].float()
    return F.pad(vectors, (0, count - vectors.shape[1]))


def _exact(matrix: Tensor, transposed: Tensor, count: int) -> Tensor:
    """Decompose the Gram matrix of the smaller side, where it is small or mostly wanted."""
    users, items = matrix.shape
    if items <= users:
        values, vectors = torch.linalg.eigh(_gram(transposed, matrix))  # ascending
        vectors = vectors * (values > _RANK * values[-1])
    else:
        values, left = torch.linalg.eigh(_gram(matrix, transposed))
        scale = torch.where(values > _RANK * values[-1], values.clamp(min=1e-300).rsqrt(), 0)
        vectors = (transposed @ (left * scale).float()).double()
    leading: Tensor = vectors.flip(1)[:, :count].float()
    return F.pad(leading, (0, count - leading.shape[1]))


def _gram(wide: Tensor, tall: Tensor) -> Tensor:
    """Return wide @ tall as a dense float64 matrix, a block of columns at a time."""
    identity = torch.eye(tall.shape[1])
    parts = torch.split(identity, _BLOCK, dim=1)
    return torch.cat([wide @ (tall @ part) for part in parts], 1).double()


def _orthonormal(block: Tensor) -> Tensor:
    """Return an orthonormal basis of the columns: CholeskyQR twice, or QR where that fails."""
    for _ in range(2):
        factor, failed = torch.linalg.cholesky_ex((block.T @ block).double())
        if failed:
            orthonormal: Tensor = torch.linalg.qr(block)[0]
            return orthonormal
        block = block @ torch.linalg.inv(factor).T.float()
    return block


def _degrees(rows: np.ndarray, weights: np.ndarray, count: int) -> np.ndarray:
    """Return the sum of the weights at each node, and 1 where there is none."""
    degrees = np.bincount(rows, weights.astype(np.float64), minlength=count)
    return np.where(degrees > 0, degrees, 1.0)
