"""The steps of a training that `gnnrec.train` and the command `gnnrec train` share."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gnnrec_registry import ModelStore, Version
from gnnrec_registry.errors import NoSuchVersion
from gnnrec_registry.gate import check
from gnnrec_registry.versions.manifest import Metrics

if TYPE_CHECKING:
    from gnnrec_training.config import Config
    from gnnrec_training.train import Outcome

Splits = Mapping[str, Metrics]
"""Metrics by split, the part of the data on which they were measured."""


def configured(
    data: Sequence[str],
    say: Callable[[str], None],
    *,
    name: str = "",
    users: str = "",
    items: str = "",
    search: bool = True,
) -> tuple["Config", Path]:
    """Return the configuration and the folder from which its paths start.

    `data` names a configuration file, or data alone, for which a configuration is proposed; `say`
    is then called with what was detected. `name`, `users`, `items`: as in `gnnrec.train`; `search`:
    whether data alone have their models searched for.
    """
    from gnnrec_training.addresses import is_frame
    from gnnrec_training.config import load
    from gnnrec_training.data.discovery.proposal import propose
    from gnnrec_training.errors import InvalidConfig

    if any(path.endswith(".toml") for path in data):
        if len(data) > 1:
            raise InvalidConfig(f"name one configuration, or data alone, not {' '.join(data)}")
        path = Path(data[0])
        return load(path), path.parent
    proposal = propose(data, Path(), name=name, users=users, items=items)
    for note in proposal.notes:
        say(note)
    files = [*data, *filter(None, (users, items))]
    if not any(map(is_frame, files)):
        say(f"for a configuration to change: gnnrec init {' '.join(files)}")
    config = proposal.config if search else proposal.config.model_copy(update={"search": None})
    return config, proposal.beside


def with_minutes(config: "Config", minutes: float | None) -> "Config":
    """Return a configuration whose search takes so many minutes; None leaves it as it is.

    Raises InvalidConfig where the configuration names its models, so that nothing is searched.
    """
    from gnnrec_training.config import SearchConfig
    from gnnrec_training.errors import InvalidConfig

    if minutes is None:
        return config
    if config.variants:
        raise InvalidConfig(
            f"minutes are those of a search, and the configuration names [{config.variants[0]}]; "
            "take the models out of it, or do without minutes"
        )
    if not 0 <= minutes < float("inf"):
        raise InvalidConfig(
            f"{minutes:g} minutes are no time for a search; 0 tries each model once"
        )
    search = (config.search or SearchConfig()).model_copy(update={"minutes": minutes})
    return config.model_copy(update={"search": search})


def store_of(config: "Config", registry: str, promote: str) -> ModelStore:
    """Return the store to publish to; an invalid alias raises InvalidName before the training."""
    store = ModelStore(registry, config.name)
    if promote:
        store.layout.alias(promote)
    return store


def named(store: ModelStore, name: str) -> Version:
    """Return the version that an alias names, or the version of this name.

    Raises NoSuchVersion if there is neither.
    """
    aliases = store.layout.alias_names()
    if name in aliases:
        return store.open(store.aliases.get(name).version)
    try:
        return store.open(name)
    except NoSuchVersion:
        model = store.layout.model
        raise NoSuchVersion(
            f"no version and no alias {name!r} of {model!r} to start from; aliases there: "
            f"{', '.join(aliases) or 'none yet'}; versions: gnnrec versions --model {model}"
        ) from None


def promote(store: ModelStore, version: str, alias: str) -> str:
    """Point an alias at a version if it is whole and no worse; return what was compared.

    Raises PromotionRefused.
    """
    note = check(store, version, alias=alias)
    store.aliases.promote(version, alias=alias, why="trained")
    return note


def unknown_texts(outcome: "Outcome") -> str:
    """Return a sentence that counts the texts unknown to the feature encoders, or ""."""
    counts = ", ".join(f"{name} {count}" for name, count in outcome.unknown_texts.items())
    if not counts:
        return ""
    return f"texts without a place in the features (rare, or not in training): {counts}"


def metrics_table(models: Mapping[str, Splits], default: str) -> list[list[str]]:
    """Return recall, NDCG and coverage of models as rows of texts, the header first.

    `default` is the model whose metrics name the columns. Without any metric there are no rows.
    """
    splits = sorted({split for metrics in models.values() for split in metrics})
    if not splits:
        return []
    names = [
        name
        for name in models[default][splits[0]]
        if name.startswith(("recall", "ndcg", "coverage"))
    ]
    return [
        ["split", "model", *names],
        *(
            [split, model, *(f"{metrics[split][name]:.4f}" for name in names)]
            for split in splits
            for model, metrics in models.items()
            if split in metrics
        ),
    ]


NOT_MEASURED = "not measured: the split keeps nothing from training"
