"""The configuration of one training: all sections together, and what they demand of each other.

The manifest of a version records it, with every default filled in, so a version says how it was
made.
"""

from collections.abc import Iterator
from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from gnnrec_registry.errors import InvalidName
from gnnrec_registry.files.layout import check_name
from gnnrec_training.config.data import DataConfig
from gnnrec_training.config.models import (
    AlsConfig,
    CooccurrenceConfig,
    EaseConfig,
    FusionConfig,
    HybridConfig,
    LightGCNConfig,
    SageConfig,
    SpectralConfig,
)
from gnnrec_training.config.section import Fraction, Section


class SplitConfig(Section):
    """[split]: which interactions are withheld from training, to measure the model on them."""

    method: Literal["given", "random", "leave_last_out", "time"] = "random"
    """How the test part is chosen. given: it is data.test; random: a random share of each user's
    interactions; leave_last_out: the latest interactions of each user; time: all interactions from
    one moment on, the same for all users."""
    test: Fraction = 0.2
    """random: the share of each user's interactions that goes to the test part, rounded down or up
    at random, so that the mean is the share. time: the share of all interactions."""
    validation: Fraction = 0.1
    """The share of the remaining interactions that goes to the validation part. given and random:
    of each user's, rounded as in `test`. time: the latest of all; where fewer than 100 users who
    have some of those are known before, the latest of each user's."""
    last: Annotated[int, Field(ge=1)] = 1
    """leave_last_out: how many of each user's latest interactions go to the test part; as many
    before them go to the validation part."""

    @property
    def has_test(self) -> bool:
        """Whether the split makes a test part; a given one may be empty."""
        return self.method == "leave_last_out" or (self.method != "given" and self.test > 0)

    @property
    def has_validation(self) -> bool:
        """Whether a validation part is asked for."""
        return self.method == "leave_last_out" or self.validation > 0


class GraphConfig(Section):
    """[graph]: how much an interaction counts as an edge of the graph."""

    weighted: bool | Literal["log"] = False
    """Whether an edge counts by the weight of its interaction. If not, all edges count alike.
    "log" takes the logarithm of 1 + the weight in multiples of the median one, which suits counts
    that range over several orders of magnitude; new users' items then count alike."""
    disliked_weight: Annotated[float, Field(ge=0, le=1)] = 0.75
    """What an interaction below data.min_weight counts, beside the 1 of those above: people took an
    interest in what they then disliked, and that says what else they may like. 0 leaves them out of
    the graph; they are not recommended either way."""
    half_life_days: Annotated[float, Field(gt=0)] | None = None
    """After this many days before `as_of` an edge counts half, after twice as many a quarter. If
    not set, age makes no difference. Needs times that are Unix time or dates."""
    as_of: float | None = None
    """The moment that ages are counted from, in Unix seconds. If not set it is the latest training
    interaction; the manifest records which moment it was."""


Family = Literal["spectral", "ease", "als", "cooccurrence", "lightgcn", "hybrid"]
"""A kind of model that a search may try."""


class SearchConfig(Section):
    """[search]: have the models and their settings chosen on the validation part."""

    minutes: Annotated[float, Field(ge=0)] | None = None
    """The time for it. 0 tries every kind of model once, at its default settings; if not set, it
    follows from the number of interactions."""
    models: Annotated[tuple[Family, ...], Field(min_length=1)] = get_args(Family)
    """The kinds of models that are tried; hybrid only where there are features."""


class EvaluationConfig(Section):
    """[evaluation]: what is measured."""

    k: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (10, 20, 50)
    """The list lengths that metrics are computed for, such as the 20 of recall@20."""


class Config(Section):
    """A training configuration with every default filled in."""

    name: str
    """The model's name in the registry."""
    data: DataConfig
    seed: Annotated[int, Field(ge=0)] = 0
    """The seed of all random numbers of the training, those of the split included."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train; auto takes a GPU where there is one."""
    serve: str | None = None
    """The variant that is served by default. If not set, it is the best one on validation."""
    split: SplitConfig = SplitConfig()
    graph: GraphConfig = GraphConfig()
    search: SearchConfig | None = None
    spectral: SpectralConfig | None = None
    ease: EaseConfig | None = None
    als: AlsConfig | None = None
    cooccurrence: CooccurrenceConfig | None = None
    lightgcn: LightGCNConfig | None = None
    sage: SageConfig | None = None
    hybrid: HybridConfig | None = None
    fusion: FusionConfig | None = None
    refit: bool = True
    """Whether what is published is fitted once more, on everything, after it was measured: on the
    validation and test parts too, for as many epochs as validation chose. If not, what was measured
    is published."""
    evaluation: EvaluationConfig = EvaluationConfig()

    @property
    def variants(self) -> tuple[str, ...]:
        """The names of the variants that are trained, in the order of training."""
        sections = {
            "spectral": self.spectral,
            "ease": self.ease,
            "als": self.als,
            "cooccurrence": self.cooccurrence,
            "lightgcn": self.lightgcn,
            "sage": self.sage,
            "hybrid": self.hybrid,
            "fused": self.fusion,
        }
        return tuple(name for name, section in sections.items() if section is not None)

    @model_validator(mode="after")
    def _parts_fit(self) -> "Config":
        """Raise ValueError with all problems between sections, joined by semicolons."""
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
        if split.method in ("leave_last_out", "time") and data.time_column is None:
            yield f'split.method = "{split.method}" needs data.time_column'
        if data.weight_column is None and (data.min_weight or graph.weighted):
            yield "data.min_weight and graph.weighted need data.weight_column"
        if graph.half_life_days is not None and data.time_column is None:
            yield "graph.half_life_days needs data.time_column"
        if data.time_format is not None and data.time_column is None:
            yield "data.time_format is that of data.time_column; set it too"

    def _has_features(self) -> bool:
        """Tell whether users or items are described by any feature."""
        users, items = self.data.users, self.data.items
        return bool((users and users.features) or (items and items.features))

    def _model_problems(self) -> Iterator[str]:
        lightgcn = self.lightgcn
        if self.search is not None and self.variants:
            yield (
                f"[search] chooses the models, and [{self.variants[0]}] names one; "
                "keep one or the other"
            )
        if self.search is not None and not self.split.has_validation:
            yield "[search] chooses on a validation part, and [split] has none"
        if self.fusion is not None:
            for name in self.fusion.weights:
                if name not in _FUSED:
                    yield f"fusion.weights.{name} is no model; there are {', '.join(_FUSED)}"
                elif getattr(self, name) is None:
                    yield f"[fusion] joins [{name}]; add it"
        if self.hybrid is not None and lightgcn is None:
            yield "[hybrid] starts from the embeddings of [lightgcn]; add it"
        if (self.sage is not None or self.hybrid is not None) and not self._has_features():
            yield (
                "[sage] and [hybrid] know nodes by their features; describe some under "
                "[[data.items.features]] or [[data.users.features]]"
            )
        for name in ("lightgcn", "sage", "hybrid"):
            model = getattr(self, name)
            patient = model is not None and model.training.patience > 0
            if patient and not self.split.has_validation:
                yield f"{name}.training.patience needs a validation part; see [split]"
        yield from self._serve_problems()
        if lightgcn is None:
            return
        if (lightgcn.init in ("features", "projected_features")) != (lightgcn.features is not None):
            yield "lightgcn.init from features and [lightgcn.features] go together"

    def _serve_problems(self) -> Iterator[str]:
        names = ", ".join(self.variants)
        if self.serve is not None and not self.variants:
            yield (
                f"serve = {self.serve!r} is not trained, for no model is configured; add its "
                "section, or leave serve out, and the best of a search is served"
            )
        elif self.serve is not None and self.serve not in self.variants:
            yield f"serve = {self.serve!r} is not trained; there are {names}"
        if self.serve is None and len(self.variants) > 1 and not self.split.has_validation:
            yield (
                f"which of {names} is served is chosen on a validation part, and [split] has none; "
                f'set split.validation, or name one, such as serve = "{self.variants[-1]}"'
            )

    def _idle_keys(self) -> Iterator[str]:
        """Yield a problem for each key that was set and has no effect beside the others."""
        split, graph = self.split, self.graph
        for key, methods in _SPLIT_KEYS.items():
            if split.differs_from_default(key) and split.method not in methods:
                yield (
                    f"split.{key} does nothing with split.method = {split.method!r}; it is for "
                    f"{' and '.join(methods)}"
                )
        if self.graph.as_of is not None and self.graph.half_life_days is None:
            yield "graph.as_of does nothing without graph.half_life_days"
        if graph.differs_from_default("disliked_weight") and self.data.min_weight is None:
            yield "graph.disliked_weight does nothing without data.min_weight"
        if self.data.low_weights == "drop" and self.data.min_weight is None:
            yield "data.low_weights does nothing without data.min_weight"
        if self.lightgcn is None:
            return
        training = self.lightgcn.training
        for key, losses in _LOSS_KEYS.items():
            if training.differs_from_default(key) and training.loss not in losses:
                yield (
                    f"lightgcn.training.{key} does nothing with loss = {training.loss!r}; it is "
                    f"for {' and '.join(losses)}"
                )
        if self.lightgcn.init_std is not None and self.lightgcn.init == "features":
            yield "lightgcn.init_std does nothing with init = 'features', which stay as they are"


_FUSED = ("lightgcn", "spectral", "ease", "als", "cooccurrence", "sage", "hybrid")
"""The models that [fusion] can join."""

# The split methods, and the losses, that a key has an effect with.
_SPLIT_KEYS: dict[str, tuple[str, ...]] = {
    "test": ("random", "time"),
    "validation": ("given", "random", "time"),
    "last": ("leave_last_out",),
}
_LOSS_KEYS: dict[str, tuple[str, ...]] = {
    "candidate_exponent": ("softmax", "bsl"),
    "temperature": ("softmax", "bsl"),
    "negative_exponent": ("bsl",),
    "products": ("softmax", "bsl"),
}
