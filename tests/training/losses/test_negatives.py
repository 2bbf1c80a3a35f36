import torch

from gnnrec_training.graph.sparse import by_user
from gnnrec_training.losses.negatives import NegativeSampler
from tests.training.boards import random_interactions


def test_negatives_are_never_positives_and_reach_everything_else() -> None:
    edges = random_interactions(20, 10, 120, 0)
    sampler = NegativeSampler(by_user(edges, 20), 10)
    positives = set(zip(edges.user_rows.tolist(), edges.item_rows.tolist(), strict=True))
    free = torch.nonzero(sampler.has_negative)[:, 0]
    drawn_for = free.repeat(2000)
    drawn = sampler.sample(drawn_for, torch.Generator().manual_seed(0))
    pairs = set(zip(drawn_for.tolist(), drawn.tolist(), strict=True))
    everything = {(u, i) for u in free.tolist() for i in range(10)}
    assert pairs == everything - positives
