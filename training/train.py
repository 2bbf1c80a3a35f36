"""One training, from configuration to published version."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from registry import DataEntry, Export, ModelStore, VariantExport, Version
from registry.arrays import Embeddings
from registry.manifest import Json, Metrics
from training import baselines
from training.config import Config
from training.data.dataset import Dataset, Interactions
from training.data.load import load_dataset
from training.evaluate import DEFINITION, evaluate, heldout
from training.fit import fit
from training.golden import golden
from training.graph import csr, normalised_adjacency
from training.models.lightgcn import LightGCN
from training.negatives import NegativeSampler

_LIBRARIES = ("gnnrec", "numpy", "polars", "torch")


class Reporter(Protocol):
    """Who is told how far a training is."""

    def start(self, step: str, total: float) -> None:
        """Say that a step of so much work begins."""

    def advance(self, done: float, note: str = "") -> None:
        """Say how much of the step is done."""


@dataclass(frozen=True)
class Outcome:
    """A published version and how long it took."""

    version: Version
    seconds: float


def train(config: Config, beside: Path, store: ModelStore, reporter: Reporter) -> Outcome:
    """Train a model as configured and publish it. Nothing is written unless all went well.

    `beside`: the folder that the configuration's relative paths start from.
    """
    started = time.monotonic()
    with _step(reporter, "reading"):
        dataset = load_dataset(config, beside)
    users, items, losses = _fit_lightgcn(config, dataset, reporter)
    embeddings = {"lightgcn": (users, items)}
    metrics = _measure(config, dataset, embeddings | _baselines(config, dataset), reporter)
    with _step(reporter, "publishing"):
        version = store.publish(_export(config, dataset, embeddings, metrics, losses))
    return Outcome(version, time.monotonic() - started)


def _fit_lightgcn(
    config: Config, dataset: Dataset, reporter: Reporter
) -> tuple[Embeddings, Embeddings, list[float]]:
    """Return user (U, D) and item (I, D) embeddings and the loss of each epoch."""
    users, items = len(dataset.user_ids), len(dataset.item_ids)
    weights = dataset.train.weights
    edges = Interactions(
        dataset.train.user_rows,
        dataset.train.item_rows,
        weights if config.model.weighted else np.ones_like(weights),
    )
    generator = torch.Generator().manual_seed(config.training.seed)
    adjacency = normalised_adjacency(edges, users, items)
    model = LightGCN(users, items, adjacency, config.model, generator)
    negatives = NegativeSampler(csr(dataset.train, users), items)
    reporter.start("training", config.training.epochs)
    losses = fit(
        model,
        dataset.train,
        negatives,
        config.training,
        generator,
        lambda epoch, loss: reporter.advance(epoch, f"loss {loss:.4f}"),
    )
    user_embeddings, item_embeddings = model.embeddings()
    return user_embeddings.numpy(), item_embeddings.numpy(), losses


def _baselines(config: Config, dataset: Dataset) -> dict[str, tuple[Embeddings, Embeddings]]:
    users, items = len(dataset.user_ids), len(dataset.item_ids)
    generator = np.random.default_rng([config.training.seed, 2])
    return {
        "random": baselines.random(users, items, generator),
        "popularity": baselines.popularity(dataset.train, users, items),
    }


def _measure(
    config: Config,
    dataset: Dataset,
    models: dict[str, tuple[Embeddings, Embeddings]],
    reporter: Reporter,
) -> dict[str, dict[str, Metrics]]:
    """Return the metrics of each model on each part that holds something."""
    users, items = len(dataset.user_ids), len(dataset.item_ids)
    parts = {
        # what a user is known to have had is left out of the ranking
        "validation": (dataset.validation, csr(dataset.train, users)),
        "test": (dataset.test, csr(dataset.known, users)),
    }
    metrics: dict[str, dict[str, Metrics]] = {name: {} for name in models}
    for split, (part, seen) in parts.items():
        if len(part) == 0:
            continue
        held_out = heldout(part, users, items)
        for name, (user_embeddings, item_embeddings) in models.items():
            reporter.start(f"{split}: {name}", 1)
            metrics[name][split] = evaluate(
                user_embeddings,
                item_embeddings,
                seen,
                held_out,
                config.evaluation.k,
                reporter.advance,
            ).metrics
    return metrics


def _export(
    config: Config,
    dataset: Dataset,
    embeddings: dict[str, tuple[Embeddings, Embeddings]],
    metrics: dict[str, dict[str, Metrics]],
    losses: list[float],
) -> Export:
    seen = csr(dataset.known, len(dataset.user_ids))
    report: Json = {"loss": losses, "metrics": metrics}
    return Export(
        user_ids=dataset.user_ids,
        item_ids=dataset.item_ids,
        item_titles=dataset.item_titles,
        seen_indptr=seen.indptr,
        seen_items=seen.columns,
        variants={
            name: VariantExport(users, items, metrics[name])
            for name, (users, items) in embeddings.items()
        },
        default_variant="lightgcn",
        golden=golden(embeddings, dataset.user_ids, dataset.item_ids, seen),
        report=report,
        config=config.model_dump(mode="json"),
        data=DataEntry(
            name=dataset.name,
            fingerprint=dataset.fingerprint(),
            users=len(dataset.user_ids),
            items=len(dataset.item_ids),
            interactions=dataset.counts(),
        ),
        metric_definition=DEFINITION,
        baselines={name: splits for name, splits in metrics.items() if name not in embeddings},
        libraries={name: installed(name) for name in _LIBRARIES},
    )


@contextmanager
def _step(reporter: Reporter, name: str) -> Iterator[None]:
    reporter.start(name, 1)
    yield
    reporter.advance(1)
