"""What LightGCN's new users take from items: what these pass on, and what that tells of the rest.

U users, I items, D dimensions.
"""

import numpy as np
import torch
from torch import Tensor

from gnnrec_registry.arrays import distinct
from gnnrec_training.config import LightGCNConfig
from gnnrec_training.data.dataset import Interactions
from gnnrec_training.models.lightgcn import LightGCN

_STRENGTH = 0.1


def fold_in(
    model: LightGCN, shape: LightGCNConfig, graph_edges: Interactions
) -> tuple[Tensor, float]:
    """Return the rows that new users sum up (I, D), and the exponent of the users' degrees.

    A user's layers 1..K are a sum over items and so known for a new one, exactly. Layer 0 is the
    user's own and no new one has it: it is what a ridge regression over the training's users makes
    of the layers above. Where layer 0 does not count, the fold-in is exact.
    """
    symmetric = shape.aggregation == "symmetric"
    passed_on = model.passed_on()
    if symmetric:
        degrees = np.bincount(graph_edges.item_rows, graph_edges.weights, minlength=len(passed_on))
        root = np.sqrt(np.where(degrees > 0, degrees, np.inf))
        passed_on = passed_on / torch.from_numpy(root).float()[:, None]
    users, _ = model.embeddings()
    own = model.coefficients[0] * model.layer0()[0]
    connected = torch.from_numpy(distinct(graph_edges.user_rows)).long()
    above = (users - own)[connected]
    return passed_on + passed_on @ predictor(above, own[connected]), 0.5 if symmetric else 1.0


def predictor(above: Tensor, own: Tensor) -> Tensor:
    """Return the ridge regression of users' own part on the layers above: (U, D) twice -> (D, D).

    The penalty is a tenth of the Gram matrix's mean eigenvalue, whatever the embeddings' scale.
    """
    gram = (above.T @ above).double()
    penalty = _STRENGTH * gram.diagonal().mean().clamp(min=1e-12)
    identity = torch.eye(len(gram), dtype=torch.float64)
    solved: Tensor = torch.linalg.solve(gram + penalty * identity, (above.T @ own).double())
    return solved.float()
