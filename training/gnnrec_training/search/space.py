"""What a search may choose from: the settings of each kind of model, and its defaults.

The ranges hold what differs between data sets, and no data set's own figures: those that follow
from the size of the data are around its defaults (config/defaults.py).
"""

from collections.abc import Callable
from typing import Any, Protocol

from gnnrec_training.config import (
    AlsConfig,
    CooccurrenceConfig,
    EaseConfig,
    Family,
    HybridConfig,
    LightGCNConfig,
    Section,
    SpectralConfig,
)
from gnnrec_training.config.defaults import Figures, Values, defaults


class Proposer(Protocol):
    """Proposes values: a trial of Optuna."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Propose a number of a range, evenly or by its logarithm."""

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """Propose one of some values."""


Space = Callable[[Proposer, Figures], Values]
"""space(proposer, figures) -> the keys of a section that are chosen."""


def settings(family: Family, proposer: Proposer, figures: Figures) -> Values:
    """Return the settings of a model that are proposed: keys of its section."""
    return _SPACES[family](proposer, figures)


def first(family: Family, figures: Figures) -> dict[str, Any]:
    """Return the proposals that make the model of its defaults, by name."""
    section: Any = _SECTIONS[family]()
    values = section.model_dump()
    fitted = values.pop("training", {})
    follow = dict(defaults(figures, patient=True).get(family, {}))
    known = {**values, **fitted, **follow.pop("training", {}), **follow}
    found = {name: known[name] for name in _SUGGESTED if name in known}
    return {"width": 1.0, "candidates": 1.0, **found}


def _spectral(proposer: Proposer, figures: Figures) -> Values:
    width = defaults(figures, patient=True)["spectral"]["embedding_dim"]
    return {
        "embedding_dim": _width(proposer, width, figures),
        "user_exponent": proposer.suggest_float("user_exponent", 0.0, 0.7),
        "item_exponent": proposer.suggest_float("item_exponent", 0.0, 0.7),
        "output_exponent": proposer.suggest_float("output_exponent", -0.1, 0.9),
    }


def _ease(proposer: Proposer, figures: Figures) -> Values:
    return {
        "penalty": proposer.suggest_float("penalty", 1.0, 300.0, log=True),
        "user_exponent": proposer.suggest_float("user_exponent", 0.0, 1.0),
        "item_exponent": proposer.suggest_float("item_exponent", 0.0, 0.5),
        "output_exponent": proposer.suggest_float("output_exponent", -0.4, 0.4),
    }


def _als(proposer: Proposer, figures: Figures) -> Values:
    width = defaults(figures, patient=True)["als"]["embedding_dim"]
    return {
        "embedding_dim": _width(proposer, width, figures),
        "confidence": proposer.suggest_float("confidence", 0.3, 30.0, log=True),
        "penalty": proposer.suggest_float("penalty", 1.0, 200.0, log=True),
    }


def _cooccurrence(proposer: Proposer, figures: Figures) -> Values:
    return {
        "user_exponent": proposer.suggest_float("user_exponent", 0.0, 1.5),
        "history_exponent": proposer.suggest_float("history_exponent", 0.0, 1.0),
        "item_exponent": proposer.suggest_float("item_exponent", 0.0, 0.8),
    }


def _lightgcn(proposer: Proposer, figures: Figures) -> Values:
    default = defaults(figures, patient=True)["lightgcn"]
    loss = proposer.suggest_categorical("loss", ["softmax", "bsl"])
    training: Values = {
        "loss": loss,
        "temperature": proposer.suggest_float("temperature", 0.06, 0.3, log=True),
        "learning_rate": proposer.suggest_float("learning_rate", 0.001, 0.05, log=True),
        "candidate_exponent": proposer.suggest_float("candidate_exponent", 0.0, 0.9),
    }
    if loss == "bsl":
        training["negative_exponent"] = proposer.suggest_float("negative_exponent", 0.7, 1.2)
    candidates = default["training"]["negatives"]
    factor = proposer.suggest_categorical("candidates", [0.5, 1.0, 2.0])
    training["negatives"] = max(64, round(candidates * factor))
    return {
        "embedding_dim": _width(proposer, default["embedding_dim"], figures, limited=False),
        "num_layers": proposer.suggest_categorical("num_layers", [1, 2, 3]),
        "norm_exponent": proposer.suggest_float("norm_exponent", 0.0, 1.0),
        "training": training,
    }


def _hybrid(proposer: Proposer, figures: Figures) -> Values:
    return {
        "ridge_l2": proposer.suggest_float("ridge_l2", 1.0, 100.0, log=True),
        "still_share": proposer.suggest_categorical("still_share", [0.5, 0.2, 0.8]),
        "training": {
            "learning_rate": proposer.suggest_float("learning_rate", 0.001, 0.01, log=True),
            "known_weight": proposer.suggest_float("known_weight", 0.1, 3.0, log=True),
        },
    }


def _width(proposer: Proposer, default: int, figures: Figures, *, limited: bool = True) -> int:
    """Propose a width of half to twice the default."""
    factor = proposer.suggest_categorical("width", [0.5, 1.0, 2.0])
    width = max(8, round(default * float(factor)))
    return min(width, figures.catalogue, 4096) if limited else min(width, 4096)


_SPACES: dict[Family, Space] = {
    "spectral": _spectral,
    "ease": _ease,
    "als": _als,
    "cooccurrence": _cooccurrence,
    "lightgcn": _lightgcn,
    "hybrid": _hybrid,
}
_SECTIONS: dict[Family, type[Section]] = {
    "spectral": SpectralConfig,
    "ease": EaseConfig,
    "als": AlsConfig,
    "cooccurrence": CooccurrenceConfig,
    "lightgcn": LightGCNConfig,
    "hybrid": HybridConfig,
}
_SUGGESTED = (
    "user_exponent", "item_exponent", "output_exponent", "history_exponent", "penalty",
    "confidence", "loss", "temperature", "learning_rate", "candidate_exponent", "num_layers",
    "norm_exponent", "ridge_l2", "still_share", "known_weight",
)  # fmt: skip
