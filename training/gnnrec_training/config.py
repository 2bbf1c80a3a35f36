"""The configuration of one training: a TOML file, resolved into frozen, typed settings.

The resolved form goes into the manifest, so a version says how it was made.
"""

import tomllib
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from gnnrec_registry.errors import InvalidName
from gnnrec_registry.layout import check_name
from gnnrec_training.config_base import Fraction, Section
from gnnrec_training.config_data import DataConfig
from gnnrec_training.config_data import data_folder as data_folder
from gnnrec_training.config_nodes import HybridConfig, SageConfig
from gnnrec_training.config_sources import Source
from gnnrec_training.errors import InvalidConfig


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
        """Raise ValueError with everything that does not go together, a line each."""
        problems = [*self._data_problems(), *self._model_problems(), *self._idle_keys()]
        try:
            check_name("name", self.name)
        except InvalidName as error:
            problems.append(str(error))
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _data_problems(self) -> Iterator[str]:
        data, split, graph = self.data, self.split, self.graph
        if (split.method == "given") != (data.test is not None):
            yield 'split.method = "given" and a data.test file go together'
        if split.method == "leave_last_out" and data.time_column is None:
            yield 'split.method = "leave_last_out" needs data.time_column'
        if data.weight_column is None and (data.min_weight or graph.weighted):
            yield "data.min_weight and graph.weighted need data.weight_column"
        if graph.half_life_days is not None and data.time_column is None:
            yield "graph.half_life_days needs data.time_column"
        if data.time_format is not None and data.time_column is None:
            yield "data.time_format is that of data.time_column; set it too"

    def _features(self) -> bool:
        """Tell whether anything is known of the nodes."""
        users, items = self.data.users, self.data.items
        return bool((users and users.features) or (items and items.features))

    def _model_problems(self) -> Iterator[str]:
        lightgcn = self.lightgcn
        if self.fusion is not None and (lightgcn is None or self.spectral is None):
            yield "[fusion] joins [lightgcn] and [spectral]; both are needed"
        if self.hybrid is not None and lightgcn is None:
            yield "[hybrid] starts from the embeddings of [lightgcn]; add it"
        if (self.sage is not None or self.hybrid is not None) and not self._features():
            yield (
                "[sage] and [hybrid] know nodes by their features; describe some under "
                "[[data.items.features]] or [[data.users.features]]"
            )
        if lightgcn is None:
            return
        if (lightgcn.init in ("features", "projected_features")) != (lightgcn.features is not None):
            yield "lightgcn.init from features and [lightgcn.features] go together"
        validation = self.split.method == "leave_last_out" or self.split.validation > 0
        if lightgcn.training.patience is not None and not validation:
            yield "lightgcn.training.patience needs a validation part; see [split]"

    def _idle_keys(self) -> Iterator[str]:
        """Yield keys that do nothing beside the others, and were meant to do something."""
        split = self.split
        for key, methods in _SPLIT_KEYS.items():
            if split.differs(key) and split.method not in methods:
                yield (
                    f"split.{key} does nothing with split.method = {split.method!r}; it is for "
                    f"{' and '.join(methods)}"
                )
        if self.graph.as_of is not None and self.graph.half_life_days is None:
            yield "graph.as_of does nothing without graph.half_life_days"
        if self.data.low_weights == "drop" and self.data.min_weight is None:
            yield "data.low_weights does nothing without data.min_weight"
        if self.lightgcn is None:
            return
        training = self.lightgcn.training
        for key, losses in _LOSS_KEYS.items():
            if training.differs(key) and training.loss not in losses:
                yield (
                    f"lightgcn.training.{key} does nothing with loss = {training.loss!r}; it is "
                    f"for {' and '.join(losses)}"
                )
        if self.lightgcn.init_std is not None and self.lightgcn.init == "features":
            yield "lightgcn.init_std does nothing with init = 'features', which stay as they are"


_SPLIT_KEYS: dict[str, tuple[str, ...]] = {
    "test": ("random",),
    "validation": ("given", "random"),
    "last": ("leave_last_out",),
}
_LOSS_KEYS: dict[str, tuple[str, ...]] = {
    "candidate_exponent": ("softmax", "bsl"),
    "temperature": ("softmax", "bsl"),
    "negative_exponent": ("bsl",),
    "products": ("softmax", "bsl"),
}


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
    return resolve(raw, str(path))


def resolve(raw: dict[str, Any], name: str) -> Config:
    """Return the configuration that values as those of a TOML file are; `raw` is used up.

    A problem raises InvalidConfig that calls the whole `name` and names the key.
    """
    if "hybrid" in raw or not raw.keys() & {"lightgcn", "spectral", "sage"}:
        raw.setdefault("lightgcn", {})
    problems: list[str] = []
    while True:
        try:
            config = Config.model_validate(raw)
        except ValidationError as error:
            errors = error.errors()
            problems += map(_problem, errors)
            unknown = [one["loc"] for one in errors if one["type"] == "extra_forbidden"]
            if len(unknown) == len(errors) and all(_drop(raw, place) for place in unknown):
                continue  # what does not go together is only looked at where all keys are known
            raise InvalidConfig(f"{name}: {'; '.join(problems)}") from None
        if problems:
            raise InvalidConfig(f"{name}: {'; '.join(problems)}")
        return config


def _drop(raw: Any, place: tuple[int | str, ...]) -> bool:
    """Take a key out of what a file says, and tell whether it was there."""
    for step in place[:-1]:
        try:
            raw = raw[step]
        except (KeyError, IndexError, TypeError):
            continue  # the name of a choice, and no key
    return isinstance(raw, dict) and raw.pop(place[-1], None) is not None


def _problem(error: ErrorDetails) -> str:
    """Say what is wrong with a key, and which one may have been meant."""
    steps = [str(step) for step in error["loc"]]
    key, message = ".".join(steps), error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        near = get_close_matches(steps[-1], _keys_beside(steps), 1)
        meant = f"; is it {'.'.join([*steps[:-1], *near])}?" if near else ""
        return f"{key} is no key{meant}"
    return f"{key}: {message}" if key else message


def _keys_beside(steps: list[str]) -> list[str]:
    """Return the keys that a section has, by the steps that lead to one in it."""
    section: Any = Config
    for step in steps[:-1]:
        if step not in section.model_fields:
            continue  # a place in a list, or the name of a choice
        annotation = section.model_fields[step].annotation
        section = next(iter(_sections(annotation)), None)
        if section is None:
            return []
    return list(section.model_fields)


def _sections(annotation: Any) -> Iterator[type[Section]]:
    """Yield the sections that a type speaks of."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for part in get_args(annotation):
        yield from _sections(part)
