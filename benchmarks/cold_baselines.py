"""Baselines for new items: each method with each setting, as embeddings of users and items.

U users, I items, F features of items. A method sees the training interactions and the features.
"""

from collections.abc import Iterator

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch
from torch import nn

from gnnrec_training.data.dataset import Dataset
from gnnrec_training.evaluation import baselines

Matrices = tuple[np.ndarray, np.ndarray]
Candidates = Iterator[tuple[str, Matrices]]

_DIM = 64


def random(dataset: Dataset, seed: int) -> Candidates:
    generator = np.random.default_rng(seed)
    yield "", baselines.random(len(dataset.user_ids), len(dataset.item_ids), generator)


def popularity(dataset: Dataset, seed: int) -> Candidates:
    """Score an item by its number of interactions; a little noise orders the items without any."""
    users, items = baselines.popularity(dataset.train, len(dataset.user_ids), len(dataset.item_ids))
    noise = np.random.default_rng(seed).random(items.shape)
    yield "", (users, (items + 0.01 * noise).astype(np.float32))


def content_knn(dataset: Dataset, seed: int) -> Candidates:
    """Sum an item's cosine similarities to those of its k nearest items that the user had."""
    x, had = _features(dataset), _matrix(dataset)
    unit = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, 0)
    similarity[:, ~_warm(dataset)] = 0
    for k in (20, 100, 300):
        bound = -np.partition(-similarity, k, axis=1)[:, k : k + 1]
        near = scipy.sparse.csr_matrix(np.where(similarity >= bound, similarity, 0))
        yield f"k={k}", _scores((had @ near.T).toarray())


def embedding_ridge(dataset: Dataset, seed: int) -> Candidates:
    """Regress the spectral embeddings of items on their features."""
    x, warm = _features(dataset), _warm(dataset)
    users, known = _spectral(dataset)
    for strength in (1, 10, 30, 100, 300):
        placed = known.copy()
        placed[~warm] = _ridge(x[warm], known[warm], strength, x[~warm])
        yield f"l2={strength}", (users, placed)


def user_ridge(dataset: Dataset, seed: int) -> Candidates:
    """Regress each user's interactions on the features."""
    x, warm, had = _features(dataset), _warm(dataset), _matrix(dataset).toarray()
    for strength in (3, 10, 30, 100, 300):
        yield f"l2={strength}", _scores(_ridge(x[warm], had[:, warm].T, strength, x).T)


def dropout_net(dataset: Dataset, seed: int) -> Candidates:
    """Train DropoutNet (Volkovs, Yu and Poutanen 2017) to reproduce the scores of known embeddings.

    Users and items each have an MLP over [embedding | features]. The embeddings of half the items
    are dropped in training, so that the MLP learns to score items from their features alone.
    """
    x, warm = torch.from_numpy(_features(dataset)), _warm(dataset)
    users, items = map(torch.from_numpy, _spectral(dataset))
    users, items = users / users.std(), items / items.std()
    items[torch.from_numpy(~warm)] = 0
    places = torch.from_numpy(np.flatnonzero(warm))
    for epochs in (10, 30):
        torch.manual_seed(seed)
        of_users = nn.Sequential(nn.Linear(_DIM, 256), nn.Tanh(), nn.Linear(256, _DIM))
        of_items = nn.Sequential(nn.Linear(_DIM + x.shape[1], 256), nn.Tanh(), nn.Linear(256, _DIM))
        parameters = [*of_users.parameters(), *of_items.parameters()]
        optimizer = torch.optim.Adam(parameters, lr=0.002, weight_decay=1e-5)
        for _ in range(epochs):
            for batch in torch.split(places[torch.randperm(len(places))], 256):
                target = users @ items[batch].T
                kept = (torch.rand(len(batch), 1) < 0.5).float()
                placed = of_items(torch.cat([items[batch] * kept, x[batch]], 1))
                error = (of_users(users) @ placed.T - target).square().mean()
                optimizer.zero_grad()
                error.backward()
                optimizer.step()
        with torch.no_grad():
            yield (
                f"epochs={epochs}",
                (
                    of_users(users).numpy(),
                    of_items(torch.cat([items, x], 1)).numpy(),
                ),
            )


def _spectral(dataset: Dataset) -> Matrices:
    """Return the SVD of the degree-normalised matrix; each side has the root of the values."""
    had = _matrix(dataset)
    degrees = [np.maximum(np.asarray(had.sum(axis)).ravel(), 1) ** -0.5 for axis in (1, 0)]
    normalised = scipy.sparse.diags(degrees[0]) @ had @ scipy.sparse.diags(degrees[1])
    left, values, right = scipy.sparse.linalg.svds(normalised, k=_DIM, random_state=0)
    root = np.sqrt(values)
    return (left * root).astype(np.float32), (right.T * root).astype(np.float32)


def _ridge(x: np.ndarray, y: np.ndarray, strength: float, to: np.ndarray) -> np.ndarray:
    """Return the predictions for the features `to` of a ridge regression with an intercept."""
    mean, centre = x.mean(0), y.mean(0)
    centred = (x - mean).astype(np.float64)
    gram = centred.T @ centred + strength * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, centred.T @ (y - centre))
    predicted: np.ndarray = ((to - mean) @ weights + centre).astype(np.float32)
    return predicted


def _features(dataset: Dataset) -> np.ndarray:
    assert dataset.features is not None
    return dataset.features.items


def _warm(dataset: Dataset) -> np.ndarray:
    warm = np.zeros(len(dataset.item_ids), bool)
    warm[dataset.train.item_rows] = True
    return warm


def _matrix(dataset: Dataset) -> scipy.sparse.csr_matrix:
    part = dataset.train
    shape = (len(dataset.user_ids), len(dataset.item_ids))
    return scipy.sparse.csr_matrix(
        (np.ones(len(part), np.float32), (part.user_rows, part.item_rows)), shape
    )


def _scores(scores: np.ndarray) -> Matrices:
    """Return a score matrix as embeddings."""
    return scores.astype(np.float32), np.eye(scores.shape[1], dtype=np.float32)
