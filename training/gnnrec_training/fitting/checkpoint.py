"""Checkpoints: the state of a training in files, so that a stopped one can be resumed.

    <parent>/<hash of configuration and data>/<model>.pt

A resumed training gives bit by bit what it would have given without the stop. Trainings of another
configuration or other data have another folder and never touch these files. A file holds a dict of
tensors, numbers and texts as torch.save writes it, and is loaded with weights_only, so that reading
one cannot run code.
"""

import hashlib
import io
import pickle
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import torch

from gnnrec_registry.files.durable import make_folder, replace
from gnnrec_registry.files.json import canonical_json
from gnnrec_training.errors import InvalidCheckpoint
from gnnrec_training.reporter import Reporter

_INTERVAL_S = 60.0

Saved = dict[str, Any]
"""The state of one model's training: tensors, numbers and texts by name."""


class Checkpoint(Protocol):
    """Keeps the state of one model's training."""

    def load(self) -> Saved | None:
        """Return the state to go on from; None where there is none."""

    def save(self, state: Callable[[], Saved], where: str) -> None:
        """Keep the state unless it was kept a moment ago; where: such as "epoch 3"."""

    def finish(self, state: Callable[[], Saved]) -> None:
        """Keep the state of a model that is trained, if the training took long."""


class NoCheckpoint:
    """Keeps nothing."""

    def load(self) -> Saved | None:
        """Return None."""
        return None

    def save(self, state: Callable[[], Saved], where: str) -> None:
        """Do nothing."""

    def finish(self, state: Callable[[], Saved]) -> None:
        """Do nothing."""


class Checkpoints:
    """The files of one training, one for each model; a file is replaced in one step.

    A state is written once the last one is a minute old, so that a kill loses at most a minute and
    an epoch.
    """

    def __init__(
        self,
        parent: Path,
        identity: Mapping[str, Any],
        reporter: Reporter,
        *,
        resume: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Look for files of this training and tell whether they will be used.

        identity: the configuration and the fingerprint of the data; resume: whether to go on from
        the files that are there, or to train anew and replace them.
        """
        self.folder = parent / hashlib.sha256(canonical_json(identity)).hexdigest()[:16]
        self.clock = clock
        self.resume = resume
        self.kept = ""
        """What was written or loaded last, such as "lightgcn, epoch 3"; "" if nothing was."""
        self._reporter = reporter
        self._can_write = True
        there = sorted(path.stem for path in self.folder.glob("*.pt"))
        if there and not resume:
            reporter.tell(
                f"a checkpoint of this very training is there ({', '.join(there)}) and will be "
                "replaced; --resume would go on from it"
            )
        elif resume and not there:
            others = sum(1 for _ in parent.glob("*/*.pt"))
            of_others = ", and others of other configurations or data" if others else ""
            reporter.tell(
                f"no checkpoint of this configuration and these data in {parent}{of_others}; "
                "training begins at the beginning"
            )

    def of(self, model: str) -> Checkpoint:
        """Return the checkpoint of one model, such as "lightgcn"."""
        return _File(self, model)

    def write(self, path: Path, state: Saved, what: str) -> None:
        """Replace a file; where that fails, say so once and go on without."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        try:
            make_folder(path.parent)
            replace(path, buffer.getvalue())
        except OSError as error:
            if self._can_write:
                self._reporter.tell(
                    f"no checkpoint can be written to {path}: {error.strerror or error}; training "
                    "goes on, and could not be resumed"
                )
            self._can_write = False
            return
        self._can_write = True
        self.kept = what

    def remove(self) -> None:
        """Remove the files of this training, when its version is published."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):  # not empty: another training has files there
            self.folder.parent.rmdir()

    def what_remains(self) -> str:
        """Return a sentence on what is kept of a training that stops now, and how to resume it."""
        if not self.kept:
            return "nothing of it is kept: a model is, once it has trained for a minute"
        return f"kept: {self.kept}; the same command with --resume goes on from there"


class _File:
    """The file of one model."""

    def __init__(self, checkpoints: Checkpoints, model: str) -> None:
        self._all = checkpoints
        self._model = model
        self._path = checkpoints.folder / f"{model}.pt"
        self._began = self._saved_at = checkpoints.clock()
        self._where = ""

    def load(self) -> Saved | None:
        """Return the state in the file; None without a file or without resume.

        Raises InvalidCheckpoint where the file cannot be read.
        """
        if not self._all.resume or not self._path.exists():
            return None
        try:
            state: Saved = torch.load(self._path, map_location="cpu", weights_only=True)
            self._all.kept = f"{self._model}, {state['where']}"
            return state
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, EOFError) as error:
            reason: Exception = error
        except pickle.UnpicklingError as error:
            reason = error
        first = (str(reason).splitlines() or [type(reason).__name__])[0]
        raise InvalidCheckpoint(
            f"{self._path} is no checkpoint: {first:.100}; train without --resume, or delete it"
        )

    def save(self, state: Callable[[], Saved], where: str) -> None:
        """Write the file, unless it was written less than a minute ago."""
        self._where = where
        if self._all.clock() - self._saved_at < _INTERVAL_S:
            return
        self._write(state)

    def finish(self, state: Callable[[], Saved]) -> None:
        """Write the file, unless the whole training took less than a minute."""
        if self._all.clock() - self._began >= _INTERVAL_S:
            self._write(state)

    def _write(self, state: Callable[[], Saved]) -> None:
        what = f"{self._model}, {self._where}"
        self._all.write(self._path, {**state(), "where": self._where}, what)
        self._saved_at = self._all.clock()
