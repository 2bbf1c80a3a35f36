"""The [sage] and [hybrid] sections: models that know nodes by their features."""

from typing import Annotated, Literal

from pydantic import Field

from gnnrec_training.config_base import Fraction, Section


class NodeFitConfig(Section):
    """[sage.training] and [hybrid.training]: how the models learn to place nodes.

    A step takes some users and pretends that some items are new: their edges are what is to be
    found, and no message passes over them.
    """

    loss: Literal["softmax", "bce"] = "softmax"
    """softmax: over the step's items; bce: link prediction."""
    epochs: Annotated[int, Field(ge=1)] = 40
    validate_every: Annotated[int, Field(ge=1)] = 5
    """Epochs between two looks at the validation part, for the report's curve alone."""
    batch_size: Annotated[int, Field(ge=1)] = 256
    """Users a step."""
    candidates: Annotated[int, Field(ge=2)] = 4096
    """At most so many items a step, pretended new and others each."""
    new_share: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """The share of the items that a step pretends to be new."""
    isolated_share: Fraction = 0.1
    """The share of a step's users who pass and take no message, or have no graph embedding."""
    edge_dropout: Fraction = 0.1
    """The share of the other edges that a step leaves out and asks for."""
    known_weight: Annotated[float, Field(ge=0)] = 0.3
    """What finding the left-out edges among all items of the step counts, beside the 1 of finding
    the new ones among the new."""
    popularity_exponent: Annotated[float, Field(ge=0, le=1)] = 0.5
    """An interaction with an item counts by its popularity to minus this power."""
    activity_exponent: Annotated[float, Field(ge=0, le=1)] = 0.5
    """The same for users: 0 counts interactions alike, 1 users."""
    feature_dropout: Fraction = 0.2
    dropout: Fraction = 0.2
    """On the hidden layer."""
    learning_rate: Annotated[float, Field(gt=0)] = 0.005
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    averaging: Fraction = 0.98
    """The published weights are a moving average over the steps with this decay."""


class SageConfig(Section):
    """[sage]: GraphSAGE over the features of [data.users] and [data.items]."""

    embedding_dim: Annotated[int, Field(ge=1, le=4096)] = 64
    hidden_dim: Annotated[int, Field(ge=1)] = 256
    fanout: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] | None = None
    """Sample so many neighbours of a node, and of those; all if not set and the graph has fewer
    than two million interactions, else 15 and 10."""
    training: NodeFitConfig = NodeFitConfig()


class HybridConfig(Section):
    """[hybrid]: the embeddings of [lightgcn] and features through an MLP."""

    hidden_dim: Annotated[int, Field(ge=1)] = 256
    ridge_l2: Annotated[float, Field(gt=0)] = 10.0
    """The linear path starts as the ridge regression of this strength from the features of items to
    their graph embeddings."""
    still_share: Fraction = 0.5
    """The share of the steps in which known nodes stand as the graph has them, as most do that are
    served. In the others features move them too."""
    training: NodeFitConfig = NodeFitConfig(learning_rate=0.003)
