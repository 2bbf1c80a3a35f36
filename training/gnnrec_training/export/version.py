"""All that a version publishes, put together: embeddings, seen items, metrics, report, manifest."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version as installed

from gnnrec_registry import (
    DataEntry,
    Export,
    FitsEntry,
    StartEntry,
    VariantExport,
    VerdictEntry,
)
from gnnrec_registry.files.json import Json
from gnnrec_training.config import Config
from gnnrec_training.data.dataset import Dataset
from gnnrec_training.evaluation.ranking import DEFINITION
from gnnrec_training.export.golden import golden
from gnnrec_training.export.hits import hit_arrays
from gnnrec_training.graph.edges import as_of
from gnnrec_training.graph.sparse import Csr, by_user
from gnnrec_training.report import Contents, bias

_LIBRARIES = ("gnnrec", "numpy", "polars", "torch")


@dataclass(frozen=True)
class Published:
    """What is published: a fit, and the data set that it is over."""

    dataset: Dataset
    variants: Mapping[str, VariantExport]
    fits: FitsEntry

    def seen(self, config: Config) -> Csr:
        """What users had (U, I); the value is above 0 for the edges of the graph."""
        seen = self.dataset.seen(config.graph.disliked_weight)
        return by_user(seen, len(self.dataset.user_ids))


def version_export(
    contents: Contents,
    published: Published,
    report: dict[str, bytes],
    seconds: Mapping[str, float],
    start: StartEntry | None = None,
) -> Export:
    """Return what the registry publishes as one version.

    contents: what was measured; report: files by name; start: the version that training started
    from
    """
    config, dataset, metrics = contents.config, published.dataset, contents.measured.metrics
    seen = published.seen(config)
    return Export(
        user_ids=dataset.user_ids,
        item_ids=dataset.item_ids,
        item_titles=dataset.item_titles,
        seen_indptr=seen.indptr,
        seen_items=seen.columns,
        seen_liked=seen.values > 0,
        variants={
            name: replace(variant, metrics=metrics[name])
            for name, variant in published.variants.items()
        },
        features=dataset.features,
        attributes=dataset.item_attributes,
        default_variant=contents.default_variant,
        golden=golden(published.variants, dataset.user_ids, dataset.item_ids, seen),
        report=_report_numbers(contents),
        report_arrays=hit_arrays(contents.measured, contents.dataset, dataset.user_ids),
        report_files=report,
        seconds=seconds,
        config=config.model_dump(mode="json"),
        data=DataEntry(
            name=dataset.name,
            fingerprint=contents.as_split.fingerprint(),
            users=len(dataset.user_ids),
            items=len(dataset.item_ids),
            interactions=contents.as_split.counts(),
            as_of=as_of(dataset.train, config.graph),
        ),
        metric_definition=DEFINITION,
        verdict=_verdict(contents),
        fits=published.fits,
        search=contents.search,
        start=start,
        baselines={
            name: splits for name, splits in metrics.items() if name not in published.variants
        },
        libraries={name: installed(name) for name in _LIBRARIES},
    )


def _verdict(contents: Contents) -> VerdictEntry | None:
    verdict = contents.verdict
    if verdict is None:
        return None
    return VerdictEntry(
        beats_baselines=verdict.beats_baselines,
        baseline=verdict.best_baseline,
        sentence=verdict.sentence,
    )


def _report_numbers(contents: Contents) -> Json:
    """Return the report in numbers, for report/metrics.json."""
    return {
        "loss": contents.losses,
        "validations": {
            name: [list(entry) for entry in entries]
            for name, entries in contents.validations.items()
        },
        "metrics": contents.measured.metrics,
        "slices": contents.measured.slices,
        "verdict": contents.verdict and contents.verdict.record(),
        "unknown_texts": dict(contents.dataset.unknown_texts),
        "data": contents.dataset.summary.record(),
        "popularity_bias": bias(contents),
    }
