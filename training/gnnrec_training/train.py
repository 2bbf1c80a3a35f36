"""One training, from configuration to published version: the whole pipeline."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gnnrec_registry import ModelStore, RegistryError, Version
from gnnrec_training.config import Config
from gnnrec_training.data.dataset import Dataset
from gnnrec_training.data.load import load_dataset
from gnnrec_training.errors import Interrupted, InvalidConfig
from gnnrec_training.evaluation.measurement import best_variant, measure
from gnnrec_training.export.variants import build_variants
from gnnrec_training.export.version import version_export
from gnnrec_training.fitting import memory
from gnnrec_training.fitting.checkpoint import Checkpoints
from gnnrec_training.fitting.estimate import check_sizes, disk_bytes
from gnnrec_training.report import REPORT_STEPS, Contents, build_report
from gnnrec_training.reporter import Reporter


@dataclass(frozen=True)
class Outcome:
    """A published version, and how long it took: in all, and to the embeddings."""

    version: Version
    seconds: float
    seconds_to_embeddings: float
    unknown_texts: Mapping[str, int]
    """How many texts of each feature the encoding does not know, such as {"items.tags": 12}."""


def train(
    config: Config,
    beside: Path,
    store: ModelStore,
    reporter: Reporter,
    checkpoints: Path | None = None,
    *,
    resume: bool = False,
    start: Version | None = None,
) -> Outcome:
    """Train as configured and publish. A version is there only when all went well.

    `beside`: the folder that the configuration's relative paths start from; `checkpoints`: the
    folder of checkpoints, one in the registry if not given; `resume`: go on from
    there; `start`: a version whose embeddings LightGCN starts from. Raises Interrupted for a
    KeyboardInterrupt.
    """
    started = time.monotonic()
    if start is not None and config.lightgcn is None:
        raise InvalidConfig(
            f"only LightGCN can start from a version such as {start.name}, and this configuration "
            "has no [lightgcn]; add it, or train without"
        )
    memory.keep_freed()
    store.check_writable()
    dataset = load_dataset(config, beside, reporter)
    check_sizes(config, dataset)
    memory.check(config, dataset)
    store.check_writable(disk_bytes(config, dataset))
    kept = Checkpoints(
        checkpoints or store.checkpoints,
        {
            "config": config.model_dump(mode="json"),
            "data": dataset.fingerprint(),
            **({} if start is None else {"start": start.name}),
        },
        reporter,
        resume=resume,
    )
    try:
        outcome = _train(config, beside, store, reporter, dataset, kept, started, start)
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
    checkpoints: Checkpoints,
    started: float,
    start: Version | None,
) -> Outcome:
    """Build the variants, measure them, write their report and publish all of it."""
    built = build_variants(config, dataset, beside, reporter, checkpoints, start)
    seconds_to_embeddings = time.monotonic() - started
    variants = {
        name: (np.ascontiguousarray(variant.users), np.ascontiguousarray(variant.items))
        for name, variant in built.variants.items()
    }
    on_train = {
        name: (users.numpy(), np.ascontiguousarray(items.numpy()))
        for name, (users, items) in built.on_train.items()
    }
    measured = measure(config, dataset, variants, on_train, reporter)
    reporter.start("report", REPORT_STEPS)
    contents = Contents(
        config=config,
        dataset=dataset,
        variants=variants,
        default_variant=best_variant(measured.metrics, list(variants), config.evaluation.k[0]),
        losses=built.losses,
        validations=built.validations,
        measured=measured,
    )
    report = build_report(contents, reporter.advance)
    reporter.start("publishing", 1)
    version = store.publish(version_export(contents, built, report, seconds_to_embeddings))
    return Outcome(
        version, time.monotonic() - started, seconds_to_embeddings, dataset.unknown_texts
    )
