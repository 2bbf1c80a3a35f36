"""What the command and gnnrec.train do alike, from data that somebody names to a version."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gnnrec_registry import ModelStore
from gnnrec_registry.gate import check
from gnnrec_registry.versions.manifest import Metrics

if TYPE_CHECKING:
    from gnnrec_training.config import Config
    from gnnrec_training.train import Outcome

Splits = Mapping[str, Metrics]
"""Metrics by the part of the data that they were measured on."""


def configured(
    data: Sequence[str],
    say: Callable[[str], None],
    *,
    name: str = "",
    users: str = "",
    items: str = "",
) -> tuple["Config", Path]:
    """Return the configuration that is named, or one for the data that are, and where it stands.

    `say` hears what was found in the data. `name`, `users`, `items`: as for training.proposal, for
    data alone.
    """
    from gnnrec_training.addresses import is_frame
    from gnnrec_training.config import load
    from gnnrec_training.data.discovery.proposal import propose
    from gnnrec_training.errors import InvalidConfig

    if any(each.endswith(".toml") for each in data):
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
    return proposal.config, proposal.beside


def store_of(config: "Config", registry: str, promote: str) -> ModelStore:
    """Return where the version is published; refuse a bad alias before the work, not after."""
    store = ModelStore(registry, config.name)
    if promote:
        store.layout.alias(promote)
    return store


def promote(store: ModelStore, version: str, alias: str) -> str:
    """Point an alias at a version that is whole and no worse, and return what was compared.

    Raises PromotionRefused.
    """
    note = check(store, version, alias=alias)
    store.aliases.promote(version, alias=alias, why="trained")
    return note


def unknown_texts(outcome: "Outcome") -> str:
    """Return a sentence about texts of the data that the features have no place for, or ""."""
    counts = ", ".join(f"{name} {count}" for name, count in outcome.unknown_texts.items())
    if not counts:
        return ""
    return f"texts without a place in the features (rare, or not in training): {counts}"


def metrics_table(models: Mapping[str, Splits], default: str) -> list[list[str]]:
    """Return recall, NDCG and coverage of models as rows of texts, the line of names first.

    `default`: the model whose metrics are shown. No rows where nothing was measured.
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
        ),
    ]


NOT_MEASURED = "not measured: the split keeps nothing from training"
