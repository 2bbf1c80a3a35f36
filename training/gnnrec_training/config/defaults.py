"""Defaults that follow from the data: one place for each rule and its reason.

A key that a configuration does not set gets its value here before anything is trained. The manifest
records the values, so a version says how it was made and can be made again.
"""

import math
from dataclasses import dataclass
from typing import Any

from gnnrec_training.config.training import Config
from gnnrec_training.errors import InvalidConfig

Values = dict[str, Any]
"""Keys of a section and their values."""

_PATIENCE = 6
_DENSE = 0.002
_MANY = 500_000
_FEW_USERS, _MANY_USERS = 2_000, 30_000


@dataclass(frozen=True)
class Figures:
    """The figures of a data set that defaults follow from: of training interactions alone."""

    users: int
    """Users with interactions."""
    items: int
    """Items with interactions."""
    catalogue: int
    """All items, those without interactions included."""
    interactions: int

    @property
    def smaller(self) -> int:
        """The smaller side: no matrix of interactions has a higher rank."""
        return min(self.users, self.items)


def with_defaults(config: Config, figures: Figures) -> Config:
    """Return a configuration in which the keys that were not set follow from the data.

    One that names no model gets a [search]. Raises InvalidConfig where it could not choose.
    """
    values = config.model_dump(exclude_unset=True)
    if not config.variants and config.search is None:
        if not config.split.has_validation:
            raise InvalidConfig(
                "no model is configured, and which one suits the data is chosen on a validation "
                "part, which [split] has not; set split.validation, or name a model, such as [ease]"
            )
        values["search"] = {}
    loss = config.lightgcn.training.loss if config.lightgcn else "softmax"
    for section, keys in defaults(figures, loss, patient=config.split.has_validation).items():
        if getattr(config, section) is not None:
            _fill(values.setdefault(section, {}), keys)
    return Config.model_validate(values)


def defaults(figures: Figures, loss: str = "softmax", *, patient: bool) -> dict[str, Values]:
    """Return the defaults by section and key.

    loss: that of LightGCN; patient: whether there is a validation part that tells when to stop
    """
    fitted = node_fit(figures)
    if patient:
        fitted["patience"] = _PATIENCE
    lightgcn = lightgcn_fit(figures) if loss in ("softmax", "bsl") else pair_fit(figures)
    if patient:
        lightgcn["patience"] = _PATIENCE
    return {
        "spectral": {"embedding_dim": spectral_dim(figures)},
        "ease": {"embedding_dim": ease_dim(figures)},
        "als": {"embedding_dim": als_dim(figures)},
        "lightgcn": {
            "embedding_dim": lightgcn_dim(figures),
            "num_layers": lightgcn_layers(figures),
            "training": lightgcn,
        },
        "sage": {"training": fitted},
        "hybrid": {"training": fitted},
    }


def spectral_dim(figures: Figures) -> int:
    """Return the width of the spectral model: a thirtieth of the smaller side.

    More vectors fit the noise of a small catalogue (at 512 the figures of a thousand people are
    halved), and large ones have structure in a thousand. It is at least 32, but at most a quarter:
    with all vectors a history gives back itself, and every other item scores 0.
    """
    return _power_of_two(figures.smaller / 30, 32, 1024, figures.smaller // 4)


def ease_dim(figures: Figures) -> int:
    """Return the width of EASE: as wide as makes no difference to the exact regression.

    The penalty keeps small directions small, so 512 are enough where 1,682 are exact.
    """
    return min(512, figures.catalogue)


def als_dim(figures: Figures) -> int:
    """Return the width of ALS: a fifteenth of the smaller side, for the penalty guards it."""
    return _power_of_two(figures.smaller / 15, 32, 128, figures.catalogue)


def lightgcn_dim(figures: Figures) -> int:
    """Return the width of LightGCN: a hundredth of the smaller side, 64 to 256."""
    return _power_of_two(figures.smaller / 100, 64, 256)


def lightgcn_layers(figures: Figures) -> int:
    """Return the number of LightGCN's layers: two, and one above half a million interactions.

    There a second one doubles the time and gained nothing.
    """
    return 1 if figures.interactions > _MANY else 2


def lightgcn_fit(figures: Figures) -> Values:
    """Return what of LightGCN's training with softmax follows from the data.

    A step takes a sixteenth of the users, 32 to 1,024: small data need more steps than passes would
    give, and large ones gain nothing from more users in a step. Training has about 750 steps, as
    all data sets tried needed, in 10 to 150 passes; validations on the way tell when to stop.
    Candidates are as many as half of the items, 256 to 4,096. Where people had more than one item
    in 500, what is popular is a good guess and candidates are drawn alike; in sparser data popular
    items are drawn more often, and so rank lower. With more users lower learning rates and
    temperatures end higher: from .005 and .15 at 2,000 users to .002 and .12 at 30,000.
    """
    batch = _power_of_two(figures.users / 16, 32, 1024)
    density = figures.interactions / max(1, figures.users * figures.items)
    return {
        "batch_size": batch,
        "candidate_exponent": 0.0 if density > _DENSE else 0.7,
        "learning_rate": _between(figures.users, 0.005, 0.002),
        "temperature": _between(figures.users, 0.15, 0.12),
        "negatives": _power_of_two(figures.items / 2, 256, 4096),
        **_passes(750, figures.users / batch, 10, 150),
    }


def pair_fit(figures: Figures) -> Values:
    """Return what of LightGCN's training with BPR or BCE follows from the data.

    A step takes a fiftieth of the interactions, 256 to 16,384, and needs many more passes.
    """
    batch = _power_of_two(figures.interactions / 50, 256, 16_384)
    return {
        "batch_size": batch,
        "negatives": 1,
        "weight_decay": 1e-4,
        **_passes(5000, figures.interactions / batch, 10, 200),
    }


def node_fit(figures: Figures) -> Values:
    """Return what of the training of GraphSAGE and the hybrid follows from the data."""
    batch = _power_of_two(figures.users / 8, 32, 256)
    return {"batch_size": batch, **_passes(500, figures.users / batch, 10, 60)}


def _passes(steps: int, steps_of_a_pass: float, least: int, most: int) -> Values:
    """Return how many epochs make so many steps, and every how many of them to validate."""
    epochs = round(min(most, max(least, steps / max(1.0, steps_of_a_pass))))
    return {"epochs": epochs, "validate_every": _validate_every(epochs)}


def _validate_every(epochs: int) -> int:
    return max(1, round(epochs / 12))


def _between(users: int, few: float, many: float) -> float:
    """Return a value between that of few users and that of many, evenly by logarithms."""
    place = math.log(max(1, users) / _FEW_USERS) / math.log(_MANY_USERS / _FEW_USERS)
    found = few * math.pow(many / few, min(1.0, max(0.0, place)))
    return round(found, 4)


def _power_of_two(wanted: float, least: int, most: int, limit: int | None = None) -> int:
    """Return the power of two next to what is wanted, within bounds, and at most `limit`."""
    power = 1 << max(0, round(math.log2(max(wanted, 1))))
    bounded = min(most, max(least, power))
    return bounded if limit is None else max(1, min(bounded, limit))


def _fill(values: Values, keys: Values) -> None:
    """Set the keys that values do not have, and those of sections within them."""
    if "validate_every" in keys and "epochs" in values:
        keys = {**keys, "validate_every": _validate_every(values["epochs"])}
    for key, value in keys.items():
        if isinstance(value, dict):
            _fill(values.setdefault(key, {}), value)
        else:
            values.setdefault(key, value)
