"""All that a version publishes, put together: embeddings, seen items, metrics, report, manifest."""

from dataclasses import replace
from importlib.metadata import version as installed

from gnnrec_registry import DataEntry, Export
from gnnrec_registry.files.json import Json
from gnnrec_training.evaluation.ranking import DEFINITION
from gnnrec_training.export.golden import golden
from gnnrec_training.export.variants import Built
from gnnrec_training.graph.edges import as_of
from gnnrec_training.graph.sparse import by_user
from gnnrec_training.report import Contents, bias

_LIBRARIES = ("gnnrec", "numpy", "polars", "torch")


def version_export(
    contents: Contents, built: Built, report: dict[str, bytes], seconds_to_embeddings: float
) -> Export:
    """Return what the registry publishes as one version; report: files by name."""
    config, dataset = contents.config, contents.dataset
    variants, metrics = contents.variants, contents.measured.metrics
    seen = by_user(dataset.seen, len(dataset.user_ids))
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
        report=_report_numbers(contents, built),
        report_arrays=contents.measured.arrays,
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


def _report_numbers(contents: Contents, built: Built) -> Json:
    """Return the report in numbers, for report/metrics.json."""
    return {
        **({} if built.warm_start is None else {"warm_start": built.warm_start}),
        "loss": built.losses,
        "validations": {
            name: [list(entry) for entry in entries] for name, entries in built.validations.items()
        },
        "metrics": contents.measured.metrics,
        "slices": contents.measured.slices,
        "unknown_texts": dict(contents.dataset.unknown_texts),
        "data": contents.dataset.summary.record(),
        "popularity_bias": bias(contents),
    }
