import numpy as np
import torch

from gnnrec_training.graph.neighbours import Bipartite
from gnnrec_training.models.sage import GraphSAGE
from tests.training.boards import random_interactions


def test_sage_gives_the_same_on_csr_and_on_an_edge_list() -> None:
    part = random_interactions(9, 7, 30, 0)
    neighbours = Bipartite(part.user_rows, part.item_rows, 9, 7).neighbours()
    model, x = GraphSAGE(5, 6, 4), torch.randn(16, 5)
    targets = np.repeat(np.arange(16), np.diff(neighbours.indptr))
    edges = torch.from_numpy(np.stack([neighbours.sources.astype(np.int64), targets]))
    torch.testing.assert_close(model(x, neighbours.csr()), model(x, edges))
