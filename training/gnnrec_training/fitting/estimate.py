"""What a training would need, told before it starts and without doing it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from gnnrec_training.config import Config, CooccurrenceConfig, SplitConfig
from gnnrec_training.config.defaults import defaults, with_defaults
from gnnrec_training.data.dataset import Dataset
from gnnrec_training.data.load import load_dataset
from gnnrec_training.errors import InvalidConfig
from gnnrec_training.fitting import memory
from gnnrec_training.reporter import Reporter

_FLOAT_BYTES = 4


@dataclass(frozen=True)
class Estimate:
    """What a training would do and need."""

    models: tuple[str, ...]
    counts: Mapping[str, int]
    """Interactions by part."""
    users: int
    items: int
    memory_bytes: int
    """At its peak, about."""
    disk_bytes: int
    """Of the published version, about."""

    def lines(self) -> list[str]:
        """Return it in sentences."""
        parts = ", ".join(f"{count:,} {part}" for part, count in self.counts.items())
        return [
            f"would train: {', '.join(self.models)}",
            f"over {self.users:,} users and {self.items:,} items; interactions: {parts}",
            f"about {self.memory_bytes / 2**20:,.0f} MiB of memory and "
            f"{self.disk_bytes / 2**20:,.0f} MiB of disk; nothing was trained or written",
        ]

    def record(self) -> dict[str, object]:
        """Return it as JSON values."""
        return {**asdict(self), "models": list(self.models), "counts": dict(self.counts)}


def estimate(config: Config, beside: Path, reporter: Reporter) -> Estimate:
    """Read the data as a training does, check all that it checks before it starts, and stop.

    `beside`: the folder that the configuration's relative paths start from.
    """
    dataset = load_dataset(config, beside, reporter)
    config = with_defaults(config, dataset.figures)
    check_sizes(config, dataset)
    models = _widths(config, dataset) if config.search is None else config.search.models
    return Estimate(
        tuple(models),
        dataset.counts(),
        len(dataset.user_ids),
        len(dataset.item_ids),
        memory.check(config, dataset),
        disk_bytes(config, dataset),
    )


def check_sizes(config: Config, dataset: Dataset, *, all_parts: bool = True) -> None:
    """Raise InvalidConfig where the data are too small for what the configuration asks.

    all_parts: whether every part that [split] asks for must hold something
    """
    items = len(dataset.item_ids)
    if max(config.evaluation.k) > items:
        raise InvalidConfig(
            f"evaluation.k asks for lists of {max(config.evaluation.k)} and the training data has "
            f"{items} items; set k in [evaluation] to shorter ones"
        )
    split = config.split
    asked = {"test": split.has_test, "validation": split.has_validation}
    for part, interactions in (("test", dataset.test), ("validation", dataset.validation)):
        if all_parts and asked[part] and len(interactions) == 0:
            raise InvalidConfig(
                f"the split left no interaction for the {part} part: {_way_out(part, split)}"
            )


def _way_out(part: str, split: SplitConfig) -> str:
    """Return why a part is empty that was asked for, and what to set."""
    if split.method == "leave_last_out":
        needed = 2 if part == "test" else split.last + 2
        return (
            f"no user has {needed} interactions; take another split.method, such as "
            '"random" with split.validation = 0'
        )
    few = "interactions are" if split.method == "time" else "users have"
    return (
        f"{few} too few; set a larger split.{part}, another split.method, or split.{part} = 0 to "
        "train without one"
    )


def disk_bytes(config: Config, dataset: Dataset) -> int:
    """Return about how large the published version is."""
    users, items = len(dataset.user_ids), len(dataset.item_ids)
    widths = _widths(config, dataset)
    numbers = (users + 2 * items) * sum(widths.values()) + sum(dataset.counts().values())
    if config.cooccurrence is not None or config.search is not None:
        numbers += 2 * items * CooccurrenceConfig().neighbours
    if dataset.features is not None:
        numbers += dataset.features.users.size + dataset.features.items.size
    return _FLOAT_BYTES * numbers + sum(map(len, dataset.user_ids + dataset.item_ids))


def _widths(config: Config, dataset: Dataset) -> dict[str, int]:
    """Return the width of the embeddings of each model that is configured, or may be chosen."""
    items = len(dataset.item_ids)
    widths: dict[str, int] = {}
    for name in ("spectral", "ease", "als", "lightgcn", "sage"):
        section = getattr(config, name)
        if section is not None:
            limit = items if name in ("spectral", "ease") else section.embedding_dim
            widths[name] = min(section.embedding_dim, limit)
    if config.cooccurrence is not None:
        widths["cooccurrence"] = 1
    if config.hybrid is not None:
        widths["hybrid"] = widths["lightgcn"]
    if config.search is not None:
        figures = defaults(dataset.figures, patient=True)
        widths = {
            name: figures[name]["embedding_dim"]
            for name in config.search.models
            if name in figures and "embedding_dim" in figures[name]
        }
        widths["fused"] = sum(widths.values())
    if config.fusion is not None:
        joint = sum(widths[name] for name in config.fusion.weights)
        widths["fused"] = config.fusion.embedding_dim or joint
    return widths
