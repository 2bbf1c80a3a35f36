"""The sections of the models, such as [lightgcn] and [ease].

Where a key is not set, it may follow from the data's figures: config/defaults.py says how. The
defaults here are for models that are made without data at hand.
"""

from typing import Annotated, Literal

from pydantic import Field

from gnnrec_training.config.section import Fraction, Section
from gnnrec_training.config.sources import Source

Width = Annotated[int, Field(ge=1, le=4096)]
"""The width of embeddings."""


class FeaturesConfig(Section):
    """[lightgcn.features]: tables of numbers that LightGCN's embeddings start from.

    Not what models know of the nodes: that stands in [[data.users.features]] and
    [[data.items.features]].
    """

    users: Source
    """A table with one row for each user: data.user_column, and columns of numbers."""
    items: Source
    """A table with one row for each item: data.item_column, and columns of numbers."""


class LoopConfig(Section):
    """What the training of every model that is fitted in epochs has in common."""

    epochs: Annotated[int, Field(ge=1)]
    """How many times training goes over all interactions, or over all users."""
    learning_rate: Annotated[float, Field(gt=0)]
    """The step size of the optimizer, at its highest."""
    schedule: Literal["constant", "linear", "cosine"]
    """How the learning rate changes: not at all, or down to zero over the epochs, linearly or along
    a cosine."""
    warmup: Fraction
    """The share of all steps in which the learning rate grows from zero to its full value."""
    patience: Annotated[int, Field(ge=0)] = 0
    """Stop after this many validations without a better one, and publish what validated best. With
    0 all epochs are trained, and what the last one gave is published. If not set it is 6 where
    there is a validation part."""
    validate_every: Annotated[int, Field(ge=1)] = 5
    """Epochs from one validation to the next; if not set, a twelfth of all. Without patience,
    validation only draws the curve in the report."""


class FitConfig(LoopConfig):
    """[lightgcn.training]: how the embeddings are fitted."""

    loss: Literal["bpr", "bce", "softmax", "bsl"] = "softmax"
    """What training makes small. bpr: each interaction is ranked above drawn items (Bayesian
    Personalized Ranking); bce: interactions are told from drawn pairs (binary cross-entropy);
    softmax: sampled softmax over the candidate items of a step; bsl: its bilateral form."""
    epochs: Annotated[int, Field(ge=1)] = 100
    """How many times training goes over all interactions at most. If not set it follows from the
    number of users."""
    batch_size: Annotated[int, Field(ge=1)] = 1024
    """softmax and bsl: users in a step, each with all of their interactions; bpr and bce:
    interactions in a step. If not set it follows from the number of users."""
    negatives: Annotated[int, Field(ge=1)] = 1024
    """softmax and bsl: candidate items drawn for each step and shared by its users; if not set the
    number follows from that of the items. bpr and bce: items drawn for each interaction, among
    those the user has no interaction with; 1 if not set."""
    candidate_exponent: Annotated[float, Field(ge=0, le=1)] = 0.5
    """softmax and bsl: how candidate items are drawn; if not set, by how dense the data are. 1
    draws from the interactions of the batch, so that an item is drawn as often as it is popular.
    Less than 1 draws from all items, in proportion to their popularity to this power; 0 draws all
    alike. The higher it is, the lower popular items are ranked."""
    temperature: Annotated[float, Field(gt=0)] = 0.15
    """softmax and bsl: the cosine of user and item is divided by this. Lower puts more weight on
    the candidates that score highest."""
    negative_exponent: Annotated[float, Field(gt=0)] = 1.0
    """bsl: the power that the sum over the candidates is raised to; 1 is the same as softmax."""
    products: Literal["auto", "float32"] = "auto"
    """softmax and bsl: the number format in which users and candidates are multiplied. auto takes
    bfloat16 where the machine computes it in hardware, and float32 elsewhere."""
    learning_rate: Annotated[float, Field(gt=0)] = 0.005
    """The step size of the Adam optimizer, at its highest."""
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    """How the learning rate changes: not at all, or down to zero over the epochs, linearly or along
    a cosine."""
    warmup: Fraction = 0.05
    """The share of all steps in which the learning rate grows from zero to its full value."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """The factor of the L2 penalty on the layer-0 embeddings of each batch."""


class LightGCNConfig(Section):
    """[lightgcn]: LightGCN (He et al. 2020), embeddings propagated over the interactions."""

    embedding_dim: Width = 64
    """The width of the embeddings. If not set it follows from the numbers of users and items."""
    num_layers: Annotated[int, Field(ge=0, le=16)] = 2
    """How many times embeddings are propagated over the graph; 0 is matrix factorization."""
    aggregation: Literal["symmetric", "mean"] = "symmetric"
    """What a node takes from its neighbours: symmetric weighs each by 1/sqrt(d_u d_i), where d is a
    node's degree; mean takes their average."""
    layer_combination: Literal["mean", "sum", "last"] = "mean"
    """How the embeddings of the layers 0..num_layers become the final one."""
    norm_exponent: Annotated[float, Field(ge=0, le=1)] = 0.7
    """The length of each published item embedding is raised to this power. 1 leaves embeddings as
    they are; popular items have longer ones, so they score higher. 0 makes all lengths equal, so
    that items are ranked by the cosine."""
    init: Literal["random", "features", "projected_features", "spectral"] = "random"
    """What the layer-0 embeddings start from. random; features: the tables of [lightgcn.features],
    which must be embedding_dim wide; projected_features: the same tables, reduced to that width by
    principal components; spectral: the embeddings of the spectral model."""
    init_std: Annotated[float, Field(gt=0)] | None = None
    """The standard deviation of the layer-0 embeddings at the start. random: of a normal
    distribution, and Xavier-uniform if not set; spectral and projected_features: what they are
    scaled to, 0.1 if not set."""
    features: FeaturesConfig | None = None
    training: FitConfig = FitConfig()


class SpectralConfig(Section):
    """[spectral]: embeddings in closed form, from a singular value decomposition.

    training/gnnrec_training/models/spectral.py has the formula that the exponents stand in.
    """

    embedding_dim: Width = 64
    """How many singular vectors to use; at most the number of items is. If not set it follows from
    the numbers of users and items."""
    user_exponent: float = 0.5
    """Interactions are divided by the degree of their user to this power."""
    item_exponent: float = 0.5
    """Interactions are divided by the degree of their item to this power."""
    output_exponent: float = 0.5
    """Item embeddings are multiplied by the degree of the item to this power; higher ranks popular
    items higher. With 0.5 for all three this is the linear part of GF-CF (Shen et al. 2021)."""


class EaseConfig(Section):
    """[ease]: an item-item ridge regression in closed form (Steck 2019).

    Each item is predicted from all other items of a user. training/gnnrec_training/models/ease.py
    has the formula that the keys stand in.
    """

    penalty: Annotated[float, Field(gt=0)] = 10.0
    """The L2 penalty of the regression, in multiples of the items' mean degree."""
    user_exponent: Annotated[float, Field(ge=0, le=1)] = 0.0
    """A user's interactions count by the user's degree to minus this power."""
    item_exponent: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Interactions are divided by the degree of their item to this power before the regression, so
    that the penalty grows with an item's popularity."""
    output_exponent: Annotated[float, Field(ge=-1, le=1)] = 0.0
    """Scores are multiplied by the degree of the item to this power; higher ranks popular items
    higher."""
    embedding_dim: Width = 64
    """The width of the embeddings whose inner products stand for the weights; at most the number of
    items is, and then they are exact. If not set it follows from the numbers of users and items."""
    neighbours: Annotated[int, Field(ge=0, le=1000)] = 0
    """How many of each item's weights are kept, the largest, in a list that makes the scores in
    place of embeddings. Needs at most 20,000 items; with 0 embeddings make them."""


class AlsConfig(Section):
    """[als]: factorization of implicit feedback by alternating least squares (Hu et al. 2008)."""

    embedding_dim: Width = 64
    """The width of the embeddings. If not set it follows from the numbers of users and items."""
    confidence: Annotated[float, Field(ge=0)] = 10.0
    """How much more an interaction counts than its absence: 1 + confidence to 1."""
    penalty: Annotated[float, Field(gt=0)] = 40.0
    """The factor of the L2 penalty on the embeddings."""
    sweeps: Annotated[int, Field(ge=1)] = 10
    """How many times users and then items are solved for."""


class CooccurrenceConfig(Section):
    """[cooccurrence]: for each item a list of those that the same people had.

    training/gnnrec_training/models/cooccurrence.py has the formula that the exponents stand in.
    """

    neighbours: Annotated[int, Field(ge=1, le=1000)] = 100
    """How many items are kept in each list."""
    user_exponent: Annotated[float, Field(ge=0, le=2)] = 0.5
    """A user counts by their degree to minus this power."""
    history_exponent: Annotated[float, Field(ge=0, le=1)] = 0.5
    """An item that a user had counts by its degree to minus this power."""
    item_exponent: Annotated[float, Field(ge=0, le=1)] = 0.5
    """An item that is ranked counts by its degree to minus this power; lower ranks popular items
    higher. With 0 for users and 1/2 for both others the weights are cosines, as in item-kNN."""


class FusionConfig(Section):
    """[fusion]: one model whose score is a weighted sum of those of several others."""

    weights: Annotated[dict[str, Annotated[float, Field(gt=0)]], Field(min_length=2)]
    """The weight of each model by its section's name, such as { lightgcn = 1, spectral = 0.6 },
    after all are scaled to the same standard deviation."""
    embedding_dim: Annotated[int, Field(ge=1)] | None = None
    """Compress the joint embeddings to this width. If not set they are as wide as all together."""


class NodeFitConfig(LoopConfig):
    """[sage.training] and [hybrid.training]: how models learn to embed nodes by their features.

    Each step takes some users and treats some items as if they had no interactions yet: no message
    passes over the edges of these items, and the model has to find these edges.
    """

    loss: Literal["softmax", "bce"] = "softmax"
    """softmax: over the items of the step; bce: edges are told from other pairs (binary
    cross-entropy)."""
    epochs: Annotated[int, Field(ge=1)] = 40
    """How many times training goes over all users at most. If not set it follows from their
    number."""
    batch_size: Annotated[int, Field(ge=1)] = 256
    """Users in a step. If not set it follows from their number."""
    candidates: Annotated[int, Field(ge=2)] = 4096
    """A step looks at no more than this many items that it treats as new, and at no more than this
    many others."""
    new_share: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """The share of the items that a step treats as new."""
    isolated_share: Fraction = 0.1
    """The share of a step's users who are treated as new: no message passes to or from them, and in
    the hybrid they have no graph embedding."""
    edge_dropout: Fraction = 0.1
    """The share of the edges of known items that pass no message in a step, and are to be found."""
    known_weight: Annotated[float, Field(ge=0)] = 0.3
    """The weight of the loss over all items of a step, new and known. The loss over the new items
    alone has weight 1."""
    popularity_exponent: Annotated[float, Field(ge=0, le=1)] = 0.5
    """An interaction counts by its item's number of users to minus this power: 0 counts all
    interactions alike, 1 counts all items alike."""
    activity_exponent: Annotated[float, Field(ge=0, le=1)] = 0.5
    """An interaction counts by how many items its user has to find in the step, to minus this
    power: 0 counts all interactions alike, 1 counts all users alike."""
    feature_dropout: Fraction = 0.2
    """The share of the input features that are set to zero at random in a step."""
    dropout: Fraction = 0.2
    """The share of the hidden layer that is set to zero at random in a step."""
    learning_rate: Annotated[float, Field(gt=0)] = 0.005
    """The step size of the AdamW optimizer, at its highest."""
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    """How the learning rate changes: not at all, or down to zero over the epochs, linearly or along
    a cosine."""
    warmup: Fraction = 0.1
    """The share of all steps in which the learning rate grows from zero to its full value."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """AdamW's decoupled weight decay."""
    averaging: Fraction = 0.98
    """The published weights are an exponential moving average over the steps; this is its decay, so
    0 publishes the last weights."""


class SageConfig(Section):
    """[sage]: GraphSAGE over the features of [data.users] and [data.items]."""

    embedding_dim: Annotated[int, Field(ge=1, le=4096)] = 64
    """The width of the embeddings."""
    hidden_dim: Annotated[int, Field(ge=1)] = 256
    """The width of the hidden layer."""
    fanout: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] | None = None
    """How many neighbours of a node, and how many of each of these, a step samples. If not set, it
    takes all of them where there are fewer than two million interactions, and 15 and 10 elsewhere,
    to bound its memory."""
    training: NodeFitConfig = NodeFitConfig()


class HybridFitConfig(NodeFitConfig):
    """[hybrid.training]: the same, in smaller steps.

    A class of its own: a default that stood in HybridConfig would be lost where any key is set.
    """

    learning_rate: Annotated[float, Field(gt=0)] = 0.003
    """The step size of the AdamW optimizer, at its highest."""


class HybridConfig(Section):
    """[hybrid]: embeddings of [lightgcn], changed by an MLP and a linear map of the features."""

    hidden_dim: Annotated[int, Field(ge=1)] = 256
    """The width of the MLP's hidden layer."""
    ridge_l2: Annotated[float, Field(gt=0)] = 10.0
    """The linear map starts as a ridge regression from the features of items to their graph
    embeddings; this is the factor of its L2 penalty."""
    still_share: Fraction = 0.5
    """The share of training steps in which users and items seen in training keep their graph
    embedding. In the other steps their features change it as well."""
    training: HybridFitConfig = HybridFitConfig()
