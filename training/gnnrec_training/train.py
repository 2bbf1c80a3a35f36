"""One training, from configuration to published version: the whole pipeline."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gnnrec_registry import FitEntry, FitsEntry, ModelStore, RegistryError, Version
from gnnrec_training.config import Config
from gnnrec_training.config.defaults import with_defaults
from gnnrec_training.data.dataset import Dataset
from gnnrec_training.data.load import Data, read_data
from gnnrec_training.errors import Interrupted
from gnnrec_training.evaluation.measurement import measure, served_variant
from gnnrec_training.evaluation.seen import history
from gnnrec_training.evaluation.verdict import Verdict
from gnnrec_training.export.agreement import shared
from gnnrec_training.export.variants import Built, Lessons, build_variants
from gnnrec_training.export.version import Published, version_export
from gnnrec_training.fitting import memory
from gnnrec_training.fitting.checkpoint import Checkpoints
from gnnrec_training.fitting.estimate import check_sizes, disk_bytes
from gnnrec_training.graph.sparse import Csr
from gnnrec_training.report import REPORT_STEPS, Contents, build_report
from gnnrec_training.reporter import Reporter
from gnnrec_training.search.search import search


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
    data = read_data(config, beside, reporter)
    dataset = data.split()
    config = with_defaults(config, dataset.figures)
    check_sizes(config, dataset)
    memory.check(config, dataset)
    store.check_writable(disk_bytes(config, dataset))
    kept = Checkpoints(
        checkpoints or store.checkpoints,
        {"config": config.model_dump(mode="json"), "data": dataset.fingerprint()},
        reporter,
        resume=resume,
    )
    training = _Training(config, beside, store, reporter, kept, started)
    try:
        outcome = training.run(data, dataset)
    except KeyboardInterrupt:
        raise Interrupted(f"stopped; {kept.what_remains()}") from None
    except (RegistryError, OSError):
        if kept.kept:
            reporter.tell(kept.what_remains())
        raise
    kept.remove()
    return outcome


@dataclass(frozen=True)
class _Training:
    """The steps from a split data set to a published version."""

    config: Config
    beside: Path
    store: ModelStore
    reporter: Reporter
    checkpoints: Checkpoints
    started: float

    def run(self, data: Data, dataset: Dataset) -> Outcome:
        """Choose and fit the models, measure them, fit them once more on everything, publish."""
        config, tried = self.config, None
        if config.search is None:
            built = self._build(config, dataset)
        else:
            found = search(config, dataset, self.beside, self.reporter, self.checkpoints)
            config, built, tried = found.config, found.built, found.record()
        to_embeddings = time.monotonic() - self.started
        measured = measure(config, dataset, built.variants, self.reporter)
        contents = Contents(
            config=config,
            dataset=dataset,
            variants=built.variants,
            default_variant=served_variant(config, measured.metrics, list(built.variants)),
            losses=built.losses,
            validations=built.validations,
            measured=measured,
            search=tried,
        )
        published = self._published(config, data, contents, built)
        self.reporter.start("report", REPORT_STEPS)
        report = build_report(contents, self.reporter.advance)
        self.reporter.start("publishing", 1)
        seconds = {
            "reading_to_embeddings": round(to_embeddings, 3),
            "all": round(time.monotonic() - self.started, 3),
        }
        version = self.store.publish(version_export(contents, published, report, seconds, tried))
        return Outcome(
            version,
            time.monotonic() - self.started,
            to_embeddings,
            contents.verdict,
            dataset.unknown_texts,
        )

    def _build(self, config: Config, dataset: Dataset, lessons: Lessons | None = None) -> Built:
        return build_variants(
            config, dataset, self.beside, self.reporter, self.checkpoints, lessons
        )

    def _published(self, config: Config, data: Data, contents: Contents, built: Built) -> Published:
        """Fit what was measured once more, on everything; without refit return it as it is."""
        dataset = contents.dataset
        measured = FitEntry(interactions=len(dataset.train), epochs=built.epochs)
        held_out = len(dataset.validation) + len(dataset.test)
        if not config.refit or held_out == 0:
            fits = FitsEntry(measured=measured, published=measured)
            return Published(dataset, built.variants, fits)
        self.reporter.tell(
            f"fitting once more, on all {len(dataset.train) + held_out:,} interactions"
        )
        whole = data.whole()
        again = self._build(config, whole, built.lessons)
        fits = FitsEntry(
            measured=measured,
            published=FitEntry(interactions=len(whole.train), epochs=again.epochs),
            shared=shared(
                (built.variants[contents.default_variant], *_known(config, dataset)),
                (again.variants[contents.default_variant], *_known(config, whole)),
            ),
        )
        return Published(whole, again.variants, fits)


def _known(config: Config, dataset: Dataset) -> tuple[Csr, list[str], list[str]]:
    return history(config, dataset), dataset.user_ids, dataset.item_ids
