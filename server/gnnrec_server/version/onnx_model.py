"""The ONNX models that embed users and items unseen in training, loaded and tried.

N nodes, D the width of their embeddings.
"""

import contextlib
import io
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as failures

from gnnrec_registry.files.arrays import Embeddings
from gnnrec_server.errors import UnservableVersion
from gnnrec_server.version import cancellation

_log = logging.getLogger("gnnrec.server")

Inputs = Mapping[str, NDArray[Any]]

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_OUTPUT = "embeddings"

# ONNX Runtime's exceptions have no base of their own.
_FAILURES = (
    failures.EPFail,
    failures.EngineError,
    failures.Fail,
    failures.InvalidArgument,
    failures.InvalidGraph,
    failures.InvalidProtobuf,
    failures.NotImplemented,
    failures.RuntimeException,
)
_FATAL, _ERROR = 4, 3


class Encoder:
    """An ONNX model: named inputs to embeddings (N, D)."""

    def __init__(
        self, name: str, content: bytes, samples: Sequence[Inputs], embedding_dim: int
    ) -> None:
        """Load a model and run it on each of `samples`, inputs of which "x" has N rows.

        A run that does not end ends with the load that it belongs to. Raises UnservableVersion,
        starting with `name`, unless all samples have their embeddings.
        """
        self._name = name
        try:
            self._session = _session(content)
        except _FAILURES as error:
            raise self._unservable(f"cannot be loaded: {_first_line(error)}") from None
        self._require_names(set(samples[0]))
        for sample in samples:
            self._try(sample, embedding_dim)
        self.provider: str = self._session.get_providers()[0]
        """What the model was really bound to, such as CPUExecutionProvider."""
        _log.info("%s runs on %s", name, self.provider)

    def run(self, inputs: Inputs) -> Embeddings:
        """Return the embeddings of all nodes: (N, D)."""
        embeddings: Embeddings = self._session.run([_OUTPUT], dict(inputs))[0]
        return embeddings

    def _require_names(self, inputs: set[str]) -> None:
        takes = {entry.name for entry in self._session.get_inputs()}
        gives = {entry.name for entry in self._session.get_outputs()}
        if takes != inputs or _OUTPUT not in gives:
            raise self._unservable(
                f"takes {sorted(takes)} and gives {sorted(gives)}; "
                f"expected {sorted(inputs)} and {_OUTPUT!r}"
            )

    def _try(self, sample: Inputs, embedding_dim: int) -> None:
        options = onnxruntime.RunOptions()
        options.log_severity_level = _FATAL
        try:
            with cancellation.current().interrupted_by(lambda: setattr(options, "terminate", True)):
                output = self._session.run([_OUTPUT], dict(sample), options)[0]
        except _FAILURES as error:
            raise self._unservable(f"cannot be run: {_first_line(error)}") from None
        shape = len(sample["x"]), embedding_dim
        if output.dtype != np.float32 or output.shape != shape:
            raise self._unservable(f"gives {output.dtype} {output.shape}, not float32 {shape}")
        if not np.isfinite(output).all():
            raise self._unservable("gives NaN or infinity")

    def _unservable(self, problem: str) -> UnservableVersion:
        return UnservableVersion(f"{self._name} {problem}")


def _session(content: bytes) -> Any:
    # What fails is raised, and what was bound is asked for: a missing GPU is no news for the log.
    onnxruntime.set_default_logger_severity(_FATAL)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERROR
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    providers = [CPU]
    if CUDA in onnxruntime.get_available_providers():
        providers.insert(0, CUDA)
        # CUDA may have come as Python packages; where it has not, that is said on stdout.
        with contextlib.redirect_stdout(io.StringIO()):
            onnxruntime.preload_dlls(directory="")
    return onnxruntime.InferenceSession(content, options, providers=providers)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
