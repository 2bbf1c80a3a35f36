import numpy as np
import torch

from gnnrec_training.graph.adjacency import adjacency
from gnnrec_training.graph.sparse import by_user
from tests.training.boards import random_interactions


def test_the_symmetric_adjacency_shares_its_transpose_and_is_int32() -> None:
    graph = adjacency(random_interactions(30, 20, 200, 0), 30, 20)
    assert graph.to_users_transposed is graph.to_items
    assert graph.to_users.col_indices().dtype == torch.int32
    torch.testing.assert_close(graph.to_users.to_dense(), graph.to_items.to_dense().T)
    matrix = by_user(random_interactions(30, 20, 200, 0), 30)
    for start, stop in zip(matrix.indptr, matrix.indptr[1:], strict=False):
        assert (np.diff(matrix.columns[start:stop]) > 0).all()
