"""The metrics of variants and baselines on the validation and test parts, whole and by slice."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from gnnrec_registry import VariantExport
from gnnrec_registry.files.json import Json
from gnnrec_registry.scoring.metrics import Hits
from gnnrec_registry.versions.manifest import Metrics
from gnnrec_training.config import Config
from gnnrec_training.data.dataset import Dataset, Interactions
from gnnrec_training.evaluation.baselines import baselines
from gnnrec_training.evaluation.intervals import PerUser
from gnnrec_training.evaluation.ranking import Evaluation, evaluate, heldout
from gnnrec_training.evaluation.seen import Split, history, seen_before
from gnnrec_training.evaluation.slices import by_activity, by_popularity, slices, wanted_by_slice
from gnnrec_training.graph.sparse import by_user
from gnnrec_training.reporter import Reporter

Models = Mapping[str, VariantExport]
"""Embeddings, and item lists where a model has some, by the model's name."""


@dataclass
class Measured:
    """Metrics by model and split, and what else is published of them.

    slices: metrics of parts of the users and items, by variant and split. hits: by variant and
    split; held_out: how many held-out items each user has (U + W,), by split, W of them unknown to
    training. shown: in how many lists of the first k
    each item stands (I,), by model and split. per_user: the recall and NDCG at the first k of each
    user (V,), by model, split and metric; unknown_users: how many users with held-out items are
    unknown to training, by split.
    """

    metrics: dict[str, dict[str, Metrics]] = field(default_factory=dict)
    slices: dict[str, dict[str, Json]] = field(default_factory=dict)
    hits: dict[str, dict[str, Hits]] = field(default_factory=dict)
    held_out: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    shown: dict[str, dict[str, NDArray[np.int64]]] = field(default_factory=dict)
    per_user: dict[str, dict[str, dict[str, PerUser]]] = field(default_factory=dict)
    unknown_users: dict[str, int] = field(default_factory=dict)


def measure(
    config: Config,
    dataset: Dataset,
    variants: Models,
    reporter: Reporter,
    *,
    beside: bool = True,
) -> Measured:
    """Evaluate variants and baselines on the validation and test parts, where these hold something.

    beside: whether to measure baselines. All models know the training part alone, and leave out of
    a user's ranking what the user had before the part. Baselines are measured on the part that is
    judged by: test, if there is one.
    """
    measured = Measured(
        metrics={name: {} for name in variants}, per_user={name: {} for name in variants}
    )
    measurable = len(dataset.validation) + len(dataset.test) > 0
    simple = baselines(config, dataset, reporter) if beside and measurable else {}
    for name in simple:
        measured.metrics[name], measured.per_user[name] = {}, {}
    if len(dataset.validation) > 0:
        part = _Part("validation", dataset.validation, dataset.train, config, dataset)
        models = variants if len(dataset.test) else {**variants, **simple}
        _measure_part(config, part, models, set(variants), measured, reporter)
    if len(dataset.test) > 0:
        part = _Part("test", dataset.test, dataset.known, config, dataset)
        _measure_part(config, part, {**variants, **simple}, set(variants), measured, reporter)
    return measured


class _Part:
    """A part of the data, arranged to be measured on."""

    def __init__(
        self,
        name: Split,
        wanted: Interactions,
        known: Interactions,
        config: Config,
        dataset: Dataset,
    ) -> None:
        users, items = len(dataset.user_ids), len(dataset.item_ids)
        self.name, self.seen = name, seen_before(dataset, name)
        self.history = history(config, dataset)
        self.held_out = heldout(wanted, users, items)
        self.slices = slices(by_user(known, users), items)
        self.sizes = np.bincount(wanted.user_rows, minlength=users)
        self.wanted = wanted_by_slice(wanted, self.slices)
        """(P,): held-out interactions by slice of the items."""


def _measure_part(
    config: Config,
    part: _Part,
    models: Models,
    variants: set[str],
    measured: Measured,
    reporter: Reporter,
) -> None:
    """Evaluate each model on a part, and the variants among them by slice and by user as well."""
    asked = int(np.count_nonzero(part.held_out.sizes))
    measured.unknown_users[part.name] = part.held_out.unknown_users
    for name, model in models.items():
        reporter.start(f"{part.name}: {name}", asked)
        share_done = partial(_advance, reporter, asked)
        result = evaluate(
            model.users, model.items, part.seen, part.held_out, config.evaluation.k, share_done,
            lists=model.lists, history=part.history,
        )  # fmt: skip
        measured.metrics[name][part.name] = result.metrics
        measured.shown.setdefault(name, {})[part.name] = result.shown
        measured.per_user[name][part.name] = {
            metric: result.per_user[metric] for metric in judged_by(config)
        }
        if name in variants:
            _add_details(name, part, result, config.evaluation.k, measured)


def _add_details(
    name: str, part: _Part, result: Evaluation, ks: tuple[int, ...], measured: Measured
) -> None:
    """Add a variant's slices, and the arrays that its metrics by user follow from."""
    measured.hits.setdefault(name, {})[part.name] = result.hits
    measured.held_out[part.name] = part.sizes
    found = np.bincount(part.slices.item_slice, result.item_hits, len(part.wanted))
    measured.slices.setdefault(name, {})[part.name] = {
        "by_activity": by_activity(result.users, result.per_user, part.slices),
        "by_popularity": by_popularity(found.astype(np.int64), part.wanted, part.slices, max(ks)),
        "hits": {
            "ranks": ranks_file(name, part.name),
            "held_out": held_out_file(part.name),
            "k": list(ks),
        },
    }


def ranks_file(variant: str, split: str) -> str:
    """Return the name of the file with the ranks of a variant's hits on a part."""
    return f"report/{variant}.{split}.npy"


def held_out_file(split: str) -> str:
    """Return the name of the file with how many items of a part each user has."""
    return f"report/{split}.held_out.npy"


def judged_by(config: Config) -> tuple[str, str]:
    """Return the two metrics that models are judged by, such as ("ndcg@10", "recall@10")."""
    k = config.evaluation.k[0]
    return f"ndcg@{k}", f"recall@{k}"


def served_variant(
    config: Config, metrics: dict[str, dict[str, Metrics]], variants: list[str]
) -> str:
    """Return the variant to serve: `serve`, the only one, or that with the best NDCG on validation.

    The NDCG is that at the first of the configured list lengths.
    """
    if config.serve is not None:
        return config.serve
    if len(variants) == 1:
        return variants[0]
    ndcg, _ = judged_by(config)
    return max(variants, key=lambda name: metrics[name]["validation"][ndcg])


def _advance(reporter: Reporter, users: int, share: float) -> None:
    reporter.advance(share * users)
