"""A recommender in closed form: the leading singular vectors of the degree-weighted interactions.

With R (U, I) the weighted interactions, D_u and D_i the degrees of users and items (sums of their
weights), and exponents a = user_exponent, b = item_exponent, c = output_exponent:

    W  = D_u^-a R D_i^-b          (U, I)
    W ~= P S V^T                  truncated singular value decomposition, V (I, D)

    users   R D_i^-b V            (U, D)
    items   D_i^c V               (I, D)
    scores  R D_i^-b V V^T D_i^c  (U, I)

V V^T is an ideal low-pass filter: of the graph's signals over items it keeps the D smoothest, the
eigenvectors of W^T W with the largest eigenvalues, and drops the rest. With a = b = c = 1/2 the
scores are the low-pass part of GF-CF (Shen et al. 2021, "How Powerful is Graph Convolution for
Recommendation?"). A new user's embedding is the same sum over items: the rows of D_i^-b V, each
times the weight of the interaction.

V is found from the Gram matrix G = W^T W without forming it (Golub and Van Loan, "Matrix
Computations", 10.3.6). Block Lanczos builds an orthonormal basis Q (I, M) of the Krylov space, a
block Q_j of at most 128 columns at a time:

    Q_1     = a random block, orthonormalised
    Z       = W^T (W Q_j)
    T_j     = Q^T Z                          all blocks so far: the columns of T = Q^T G Q
    Q_{j+1} = orthonormalise(Z - Q Q^T Z)    projected out twice, against rounding

and one Rayleigh-Ritz step, the eigenvectors Y of T (M, M), gives V = Q Y for the D largest
eigenvalues. M is 1.8 D + 64 in whole blocks, or less where W has fewer rows or columns: enough for
recommendation, though the last vectors have not converged to machine precision. A small W, or one
of which more than half is wanted, is decomposed through its dense Gram matrix on the smaller side:
W^T W, or W W^T and then V = W^T P S^-1.

U users, I items, D dimensions, M basis vectors.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gnnrec_training.config import SpectralConfig
from gnnrec_training.data.dataset import Interactions
from gnnrec_training.graph.propagation import EmbeddingPair
from gnnrec_training.graph.sparse import sparse_matrix
from gnnrec_training.reporter import ShareDone

# The Lanczos basis has _OVERSAMPLING * D + _SPARE columns, at most _BLOCK of them a block.
_OVERSAMPLING = 1.8
_SPARE = 64
_BLOCK = 128
# Up to this size the Gram matrix is decomposed as a whole.
_DENSE = 512
# A new block whose columns overlap the basis by more holds nothing but rounding.
_LOST = 1e-2
# Eigenvalues below this share of the largest count as zero.
_RANK = 1e-6
# A spectrum that lacks less than this share of the sum of all eigenvalues is complete.
_COMPLETE = 1e-4


@dataclass(frozen=True)
class Spectrum:
    """The leading singular vectors of the degree-weighted interactions W = D_u^-a R D_i^-b."""

    vectors: Tensor
    """V (I, D); columns beyond the rank of W are zero."""
    values: Tensor
    """S^2 (D,): the eigenvalues of W^T W, descending, in double precision."""
    item_degree: Tensor
    """(I, 1): 1 for an item without interactions."""
    trace: float
    """The sum of all eigenvalues of W^T W, those beyond D included."""
    had: Tensor
    """R (U, I), sparse."""
    weighted: tuple[Tensor, Tensor]
    """W (U, I) and its transpose (I, U), sparse."""

    def gram(self, dtype: torch.dtype) -> Tensor:
        """Return W^T W as a dense matrix (I, I)."""
        matrix, transposed = self.weighted
        return _gram(transposed, matrix, dtype)

    @property
    def is_complete(self) -> bool:
        """Whether no eigenvalue of any size is left out."""
        return float(self.values.sum()) >= (1 - _COMPLETE) * self.trace


def spectral(
    train: Interactions,
    users: int,
    items: int,
    config: SpectralConfig,
    generator: torch.Generator,
    share_done: ShareDone = lambda share: None,
) -> tuple[EmbeddingPair, Tensor]:
    """Return the embeddings of users (U, D) and items (I, D), and the rows of D_i^-b V: (I, D).

    A user's embedding is the weighted sum of the latter over the user's items. D is at most the
    number of items.
    """
    exponents = config.user_exponent, config.item_exponent
    found = spectrum(train, users, items, exponents, config.embedding_dim, generator, share_done)
    return from_spectrum(found, config)


def from_spectrum(found: Spectrum, config: SpectralConfig) -> tuple[EmbeddingPair, Tensor]:
    """Return the same from a spectrum of these exponents that is at least as wide."""
    vectors = found.vectors[:, : config.embedding_dim]
    folded = vectors * found.item_degree**-config.item_exponent
    return (found.had @ folded, vectors * found.item_degree**config.output_exponent), folded


def spectrum(
    train: Interactions,
    users: int,
    items: int,
    exponents: tuple[float, float],
    count: int,
    generator: torch.Generator,
    share_done: ShareDone = lambda share: None,
) -> Spectrum:
    """Return the `count` leading singular vectors of W, at most as many as there are items.

    exponents: a and b of W = D_u^-a R D_i^-b
    """
    user_degree = _degrees(train.user_rows, train.weights, users)
    item_degree = _degrees(train.item_rows, train.weights, items)
    values = train.weights * (
        user_degree[train.user_rows] ** -exponents[0]
        * item_degree[train.item_rows] ** -exponents[1]
    )
    weighted = sparse_matrix(train.user_rows, train.item_rows, values, (users, items))
    transposed = sparse_matrix(train.item_rows, train.user_rows, values, (items, users))
    vectors, eigenvalues = right_singular_vectors(
        weighted, transposed, min(count, items), generator, share_done
    )
    return Spectrum(
        vectors,
        eigenvalues,
        torch.from_numpy(item_degree).float()[:, None],
        float((values.astype(np.float64) ** 2).sum()),
        sparse_matrix(train.user_rows, train.item_rows, train.weights, (users, items)),
        (weighted, transposed),
    )


def right_singular_vectors(
    matrix: Tensor,
    transposed: Tensor,
    count: int,
    generator: torch.Generator,
    share_done: ShareDone = lambda share: None,
) -> tuple[Tensor, Tensor]:
    """Return the right singular vectors of the `count` largest singular values, and their squares.

    matrix (U, I) and its transpose as sparse CSR -> (I, count), (count,) in double precision;
    columns beyond the rank may be zero.
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
        share_done((step + 1) / blocks)
        if step + 1 < blocks and not float((done @ current).abs().max()) < _LOST:
            break  # the matrix has no more directions; what is left is rounding
    return _ritz(basis[:stop], projected[:stop, :stop], count)


def _ritz(basis: Tensor, projected: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the leading eigenvectors that the basis (M, I) holds, (I, count), and their values.

    Both are zero past M.
    """
    upper = torch.triu(projected)
    values, rotation = torch.linalg.eigh(upper + torch.triu(upper, 1).T)  # ascending
    vectors: Tensor = basis.T @ rotation.flip(1)[:, :count].float()
    return _padded(vectors, values.flip(0)[:count], count)


def _exact(matrix: Tensor, transposed: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the same from the dense Gram matrix of the smaller side."""
    users, items = matrix.shape
    if items <= users:
        values, vectors = torch.linalg.eigh(_gram(transposed, matrix))  # ascending
        vectors = vectors * (values > _RANK * values[-1])
    else:
        values, left = torch.linalg.eigh(_gram(matrix, transposed))
        scale = torch.where(values > _RANK * values[-1], values.clamp(min=1e-300).rsqrt(), 0)
        vectors = (transposed @ (left * scale).float()).double()
    values = torch.where(values > _RANK * values[-1], values, 0)
    return _padded(vectors.flip(1)[:, :count].float(), values.flip(0)[:count], count)


def _padded(vectors: Tensor, values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return vectors (I, M) and their values (M,) with zeros up to `count`."""
    missing = count - vectors.shape[1]
    return F.pad(vectors, (0, missing)), F.pad(values, (0, missing))


def _gram(wide: Tensor, tall: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return wide @ tall as a dense matrix, a block of columns at a time."""
    size = tall.shape[1]
    gram = torch.empty(size, size, dtype=dtype)
    for start in range(0, size, _BLOCK):
        width = min(_BLOCK, size - start)
        columns = torch.zeros(size, width)
        columns[start : start + width] = torch.eye(width)
        gram[:, start : start + width] = wide @ (tall @ columns)
    return gram


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
