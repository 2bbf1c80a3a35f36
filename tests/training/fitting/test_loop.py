from collections.abc import Callable

import pytest
import torch

from gnnrec_training.config import HybridConfig, SageConfig
from gnnrec_training.evaluation.validation import Validate
from gnnrec_training.fitting.lightgcn import LightGCNRun, fit_lightgcn
from gnnrec_training.fitting.loop import History, learning_rate
from gnnrec_training.fitting.node_models import fit_hybrid, fit_sage
from gnnrec_training.graph.propagation import EmbeddingPair
from gnnrec_training.models.hybrid import embed_hybrid
from gnnrec_training.models.sage import embed_sage
from tests.training.boards import checkerboard
from tests.training.kinds import CPU, QUICK, graph_embeddings, inputs
from tests.training.untrained import build, shape

LIGHTGCN = {
    "bpr": {"loss": "bpr", "batch_size": 32},
    "softmax": {"loss": "softmax", "batch_size": 7, "negatives": 9},
}
ALL = [*LIGHTGCN, "sage", "hybrid"]


class Watch:
    """Answers validations with given scores, or with a new one each time, and keeps what it saw."""

    def __init__(self, *scores: float) -> None:
        self._scores = scores
        self.seen: list[torch.Tensor] = []

    def __call__(self, embeddings: EmbeddingPair) -> float:
        self.seen.append(torch.cat(embeddings).clone())
        place = len(self.seen) - 1
        return self._scores[place] if self._scores else float(place)


def fit(
    model: str, watch: Watch, stop_after: int | None = None, **training: object
) -> tuple[torch.Tensor, History]:
    """Fit a model over nine epochs, validated after each; return embeddings and history."""
    training = {"epochs": 9, "validate_every": 1, "learning_rate": 0.02, **training}
    if model in LIGHTGCN:
        lightgcn, batches = build(checkerboard(16), shape(4, 1, **LIGHTGCN[model], **training))
        config = shape(4, 1, **LIGHTGCN[model], **training).training
        embeddings, history = fit_lightgcn(
            lightgcn, batches, config, torch.Generator(), watch, stop_after=stop_after
        )
        return torch.cat(embeddings), history
    data, graph, quick = inputs(), graph_embeddings(), QUICK.model_copy(update=training)
    if model == "sage":
        sage = SageConfig(embedding_dim=4, hidden_dim=8, training=quick)
        fitted, history = fit_sage(data, sage, 0, CPU, validate=watch, stop_after=stop_after)
        return torch.cat(embed_sage(fitted, data)), history
    hybrid = HybridConfig(hidden_dim=8, training=quick)
    mixed, history = fit_hybrid(data, graph, hybrid, 0, CPU, validate=watch, stop_after=stop_after)
    return torch.cat(embed_hybrid(mixed, data, graph)), history


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.5, 1, 1, 1]),
        ("linear", [0.45, 0.8, 0.5, 0.0]),
        ("cosine", [None, None, 0.5, 0]),
    ],
)
def test_the_learning_rate_warms_up_and_decays(schedule: str, expected: list[float | None]) -> None:
    config = shape(1, schedule=schedule, warmup=0.2, learning_rate=1.0).training
    for done, rate in zip((0.1, 0.2, 0.5, 1.0), expected, strict=True):
        if rate is not None:
            assert learning_rate(config, done) == pytest.approx(rate, abs=1e-12)


def test_node_models_warm_up_over_a_tenth_and_decay_by_a_cosine_unless_told_otherwise() -> None:
    assert learning_rate(QUICK, 0.05) == pytest.approx(0.01, rel=0.01)
    assert learning_rate(QUICK, 0.5) == pytest.approx(0.01)
    flat = QUICK.model_copy(update={"schedule": "constant", "warmup": 0.0})
    assert [learning_rate(flat, done) for done in (0.0, 0.05, 1.0)] == [0.02] * 3


@pytest.mark.parametrize("model", ALL)
def test_the_best_validated_epoch_is_published_and_patience_ends_the_training(model: str) -> None:
    watch = Watch(0.1, 0.2, 0.9, 0.3, 0.9, 0.8, 0.7)
    published, history = fit(model, watch, patience=3)
    assert [score for _, score in history.validations] == [0.1, 0.2, 0.9, 0.3, 0.9, 0.8]
    assert history.best is not None
    assert (history.best.epoch, history.epochs) == (3, 6)
    assert torch.equal(published, watch.seen[2])
    assert not torch.equal(published, watch.seen[5])


@pytest.mark.parametrize("model", ALL)
def test_without_patience_the_last_epoch_is_published(model: str) -> None:
    watch = Watch(0.9, *[0.1] * 8)
    published, history = fit(model, watch)
    assert history.best is None
    assert torch.equal(published, watch.seen[8])


@pytest.mark.parametrize("model", ALL)
@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_a_run_that_stops_early_is_the_beginning_of_the_whole_one(
    model: str, schedule: str
) -> None:
    whole, part = Watch(), Watch()
    _, history = fit(model, whole, schedule=schedule)
    published, beginning = fit(model, part, stop_after=4, schedule=schedule)
    assert beginning.losses == history.losses[:4]
    assert torch.equal(published, whole.seen[3])
    other, _ = fit(model, Watch(), epochs=4, schedule=schedule)
    assert not torch.equal(other, published), "a schedule of four epochs is another"


def test_a_run_cannot_go_beyond_its_schedule() -> None:
    with pytest.raises(ValueError, match="the schedule has 9 epochs, not 10"):
        fit("bpr", Watch(), stop_after=10)


def spread(embeddings: EmbeddingPair) -> float:
    """Return a score that follows from the embeddings alone."""
    return float(torch.cat(embeddings).std())


def runner(model: str, **training: object) -> Callable[[Validate | None], LightGCNRun]:
    """Return a function that begins the same run each time it is called."""
    config = shape(4, 1, **LIGHTGCN[model], epochs=9, schedule="cosine", **training)

    def begin(watch: Validate | None) -> LightGCNRun:
        lightgcn, batches = build(checkerboard(16), config)
        generator = torch.Generator().manual_seed(3)
        return LightGCNRun(lightgcn, batches, config.training, generator, watch)

    return begin


@pytest.mark.parametrize("model", LIGHTGCN)
@pytest.mark.parametrize("patience", [0, 9])
def test_runs_advanced_in_turns_end_as_one_that_was_never_stopped(
    model: str, patience: int
) -> None:
    begin = runner(model, validate_every=2, patience=patience)
    whole, first, second = (begin(spread) for _ in range(3))
    whole.advance(9)
    for epochs in (1, 4, 4, 9):
        for run in (first, second):
            run.advance(epochs)
            run.score()
            run.embeddings()
    for run in (first, second):
        assert run.history.losses == whole.history.losses
        assert run.history.validations == whole.history.validations
        for half, expected in zip(run.embeddings(), whole.embeddings(), strict=True):
            assert torch.equal(half, expected)


def test_the_score_of_a_run_is_that_of_what_it_would_publish() -> None:
    watch = Watch(0.3, 0.9, 0.5, 0.7)
    run = runner("bpr", validate_every=2)(watch)
    run.advance(2)
    assert run.score() == 0.3
    run.advance(3)
    assert run.score() == 0.9, "epoch 3 has no validation of its own: it is looked at now"
    assert torch.equal(watch.seen[1], torch.cat(run.embeddings()))
    assert run.history.validations == [(2, 0.3)]
    best = runner("bpr", validate_every=1, patience=5)(Watch(0.3, 0.9, 0.5))
    best.advance(3)
    assert best.score() == 0.9
    with pytest.raises(ValueError, match="without a validation part has no score"):
        runner("bpr")(None).score()
