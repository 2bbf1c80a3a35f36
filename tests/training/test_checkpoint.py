import json
import multiprocessing
import os
import signal
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import pytest
import torch

from registry import ModelStore
from training import checkpoint
from training.checkpoint import FileCheckpoint
from training.config import Config, load
from training.data import sample, sample_world
from training.errors import InvalidCheckpoint
from training.fit import State
from training.train import Outcome, train

CONFIG = """
name = "courses"
[data]
interactions = "enrolments.csv"
user_column = "person_id"
item_column = "course_id"
[lightgcn]
embedding_dim = 8
num_layers = 1
[lightgcn.training]
loss = "{loss}"
epochs = 8
negatives = 40
batch_size = 50
learning_rate = 0.02
schedule = "linear"
patience = 50
validate_every = 3
"""


class KillAt:
    """A reporter that kills its own process once an epoch is done."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def start(self, step: str, total: float) -> None: ...

    def advance(self, done: float, note: str = "") -> None:
        if done == self.epoch and "loss" in note:
            os.kill(os.getpid(), signal.SIGKILL)

    def count(self, done: float, total: float | None, note: str = "") -> None: ...

    def tell(self, line: str) -> None: ...


def configured(folder: Path, loss: str) -> Config:
    if not (folder / "enrolments.csv").exists():
        sample.write(sample_world.sample_world(80, 60, 1200, 0), folder)
    path = folder / "config.toml"
    path.write_text(CONFIG.format(loss=loss))
    return load(path)


def run(folder: Path, loss: str, name: str, kill_at: int = 0, resume: bool = False) -> Outcome:
    config = configured(folder, loss)
    store = ModelStore(folder / name, config.name)
    torch.set_num_threads(1)
    return train(config, folder, store, KillAt(kill_at), folder / f"{name}.npz", resume=resume)


def _run_and_die(folder: Path, loss: str, saved: Event) -> None:
    checkpoint._INTERVAL_S = 0.0
    run(folder, loss, "killed", kill_at=5)
    saved.set()  # never reached


@pytest.mark.parametrize("loss", ["bpr", "softmax"])
def test_a_killed_training_goes_on_bit_by_bit(tmp_path: Path, loss: str) -> None:
    """SIGKILL after epoch 5, then --resume: the version equals an uninterrupted one's."""
    configured(tmp_path, loss)
    context = multiprocessing.get_context("spawn")
    finished = context.Event()
    process = context.Process(target=_run_and_die, args=(tmp_path, loss, finished))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    assert not (tmp_path / "killed").exists(), "the registry is untouched"
    assert (tmp_path / "killed.npz").exists()
    resumed = run(tmp_path, loss, "killed", resume=True).version
    whole = run(tmp_path, loss, "whole").version
    assert resumed.manifest.files == whole.manifest.files
    assert not (tmp_path / "killed.npz").exists(), "a finished training needs no checkpoint"


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    board = configured(tmp_path, "bpr")
    path = tmp_path / "c.npz"

    def saved(identity: dict[str, object], resume: bool) -> FileCheckpoint:
        return FileCheckpoint(path, identity, resume=resume, interval_s=0)

    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    state = State(optimizer, torch.Generator(), epoch=3, losses=[1.0])
    saved({"seed": 1}, resume=False).save(model, state)  # type: ignore[arg-type]
    again = State(torch.optim.Adam(model.parameters()), torch.Generator())
    saved({"seed": 1}, resume=True).load(model, again)  # type: ignore[arg-type]
    assert (again.epoch, again.losses) == (3, [1.0])
    with pytest.raises(InvalidCheckpoint, match="is of another configuration or data"):
        saved({"seed": 2}, resume=True).load(model, again)  # type: ignore[arg-type]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InvalidCheckpoint, match="is not a checkpoint"):
        saved({"seed": 1}, resume=True).load(model, again)  # type: ignore[arg-type]
    assert board.seed == 0


def test_early_stopping_keeps_the_best_validated_embeddings(tmp_path: Path) -> None:
    """A learning rate so high that it only gets worse: the first validation is the best."""
    config = configured(tmp_path, "bpr")
    text = (tmp_path / "config.toml").read_text()
    text = text.replace("epochs = 8", "epochs = 500").replace("= 0.02", "= 0.5")
    text = text.replace("patience = 50", "patience = 3").replace("every = 3", "every = 1")
    (tmp_path / "config.toml").write_text(text.replace('"linear"', '"constant"'))
    config = load(tmp_path / "config.toml")
    store = ModelStore(tmp_path / "registry", config.name)
    version = train(config, tmp_path, store, KillAt(0), tmp_path / "c.npz").version
    report = json.loads(version.read("report/metrics.json"))
    scores = [score for _, score in report["validations"]["lightgcn"]]
    best = int(np.argmax(scores))
    assert len(scores) == best + 1 + 3 < 500
    validated = version.manifest.variants["lightgcn"].metrics["validation"]["ndcg@10"]
    assert validated == pytest.approx(max(scores), abs=1e-12)
