"""The fold-in of LightGCN: how a user who was not in training is embedded from their items.

U users, I items, D dimensions.
"""

import numpy as np
import torch
from torch import Tensor

from gnnrec_registry.files.arrays import distinct
from gnnrec_training.config import LightGCNConfig
from gnnrec_training.data.dataset import Interactions
from gnnrec_training.models.lightgcn import LightGCN

_PENALTY = 0.1


def fold_in(
    model: LightGCN, shape: LightGCNConfig, graph_edges: Interactions
) -> tuple[Tensor, float]:
    """Return a row for each item (I, D), and the exponent of the user's degree.

    A new user's embedding is the sum of their items' rows, by the weights of the interactions and
    divided by the user's degree to the exponent. The layers 1..K of a user are such a sum, exactly.
    Layer 0 is learned and a new user has none: a ridge regression over the users of the training
    predicts it from the layers above. Where layer 0 has no part in the embedding (with
    layer_combination "last"), the fold-in is exact.
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
    """Return the ridge regression of layer 0 on the layers above: (U, D), (U, D) -> (D, D).

    The penalty is a tenth of the Gram matrix's mean eigenvalue, which suits any scale of the
    embeddings.
    """
    gram = (above.T @ above).double()
    penalty = _PENALTY * gram.diagonal().mean().clamp(min=1e-12)
    identity = torch.eye(len(gram), dtype=torch.float64)
    solved: Tensor = torch.linalg.solve(gram + penalty * identity, (above.T @ own).double())
    return solved.float()
