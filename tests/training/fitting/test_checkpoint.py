import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gnnrec_registry import ModelStore
from gnnrec_registry.errors import CannotWrite
from gnnrec_training.config import Config, load
from gnnrec_training.data.samples import sample
from gnnrec_training.data.samples.courses import sample_courses
from gnnrec_training.errors import Interrupted, InvalidCheckpoint
from gnnrec_training.fitting import checkpoint
from gnnrec_training.fitting.checkpoint import Checkpoints
from gnnrec_training.train import Outcome, train
from tests.training.telling import Told

LIGHTGCN = """
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
NODES = """
[data.users]
file = "people.csv"
id_column = "person_id"
[[data.users.features]]
name = "age"
kind = "numeric"
[data.items]
file = "courses.csv"
id_column = "course_id"
[[data.items.features]]
name = "level"
kind = "categorical"
[sage]
embedding_dim = 8
hidden_dim = 8
[sage.training]
epochs = 6
patience = 5
validate_every = 1
dropout = 0.3
[hybrid]
hidden_dim = 8
[hybrid.training]
epochs = 6
"""
DATA = """
name = "courses"
[data]
interactions = "enrolments.csv"
user_column = "person_id"
item_column = "course_id"
"""


@pytest.fixture(autouse=True)
def interrupts() -> Iterator[None]:
    """Let SIGINT raise KeyboardInterrupt, also where the tests run as a background job.

    A shell has such a job ignore SIGINT, and Python leaves that as it is.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def configured(folder: Path, loss: str = "bpr", nodes: bool = False) -> Config:
    if not (folder / "enrolments.csv").exists():
        sample.write(sample_courses(80, 60, 1200, 0), folder)
    path = folder / "config.toml"
    path.write_text(DATA + (NODES if nodes else "") + LIGHTGCN.format(loss=loss))
    return load(path)


def run(config: Config, folder: Path, name: str, told: Told, resume: bool = False) -> Outcome:
    torch.set_num_threads(1)
    return train(config, folder, ModelStore(folder / name, config.name), told, resume=resume)


def kept(folder: Path, name: str = "stopped") -> list[str]:
    return sorted(path.name for path in (folder / name).glob("courses/.checkpoints/*/*"))


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _run_and_die(config: Config, folder: Path, finished: Event) -> None:
    checkpoint._INTERVAL_S = 0.0
    run(config, folder, "stopped", Told("hybrid", 5, kill))
    finished.set()  # never reached


def test_a_killed_training_goes_on_bit_by_bit(tmp_path: Path) -> None:
    """SIGKILL after epoch 5 of the hybrid, then --resume: the version is that of a whole run."""
    config = configured(tmp_path, nodes=True)
    context = multiprocessing.get_context("spawn")
    finished = context.Event()
    process = context.Process(target=_run_and_die, args=(config, tmp_path, finished))
    process.start()
    process.join(200)
    assert process.exitcode == -signal.SIGKILL
    assert kept(tmp_path) == ["hybrid.pt", "lightgcn.pt", "sage.pt"]
    goes_on_bit_by_bit(config, tmp_path)


class Fault(BaseException):
    """Ends a training where it is: nothing in it handles this."""


def fail() -> None:
    raise Fault


@pytest.mark.parametrize("loss", ["bpr", "softmax"])
def test_a_failed_training_goes_on_bit_by_bit(
    loss: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(tmp_path, loss)
    monkeypatch.setattr(checkpoint, "_INTERVAL_S", 0.0)
    with pytest.raises(Fault):
        run(config, tmp_path, "stopped", Told("lightgcn", 5, fail))
    assert kept(tmp_path) == ["lightgcn.pt"]
    goes_on_bit_by_bit(config, tmp_path)


def goes_on_bit_by_bit(config: Config, folder: Path) -> None:
    """Check that a stopped training, resumed, ends in the version of a whole one."""
    assert not (folder / "stopped" / "courses" / "versions").exists()
    told = Told()
    resumed = run(config, folder, "stopped", told, resume=True).version
    whole = run(config, folder, "whole", Told()).version
    assert resumed.manifest.files == whole.manifest.files
    assert kept(folder) == [], "a published training needs no checkpoint"
    assert not [line for line in told.lines if "checkpoint" in line]


def test_what_is_stopped_says_what_is_kept_and_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(tmp_path)
    with pytest.raises(Interrupted, match=r"^stopped; nothing of it is kept: a model is, once"):
        run(config, tmp_path, "stopped", Told("lightgcn", 3, interrupt))
    monkeypatch.setattr(checkpoint, "_INTERVAL_S", 0.0)
    with pytest.raises(Interrupted, match="kept: lightgcn, epoch 3; the same command with --resu"):
        run(config, tmp_path, "stopped", Told("lightgcn", 3, interrupt))
    assert isinstance(Interrupted(""), KeyboardInterrupt), "as in any other program"


def test_a_checkpoint_that_is_there_or_is_not_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(tmp_path)
    monkeypatch.setattr(checkpoint, "_INTERVAL_S", 0.0)
    with pytest.raises(Interrupted):
        run(config, tmp_path, "stopped", Told("lightgcn", 3, interrupt))
    other = config.model_copy(update={"seed": 1})
    told = Told()
    run(other, tmp_path, "stopped", told, resume=True)
    (line,) = [line for line in told.lines if "checkpoint" in line]
    assert line.startswith("no checkpoint of this configuration and these data in ")
    assert line.endswith("and others of other configurations or data; training begins at the beg"
                         "inning")  # fmt: skip
    assert kept(tmp_path) == ["lightgcn.pt"], "another training touches none"
    told = Told()
    run(config, tmp_path, "stopped", told)
    (line,) = [line for line in told.lines if "checkpoint" in line]
    assert "is there (lightgcn) and will be replaced; --resume would go on from it" in line
    assert kept(tmp_path) == []


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    told = Told()
    of = Checkpoints(tmp_path, {"seed": 1}, told, resume=True)
    of.write(of.folder / "sage.pt", {"epoch": 3, "where": "epoch 3"}, "sage")
    assert of.of("sage").load() == {"epoch": 3, "where": "epoch 3"}
    whole = (of.folder / "sage.pt").read_bytes()
    for damaged in (whole[:100], b"", b"nothing of the sort", b"PK" + whole[2:200]):
        (of.folder / "sage.pt").write_bytes(damaged)
        with pytest.raises(InvalidCheckpoint, match=r"sage.pt is no checkpoint: .*--resume"):
            of.of("sage").load()


def test_no_code_runs_out_of_a_checkpoint(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    of = Checkpoints(tmp_path, {}, Told(), resume=True)
    of.folder.mkdir()
    torch.save({"epoch": Hostile(), "where": ""}, of.folder / "sage.pt")
    with pytest.raises(InvalidCheckpoint):
        of.of("sage").load()
    assert not (tmp_path / "ran").exists()


def test_a_training_goes_on_where_no_checkpoint_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "_INTERVAL_S", 0.0)
    (tmp_path / "file").touch()
    told = Told()
    config = configured(tmp_path)
    store = ModelStore(tmp_path / "registry", config.name)
    assert train(config, tmp_path, store, told, tmp_path / "file" / "folder").version
    (line,) = [line for line in told.lines if "checkpoint" in line]
    assert line.endswith("; training goes on, and could not be resumed")


def test_checkpoints_of_a_bucket_stand_in_the_cache_by_its_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GNNREC_CACHE", str(tmp_path))
    places = {
        ModelStore(url, model).checkpoints
        for url in ("memory://one", "memory://two")
        for model in ("a", "b")
    }
    assert len(places) == 4
    assert {place.parent for place in places} == {tmp_path / "checkpoints"}


def test_early_stopping_keeps_the_best_validated_embeddings(tmp_path: Path) -> None:
    """A learning rate so high that it only gets worse: the first validation is the best."""
    configured(tmp_path)
    text = (tmp_path / "config.toml").read_text()
    text = text.replace("epochs = 8", "epochs = 500").replace("= 0.02", "= 0.5")
    text = text.replace("patience = 50", "patience = 3").replace("every = 3", "every = 1")
    (tmp_path / "config.toml").write_text(text.replace('"linear"', '"constant"'))
    version = run(load(tmp_path / "config.toml"), tmp_path, "registry", Told()).version
    report = json.loads(version.read("report/metrics.json"))
    scores = [score for _, score in report["validations"]["lightgcn"]]
    best = int(np.argmax(scores))
    assert len(scores) == best + 1 + 3 < 500
    validated = version.manifest.variants["lightgcn"].metrics["validation"]["ndcg@10"]
    assert validated == pytest.approx(max(scores), abs=1e-12)


def test_what_could_not_be_published_is_refused_before_it_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(tmp_path)
    (tmp_path / "file").write_text("in the way")
    told = Told()
    with pytest.raises(CannotWrite, match="file is no folder"):
        run(config, tmp_path, "file", told)
    assert told.steps == [], "not even the data were read"
    free = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    with pytest.raises(CannotWrite, match=r"about 1?\d MiB, and its disk has 0 MiB left"):
        run(config, tmp_path, "registry", told)
    assert "lightgcn" not in told.steps
    assert not (tmp_path / "registry").exists()
