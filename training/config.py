"""The configuration of one training: a TOML file, resolved into frozen, typed settings.

The resolved form goes into the manifest, so a version says how it was made.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from registry.errors import InvalidName
from registry.layout import check_name
from training.config_base import Fraction, Section
from training.config_data import DataConfig
from training.config_data import data_folder as data_folder
from training.config_nodes import HybridConfig, SageConfig
from training.config_sources import Source
from training.errors import InvalidConfig


class SplitConfig(Section):
    """[split]: which interactions are kept from training to measure it."""

    method: Literal["given", "random", "leave_last_out"] = "random"
    """given: the test file; random: a share of each user's interactions; leave_last_out: each
    user's latest ones."""
    test: Fraction = 0.2
    """random: the share of each user's interactions that is test."""
    validation: Fraction = 0.1
    """given and random: the share of each user's remaining interactions that is validation."""
    last: Annotated[int, Field(ge=1)] = 1
    """leave_last_out: how many of a user's interactions are test, and as many validation."""


class GraphConfig(Section):
    """[graph]: how much an interaction counts as an edge, in adjacency and degree alike."""

    weighted: bool = False
    """Whether edges count by their weight or all alike."""
    half_life_days: Annotated[float, Field(gt=0)] | None = None
    """An edge counts half as much for every so many days before `as_of`; needs Unix seconds."""
    as_of: float | None = None
    """The moment that decay counts back from, in Unix seconds; the latest training interaction
    if not set. The manifest records it."""


class FeaturesConfig(Section):
    """[lightgcn.features]: tables of numbers to start the embeddings from, one row a node."""

    users: Source
    """A file or another table with the user column and numeric columns."""
    items: Source
    """A file or another table with the item column and numeric columns."""


class FitConfig(Section):
    """[lightgcn.training]: how the embeddings are fitted."""

    loss: Literal["bpr", "bce", "softmax", "bsl"] = "bpr"
    """bpr: pairs with L2; bce: link prediction; softmax: over the batch's items; bsl: its
    bilateral form."""
    epochs: Annotated[int, Field(ge=1)] = 100
    batch_size: Annotated[int, Field(ge=1)] = 2048
    """bpr and bce: interactions a step; softmax and bsl: users a step, with all they have."""
    negatives: Annotated[int, Field(ge=1)] = 1
    """bpr and bce: items drawn for each interaction; softmax and bsl: items a step, shared by its
    users."""
    candidate_exponent: Annotated[float, Field(ge=0, le=1)] = 1.0
    """softmax and bsl: 1 draws them from the batch's own interactions, so that an item comes as
    often as it is popular; less draws them from all items by popularity to this power, 0 all
    alike. The higher, the more popular items are held down."""
    temperature: Annotated[float, Field(gt=0)] = 0.12
    """softmax and bsl: cosines are divided by it."""
    negative_exponent: Annotated[float, Field(gt=0)] = 1.0
    """bsl: the power that the sum over negatives is raised to."""
    products: Literal["auto", "float32"] = "auto"
    """softmax and bsl: what users and candidates are multiplied in; auto takes bfloat16 where the
    machine has it in hardware."""
    learning_rate: Annotated[float, Field(gt=0)] = 0.001
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """linear and cosine: from learning_rate to zero over the epochs."""
    warmup: Fraction = 0.0
    """The share of all steps in which the learning rate grows to its full value."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0001
    """The factor of the L2 penalty on the layer-0 embeddings of each batch."""
    patience: Annotated[int, Field(ge=1)] | None = None
    """Stop after so many validations without a better one; the best embeddings are kept."""
    validate_every: Annotated[int, Field(ge=1)] = 5
    """Validate after every so many epochs; without patience, for the report's curve alone."""


class LightGCNConfig(Section):
    """[lightgcn]: the shape of LightGCN."""

    embedding_dim: Annotated[int, Field(ge=1, le=4096)] = 64
    num_layers: Annotated[int, Field(ge=0, le=16)] = 3
    aggregation: Literal["symmetric", "mean"] = "symmetric"
    """What a node takes from its neighbours: 1/sqrt(d_u d_i) of each, or their average."""
    layer_combination: Literal["mean", "sum", "last"] = "mean"
    """How the layers 0..K become the final embedding."""
    norm_exponent: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Published item embeddings keep their length to this power. 1 leaves them as they are, so
    that popular items, whose embeddings are longer, score higher; 0 ranks by the cosine."""
    init: Literal["random", "features", "projected_features", "spectral"] = "random"
    """Layer 0: random; given features of the same width; features reduced to the width by their
    principal components; or the spectral model's vectors."""
    init_std: Annotated[float, Field(gt=0)] | None = None
    """random: a normal distribution of this deviation, xavier-uniform if not set. spectral and
    projected_features: the deviation they are scaled to, 0.1 if not set."""
    features: FeaturesConfig | None = None
    training: FitConfig = FitConfig()


class SpectralConfig(Section):
    """[spectral]: the closed-form model."""

    embedding_dim: Annotated[int, Field(ge=1, le=4096)] = 512
    user_exponent: float = 0.5
    item_exponent: float = 0.5
    output_exponent: float = 0.5
    """The powers of the degrees: see training/models/spectral.py."""


class FusionConfig(Section):
    """[fusion]: the lightgcn and spectral models as one, by the sum of their scores."""

    spectral_weight: Annotated[float, Field(gt=0)] = 0.6
    """What the spectral scores count, once both have the same spread."""
    embedding_dim: Annotated[int, Field(ge=1)] | None = None
    """Compress the joint embeddings to this width; not if not set."""


class EvaluationConfig(Section):
    """[evaluation]: what is measured."""

    k: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (10, 20, 50)
    """The list lengths of the metrics."""


class Config(Section):
    """A training configuration, complete with defaults."""

    name: str
    """The model's name in the registry."""
    data: DataConfig
    seed: Annotated[int, Field(ge=0)] = 0
    """Every random choice of the run, the split included, follows from it."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train; auto takes a GPU if there is one."""
    split: SplitConfig = SplitConfig()
    graph: GraphConfig = GraphConfig()
    lightgcn: LightGCNConfig | None = None
    spectral: SpectralConfig | None = None
    fusion: FusionConfig | None = None
    sage: SageConfig | None = None
    hybrid: HybridConfig | None = None
    evaluation: EvaluationConfig = EvaluationConfig()

    @model_validator(mode="after")
    def _parts_fit(self) -> "Config":
        if (self.split.method == "given") != (self.data.test is not None):
            raise ValueError('split.method = "given" and a data.test file go together')
        if self.split.method == "leave_last_out" and self.data.time_column is None:
            raise ValueError('split.method = "leave_last_out" needs data.time_column')
        if self.data.weight_column is None and (self.data.min_weight or self.graph.weighted):
            raise ValueError("data.min_weight and graph.weighted need data.weight_column")
        if self.graph.half_life_days is not None and self.data.time_column is None:
            raise ValueError("graph.half_life_days needs data.time_column")
        self._models_fit()
        try:
            check_name("name", self.name)
        except InvalidName as error:
            raise ValueError(str(error)) from None
        return self

    def _features(self) -> bool:
        """Tell whether anything is known of the nodes."""
        users, items = self.data.users, self.data.items
        return bool((users and users.features) or (items and items.features))

    def _models_fit(self) -> None:
        lightgcn = self.lightgcn
        if self.fusion is not None and (lightgcn is None or self.spectral is None):
            raise ValueError("[fusion] joins [lightgcn] and [spectral]; both are needed")
        if self.hybrid is not None and lightgcn is None:
            raise ValueError("[hybrid] starts from the embeddings of [lightgcn]; add it")
        if (self.sage is not None or self.hybrid is not None) and not self._features():
            raise ValueError(
                "[sage] and [hybrid] know nodes by their features; describe some under "
                "[[data.items.features]] or [[data.users.features]]"
            )
        if lightgcn is None:
            return
        if (lightgcn.init in ("features", "projected_features")) != (lightgcn.features is not None):
            raise ValueError("lightgcn.init from features and [lightgcn.features] go together")
        validation = self.split.method == "leave_last_out" or self.split.validation > 0
        if lightgcn.training.patience is not None and not validation:
            raise ValueError("lightgcn.training.patience needs a validation part; see [split]")


def load(path: Path) -> Config:
    """Read a TOML file; a problem raises InvalidConfig that names the file and the key."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise InvalidConfig(f"no configuration at {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConfig(f"{path} cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise InvalidConfig(f"{path} is not TOML: {error}") from None
    if "hybrid" in raw or not raw.keys() & {"lightgcn", "spectral", "sage"}:
        raw.setdefault("lightgcn", {})
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        problems = "; ".join(
            ": ".join(
                part
                for part in (
                    ".".join(map(str, one["loc"])),
                    one["msg"].removeprefix("Value error, "),
                )
                if part
            )
            for one in error.errors()
        )
        raise InvalidConfig(f"{path}: {problems}") from None
