"""A training's state in a file, so that a killed one goes on bit by bit as if never stopped."""

import hashlib
import io
import json
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from registry.durable import make_folder, replace
from registry.manifest import canonical_json
from training.errors import InvalidCheckpoint
from training.fit import Best, State
from training.models.lightgcn import LightGCN

_INTERVAL_S = 60.0


class FileCheckpoint:
    """Keeps the state in one .npz file, replaced in one step.

    `identity` is what the training is of, configuration and data: a checkpoint of another one is
    refused. A state is written when the last is a minute old, so a kill loses at most that and an
    epoch.
    """

    def __init__(
        self,
        path: Path,
        identity: dict[str, Any],
        *,
        resume: bool,
        interval_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Go on from the file if `resume` is set and it is there."""
        self._path = path
        self._identity = hashlib.sha256(canonical_json(identity)).hexdigest()
        self._resume = resume
        self._interval_s = _INTERVAL_S if interval_s is None else interval_s
        self._clock = clock
        self._saved_at = clock()

    def load(self, model: LightGCN, state: State) -> None:
        """Bring model and state to where the file stands; raise InvalidCheckpoint if it is bad."""
        if not self._resume or not self._path.exists():
            return
        try:
            with np.load(io.BytesIO(self._path.read_bytes()), allow_pickle=False) as arrays:
                content = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
            meta = json.loads(bytes(content.pop("meta").numpy()).decode())
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise InvalidCheckpoint(f"{self._path} is not a checkpoint: {error}") from None
        if meta["identity"] != self._identity:
            raise InvalidCheckpoint(
                f"{self._path} is of another configuration or data; train without --resume, or "
                "name its file with --checkpoint"
            )
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(content[name])
                state.optimizer.state[parameter] = {
                    part: content[f"{name}.{part}"].to(
                        "cpu" if part == "step" else parameter.device
                    )
                    for part in ("step", "exp_avg", "exp_avg_sq")
                }
        state.generator.set_state(content["generator"])
        state.epoch, state.losses = meta["epoch"], meta["losses"]
        state.validations = [(epoch, score) for epoch, score in meta["validations"]]
        if meta["best"] is not None:
            layer0 = content["best.users"], content["best.items"]
            state.best = Best(meta["best"]["score"], meta["best"]["epoch"], layer0)

    def save(self, model: LightGCN, state: State) -> None:
        """Write the file, unless the last one is younger than the interval."""
        if self._clock() - self._saved_at < self._interval_s:
            return
        best = state.best and {"score": state.best.score, "epoch": state.best.epoch}
        meta = {
            "identity": self._identity,
            "epoch": state.epoch,
            "losses": state.losses,
            "validations": state.validations,
            "best": best,
        }
        arrays = {
            "meta": np.frombuffer(canonical_json(meta), np.uint8),
            "generator": state.generator.get_state().numpy(),
        }
        for name, parameter in model.named_parameters():
            arrays[name] = parameter.detach().cpu().numpy()
            for part, value in state.optimizer.state[parameter].items():
                arrays[f"{name}.{part}"] = value.cpu().numpy()
        if state.best is not None:
            arrays["best.users"], arrays["best.items"] = map(np.asarray, state.best.layer0)
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        make_folder(self._path.parent)
        replace(self._path, buffer.getvalue())
        self._saved_at = self._clock()
