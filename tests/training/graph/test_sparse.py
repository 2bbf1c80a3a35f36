import torch

from gnnrec_training.graph.adjacency import adjacency
from gnnrec_training.graph.sparse import take_rows, transpose
from tests.training.boards import random_interactions


def test_rows_taken_from_a_matrix_are_those_rows_and_transpose() -> None:
    part = random_interactions(30, 20, 200, 0)
    matrix = adjacency(part, 30, 20).to_users
    rows = torch.tensor([2, 2, 5, 29])
    taken = take_rows(matrix, rows)
    expected = matrix.to_dense()[rows]
    torch.testing.assert_close(taken.to_dense(), expected, atol=0, rtol=0)
    torch.testing.assert_close(transpose(taken).to_dense(), expected.T, atol=0, rtol=0)
