"""One training, from configuration to published version: the whole pipeline."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from gnnrec_registry import FitEntry, FitsEntry, ModelStore, RegistryError, Version
from gnnrec_registry.files.json import Json
from gnnrec_registry.versions.manifest import Metrics
from gnnrec_training.config import Config
from gnnrec_training.config.defaults import with_defaults
from gnnrec_training.data.dataset import Dataset, no_interactions
from gnnrec_training.data.load import Data, read_data
from gnnrec_training.errors import Interrupted
from gnnrec_training.evaluation.measurement import measure, served_variant
from gnnrec_training.evaluation.seen import history
from gnnrec_training.evaluation.verdict import Verdict
from gnnrec_training.export.agreement import shared
from gnnrec_training.export.variants import Built, Lessons, build_variants
from gnnrec_training.export.version import Published, version_export
from gnnrec_training.export.warm_start import begun
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
    start: Version | None = None,
) -> Outcome:
    """Train as configured and publish. A version is there only when all went well.

    `beside`: the folder that the configuration's relative paths start from; `checkpoints`: the
    folder of checkpoints, one in the registry if not given; `resume`: go on from
    there; `start`: a version that training starts from: LightGCN from its embeddings, and with its
    models where the configuration names none. Raises Interrupted for a KeyboardInterrupt.
    """
    started = time.monotonic()
    if start is not None:
        config = begun(config, start, reporter)
    memory.keep_freed()
    store.check_writable()
    data = read_data(config, beside, reporter)
    dataset = data.split(start)
    config = with_defaults(config, dataset.figures)
    check_sizes(config, dataset, all_parts=start is None)
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
    training = _Training(config, beside, store, reporter, kept, started, start)
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
class _Chosen:
    """Models that are ready to be measured."""

    config: Config
    """With the chosen models and their settings."""
    dataset: Dataset
    """What they were fitted on, and the part that measures them."""
    built: Built
    on_validation: Mapping[str, Mapping[str, Metrics]] = field(default_factory=dict)
    """What an earlier fit of them, without the validation part, gave there, by variant."""
    search: Json | None = None
    """What a search tried."""


@dataclass(frozen=True)
class _Training:
    """The steps from a split data set to a published version."""

    config: Config
    beside: Path
    store: ModelStore
    reporter: Reporter
    checkpoints: Checkpoints
    started: float
    start: Version | None = None

    def run(self, data: Data, dataset: Dataset) -> Outcome:
        """Choose and fit the models, measure them, fit them once more on everything, publish."""
        chosen = self._chosen(data, dataset)
        config, built = chosen.config, chosen.built
        to_embeddings = time.monotonic() - self.started
        measured = measure(config, chosen.dataset, built.variants, self.reporter)
        for name, splits in chosen.on_validation.items():
            measured.metrics[name] |= splits
        contents = Contents(
            config=config,
            dataset=chosen.dataset,
            as_split=dataset,
            variants=built.variants,
            default_variant=served_variant(config, measured.metrics, list(built.variants)),
            losses=built.losses,
            validations=built.validations,
            measured=measured,
            search=chosen.search,
        )
        published = self._published(config, data, contents, built)
        self.reporter.start("report", REPORT_STEPS)
        report = build_report(contents, self.reporter.advance)
        self.reporter.start("publishing", 1)
        seconds = {
            "reading_to_embeddings": round(to_embeddings, 3),
            "all": round(time.monotonic() - self.started, 3),
        }
        version = self.store.publish(
            version_export(contents, published, report, seconds, built.start)
        )
        return Outcome(
            version,
            time.monotonic() - self.started,
            to_embeddings,
            contents.verdict,
            dataset.unknown_texts,
        )

    def _chosen(self, data: Data, dataset: Dataset) -> "_Chosen":
        """Return the models to be measured, of the configuration or of a search."""
        if self.config.search is None:
            return _Chosen(self.config, dataset, self._build(self.config, dataset))
        found = search(self.config, dataset, self.beside, self.reporter, self.checkpoints)
        config, built = found.config, found.built
        if len(dataset.test) == 0:
            return _Chosen(config, dataset, built, search=found.record())
        # validation has done its work: the test part measures what is fitted on all before it
        choices = replace(dataset, test=no_interactions())
        on_validation = measure(config, choices, built.variants, self.reporter, beside=False)
        before_test = data.before_test()
        known = len(before_test.train)
        self.reporter.tell(f"fitting once more, on all {known:,} interactions but the test part")
        again = self._build(config, before_test, built.lessons, "-before-test")
        again.take_course(built)
        return _Chosen(config, before_test, again, on_validation.metrics, found.record())

    def _build(
        self, config: Config, dataset: Dataset, lessons: Lessons | None = None, which: str = ""
    ) -> Built:
        return build_variants(
            config,
            dataset,
            self.beside,
            self.reporter,
            self.checkpoints,
            lessons,
            which,
            self.start,
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
        again = self._build(config, whole, built.lessons, "-whole")
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
