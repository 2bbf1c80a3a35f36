"""One training, from configuration to published version."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version as installed
from pathlib import Path

import numpy as np

from gnnrec_registry import DataEntry, Export, ModelStore, RegistryError, Version
from gnnrec_training import memory
from gnnrec_training.checkpoint import Checkpoints
from gnnrec_training.config import Config
from gnnrec_training.data.dataset import Dataset
from gnnrec_training.data.load import load_dataset
from gnnrec_training.errors import Interrupted, InvalidConfig
from gnnrec_training.evaluate import DEFINITION
from gnnrec_training.golden import golden
from gnnrec_training.graph import as_of, csr
from gnnrec_training.measure import best, measure
from gnnrec_training.report import REPORT_STEPS, Contents, bias, build_report
from gnnrec_training.reporter import Reporter
from gnnrec_training.variants import Built, build

_FLOAT = 4
_LIBRARIES = ("gnnrec", "numpy", "polars", "torch")


@dataclass(frozen=True)
class Outcome:
    """A published version, and how long it took: in all, and to the embeddings."""

    version: Version
    seconds: float
    seconds_to_embeddings: float
    unknown_texts: Mapping[str, int]
    """How many texts of the nodes have no place in the encoding, such as {"items.tags": 12}."""


def train(
    config: Config,
    beside: Path,
    store: ModelStore,
    reporter: Reporter,
    checkpoints: Path | None = None,
    *,
    resume: bool = False,
) -> Outcome:
    """Train as configured and publish. A version is there only when all went well.

    `beside`: the folder that the configuration's relative paths start from; `checkpoints`: where
    stopped trainings are kept, the registry's own folder for it if not given; `resume`: go on from
    there. Raises Interrupted for a KeyboardInterrupt.
    """
    started = time.monotonic()
    memory.keep_freed()
    store.check_writable()
    dataset = load_dataset(config, beside, reporter)
    _check_sizes(config, dataset)
    memory.check(config, dataset)
    store.check_writable(_disk_bytes(config, dataset))
    kept = Checkpoints(
        checkpoints or store.checkpoints,
        {"config": config.model_dump(mode="json"), "data": dataset.fingerprint()},
        reporter,
        resume=resume,
    )
    try:
        outcome = _train(config, beside, store, reporter, dataset, kept, started)
    except KeyboardInterrupt:
        raise Interrupted(f"stopped; {kept.what_remains()}") from None
    except (RegistryError, OSError):
        if kept.kept:
            reporter.tell(kept.what_remains())
        raise
    kept.remove()
    return outcome


def _train(
    config: Config,
    beside: Path,
    store: ModelStore,
    reporter: Reporter,
    dataset: Dataset,
    kept: Checkpoints,
    started: float,
) -> Outcome:
    built = build(config, dataset, beside, reporter, kept)
    seconds_to_embeddings = time.monotonic() - started
    variants = {
        name: (np.ascontiguousarray(variant.users), np.ascontiguousarray(variant.items))
        for name, variant in built.variants.items()
    }
    on_train = {
        name: (halves[0].numpy(), np.ascontiguousarray(halves[1].numpy()))
        for name, halves in built.on_train.items()
    }
    measured = measure(config, dataset, variants, on_train, reporter)
    reporter.start("report", REPORT_STEPS)
    contents = Contents(
        config=config,
        dataset=dataset,
        variants=variants,
        default_variant=best(measured.metrics, list(variants), config.evaluation.k[0]),
        losses=built.losses,
        validations=built.validations,
        measured=measured,
    )
    report = build_report(contents, reporter.advance)
    reporter.start("publishing", 1)
    version = store.publish(_export(contents, built, report, seconds_to_embeddings))
    return Outcome(
        version, time.monotonic() - started, seconds_to_embeddings, dataset.unknown_texts
    )


@dataclass(frozen=True)
class Estimate:
    """What a training would do and take, told without doing it."""

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
    """Read the data as `train` does, check all that it checks before it trains, and stop."""
    dataset = load_dataset(config, beside, reporter)
    _check_sizes(config, dataset)
    return Estimate(
        tuple(_widths(config, dataset)),
        dataset.counts(),
        len(dataset.user_ids),
        len(dataset.item_ids),
        memory.check(config, dataset),
        _disk_bytes(config, dataset),
    )


def _widths(config: Config, dataset: Dataset) -> dict[str, int]:
    """Return the width of the embeddings of each model that is configured."""
    items = len(dataset.item_ids)
    widths = {
        "lightgcn": config.lightgcn and config.lightgcn.embedding_dim,
        "spectral": config.spectral and min(config.spectral.embedding_dim, items),
        "sage": config.sage and config.sage.embedding_dim,
    }
    if config.hybrid is not None:
        widths["hybrid"] = widths["lightgcn"]
    if config.fusion is not None:
        joint = (widths["lightgcn"] or 0) + (widths["spectral"] or 0)
        widths["fused"] = config.fusion.embedding_dim or joint
    return {name: width for name, width in widths.items() if width}


def _disk_bytes(config: Config, dataset: Dataset) -> int:
    """Return about how large the published version is."""
    users, items = len(dataset.user_ids), len(dataset.item_ids)
    numbers = (users + 2 * items) * sum(_widths(config, dataset).values()) + len(dataset.seen)
    if dataset.features is not None:
        numbers += dataset.features.users.size + dataset.features.items.size
    return _FLOAT * numbers + sum(map(len, dataset.user_ids + dataset.item_ids))


def _check_sizes(config: Config, dataset: Dataset) -> None:
    """Refuse what cannot work before any work is lost."""
    items = len(dataset.item_ids)
    if max(config.evaluation.k) > items:
        raise InvalidConfig(
            f"evaluation.k asks for lists of {max(config.evaluation.k)} and the training data has "
            f"{items} items; set k in [evaluation] to shorter ones"
        )
    if config.split.method != "given" and config.split.test > 0 and len(dataset.test) == 0:
        raise InvalidConfig(
            "the split left no interaction for the test part: users have too few; "
            "set split.test = 0 to train without one"
        )


def _export(
    contents: Contents, built: Built, report: dict[str, bytes], seconds_to_embeddings: float
) -> Export:
    config, dataset, measured = contents.config, contents.dataset, contents.measured
    variants, metrics = contents.variants, measured.metrics
    seen = csr(dataset.seen, len(dataset.user_ids))
    return Export(
        user_ids=dataset.user_ids,
        item_ids=dataset.item_ids,
        item_titles=dataset.item_titles,
        seen_indptr=seen.indptr,
        seen_items=seen.columns,
        seen_liked=seen.values > 0,
        variants={
            name: replace(variant, metrics=metrics[name])
            for name, variant in built.variants.items()
        },
        features=dataset.features,
        attributes=dataset.item_attributes,
        default_variant=contents.default_variant,
        golden=golden(variants, dataset.user_ids, dataset.item_ids, seen),
        report={
            "loss": built.losses,
            "validations": {
                name: [list(entry) for entry in entries]
                for name, entries in built.validations.items()
            },
            "metrics": metrics,
            "slices": measured.slices,
            "unknown_texts": dict(dataset.unknown_texts),
            "data": dataset.summary.record(),
            "popularity_bias": bias(contents),
        },
        report_arrays=measured.arrays,
        report_files=report,
        seconds={"reading_to_embeddings": round(seconds_to_embeddings, 3)},
        config=config.model_dump(mode="json"),
        data=DataEntry(
            name=dataset.name,
            fingerprint=dataset.fingerprint(),
            users=len(dataset.user_ids),
            items=len(dataset.item_ids),
            interactions=dataset.counts(),
            as_of=as_of(dataset.train, config.graph),
        ),
        metric_definition=DEFINITION,
        baselines={name: splits for name, splits in metrics.items() if name not in variants},
        libraries={name: installed(name) for name in _LIBRARIES},
    )
