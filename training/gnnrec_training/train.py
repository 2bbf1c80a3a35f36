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
from gnnrec_training.errors import Interrupted
from gnnrec_training.evaluation.measurement import measure, served_variant
from gnnrec_training.evaluation.verdict import Verdict
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
    verdict: Verdict | None
    """How the default variant stands beside the baselines; None if nothing was measured."""
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
) -> Outcome:
    """Train as configured and publish. A version is there only when all went well.

    `beside`: the folder that the configuration's relative paths start from; `checkpoints`: the
    folder of checkpoints, one in the registry if not given; `resume`: go on from
    there. Raises Interrupted for a KeyboardInterrupt.
    """
    started = time.monotonic()
    memory.keep_freed()
    store.check_writable()
    dataset = load_dataset(config, beside, reporter)
    check_sizes(config, dataset)
    memory.check(config, dataset)
    store.check_writable(disk_bytes(config, dataset))
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
    checkpoints: Checkpoints,
    started: float,
) -> Outcome:
    """Build the variants, measure them, write their report and publish all of it."""
    built = build_variants(config, dataset, beside, reporter, checkpoints)
    seconds_to_embeddings = time.monotonic() - started
    variants = {
        name: (np.ascontiguousarray(variant.users), np.ascontiguousarray(variant.items))
        for name, variant in built.variants.items()
    }
    on_train = {
        name: (users.numpy(), np.ascontiguousarray(items.numpy()))
        for name, (users, items) in built.on_train.items()
    }
    measured = measure(config, dataset, variants, on_train, reporter, built.lists)
    reporter.start("report", REPORT_STEPS)
    contents = Contents(
        config=config,
        dataset=dataset,
        variants=variants,
        default_variant=served_variant(config, measured.metrics, list(variants)),
        losses=built.losses,
        validations=built.validations,
        measured=measured,
        lists=built.lists,
    )
    report = build_report(contents, reporter.advance)
    reporter.start("publishing", 1)
    version = store.publish(version_export(contents, built, report, seconds_to_embeddings))
    return Outcome(
        version,
        time.monotonic() - started,
        seconds_to_embeddings,
        contents.verdict,
        dataset.unknown_texts,
    )
