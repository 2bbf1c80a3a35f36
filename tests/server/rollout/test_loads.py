"""Loads that hang or are no longer wanted, and ending a process while one hangs."""

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from gnnrec import Client
from gnnrec_registry import ModelStore, NodeModel, Version
from gnnrec_registry.errors import VersionCorrupt
from gnnrec_server.errors import UnservableVersion
from gnnrec_server.rollout import follow, loads
from gnnrec_server.version import loader
from gnnrec_server.version.cancellation import CalledOff, Load, current
from gnnrec_server.version.snapshot import Snapshot
from tests import made, unseen
from tests.server.rollout.test_aliases import serving, wait_for, wait_until_served
from tests.server.running import Running, running, scrape
from tests.server.waiting import until


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    for seed, name in enumerate(("v1", "v2", "v3", "hangs")):
        made.publish(tmp_path / "registry", version=name, seed=seed)
    store = ModelStore(tmp_path / "registry", "toy")
    store.aliases.promote("v1", alias="production")
    return store


class Hanging:
    """Makes the loads of some versions of a server hang, as on a disk that does not answer."""

    def __init__(self, server: Running) -> None:
        self.begun: list[str] = []
        self.hanging = {"hangs"}
        self.go_on = threading.Event()
        self._load = server.server.rollout._loads._load_version
        server.server.rollout._loads._load_version = self

    def __call__(self, version: Version) -> Snapshot:
        self.begun.append(version.name)
        if version.name in self.hanging:
            assert self.go_on.wait(60)
        return self._load(version)


@pytest.fixture
def served(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr(loads, "_CALLED_OFF_S", 0.1)
    with running(store.layout.root, load_timeout_s=0.5, served_aliases=("canary",)) as server:
        yield server


@pytest.fixture
def hanging(served: Running) -> Iterator[Hanging]:
    made = Hanging(served)
    yield made
    made.go_on.set()


def test_a_load_that_takes_too_long_is_refused_and_the_next_version_is_loaded(
    store: ModelStore, served: Running, hanging: Hanging
) -> None:
    store.aliases.promote("hangs", alias="production")
    refusals = served.server.rollout.refusals
    wait_for(lambda: "hangs" in refusals, "it is refused")
    assert "not loaded within 0.5 s" in refusals["hangs"].reason
    assert "--load-timeout" in refusals["hangs"].reason
    assert serving(served) == "v1"
    store.aliases.promote("v2", alias="production")
    wait_until_served(served, "v2")


def test_while_a_load_hangs_it_is_not_begun_again_for_the_time_alone(
    store: ModelStore, served: Running, hanging: Hanging
) -> None:
    """Each try would leave another thread behind; a moved alias is a new order."""
    store.aliases.promote("hangs", alias="canary")
    refusals = served.server.rollout.refusals
    wait_for(lambda: "hangs" in refusals, "it is refused")
    moves, stamp = refusals["hangs"].moves, refusals["hangs"].stamp
    late = refusals["hangs"].tried_at + 3600
    assert not refusals["hangs"].is_due(late, moves, stamp)
    assert refusals["hangs"].is_due(late, moves, "other files")
    store.aliases.promote("hangs", alias="canary")
    wait_for(lambda: hanging.begun == ["hangs", "hangs"], "it is tried once more")
    hanging.go_on.set()
    wait_for(lambda: "hangs" not in refusals or refusals["hangs"].is_due(
        late, refusals["hangs"].moves, refusals["hangs"].stamp), "it has ended")  # fmt: skip


def test_a_load_that_no_alias_wants_any_more_makes_room_at_once(
    store: ModelStore, hanging: Hanging, served: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The load is called off before its time limit, and counts as no refusal."""
    monkeypatch.setattr(served.server.rollout._loads, "_timeout_s", 600.0)
    store.aliases.promote("hangs", alias="production")
    wait_for(lambda: hanging.begun == ["hangs"], "its load has begun")
    store.aliases.promote("v2", alias="production")
    wait_until_served(served, "v2")
    assert not served.server.rollout.refusals
    states = {dict(labels).get("version") for name, labels in scrape(served) if "state" in name}
    assert states == {"v2", "v1"} or states == {"v2"}


def test_what_needs_no_load_is_seen_while_one_is_under_way(
    store: ModelStore, hanging: Hanging, served: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served.server.rollout._loads, "_timeout_s", 600.0)
    store.aliases.promote("v2", alias="canary")
    wait_for(lambda: "canary" in served.server.recommender.serving.aliases, "canary is served")
    store.aliases.promote("hangs", alias="production")
    wait_for(lambda: "hangs" in hanging.begun, "its load has begun")
    store.aliases.promote("v1", alias="canary")
    wait_for(
        lambda: served.server.recommender.serving.aliases["canary"] == "v1", "canary has moved"
    )
    assert served.server.rollout.loading == "hangs"


def test_what_a_load_left_behind_returns_at_last_is_not_kept(
    store: ModelStore, served: Running, hanging: Hanging
) -> None:
    store.aliases.promote("hangs", alias="canary")
    refusals = served.server.rollout.refusals
    wait_for(lambda: "hangs" in refusals, "it is refused")
    left = refusals["hangs"].load
    assert left is not None
    hanging.hanging.clear()
    hanging.go_on.set()
    wait_for(lambda: not left.is_running, "it has ended")
    # tried again in time, by a load of its own
    wait_for(lambda: served.server.recommender.serving.aliases.get("canary") == "hangs", "loaded")
    assert hanging.begun == ["hangs", "hangs"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError, "version 'v2' cannot be loaded: MemoryError"),
        (lambda: KeyError("lightgcn"), "version 'v2' cannot be loaded: KeyError: 'lightgcn'"),
        (lambda: OSError(5, "Input/output error"), "[Errno 5] Input/output error"),
    ],
)
def test_whatever_a_load_raises_is_a_refusal(
    store: ModelStore, served: Running, error: Callable[[], Exception], reason: str
) -> None:
    real = served.server.rollout._loads._load_version

    def load(version: Version) -> Snapshot:
        if version.name == "v2":
            raise error()
        return real(version)

    served.server.rollout._loads._load_version = load
    store.aliases.promote("v2", alias="production")
    refusals = served.server.rollout.refusals
    wait_for(lambda: "v2" in refusals, "it is refused")
    assert refusals["v2"].reason == reason
    store.aliases.promote("v3", alias="production")
    wait_until_served(served, "v3")


def test_a_version_that_is_deleted_while_it_is_loaded_is_refused(
    store: ModelStore, served: Running
) -> None:
    real = served.server.rollout._loads._load_version

    def load(version: Version) -> Snapshot:
        for path in version.folder.rglob("*.npy"):
            path.unlink()
        return real(version)

    served.server.rollout._loads._load_version = load
    store.aliases.promote("v2", alias="production")
    refusals = served.server.rollout.refusals
    wait_for(lambda: "v2" in refusals, "it is refused")
    assert "is missing" in refusals["v2"].reason
    assert isinstance(refusals["v2"].error, VersionCorrupt)
    assert serving(served) == "v1"


def endless() -> bytes:
    """Return a node model whose loop never ends."""
    text = TensorProto
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["goes_on"], ["goes_on_still"]),
            helper.make_node("Add", ["sum", "sum"], ["sum_then"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("number", text.INT64, []),
            helper.make_tensor_value_info("goes_on", text.BOOL, []),
            helper.make_tensor_value_info("sum", text.FLOAT, [unseen.WIDTH]),
        ],
        [
            helper.make_tensor_value_info("goes_on_still", text.BOOL, []),
            helper.make_tensor_value_info("sum_then", text.FLOAT, [unseen.WIDTH]),
        ],
    )
    graph = helper.make_graph(
        [
            helper.make_node("Loop", ["", "yes", "zeros"], ["summed"], body=body),
            helper.make_node("Expand", ["summed", "shape"], ["embeddings"]),
        ],
        "endless",
        [
            helper.make_tensor_value_info("x", text.FLOAT, ["N", unseen.FEATURES.width]),
            helper.make_tensor_value_info("edge_index", text.INT64, [2, "E"]),
        ],
        [helper.make_tensor_value_info("embeddings", text.FLOAT, ["N", unseen.WIDTH])],
        [
            numpy_helper.from_array(np.array(True), "yes"),
            numpy_helper.from_array(np.zeros(unseen.WIDTH, np.float32), "zeros"),
            numpy_helper.from_array(np.array([1, unseen.WIDTH]), "shape"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def test_a_model_that_never_ends_is_ended_and_refused(tmp_path: Path) -> None:
    """No thread goes on to compute for nobody."""
    for name in ("v1", "v3"):
        made.publish(tmp_path, version=name)
    rule = NodeModel(kind="sage", file="sage/sage.onnx")
    plain = replace(unseen.lightgcn(), fold_in=None, fold=None)
    unseen.publish(tmp_path, "v2", sage=replace(plain, model=rule, onnx=endless()))
    store = ModelStore(tmp_path, "toy")
    store.aliases.promote("v1", alias="production")
    with running(tmp_path, load_timeout_s=30.0) as server:
        server.server.rollout._loads._timeout_s = 0.5
        store.aliases.promote("v2", alias="production")
        refusals = server.server.rollout.refusals
        wait_for(lambda: "v2" in refusals, "v2 is refused")
        assert "not loaded within 0.5 s" in refusals["v2"].reason
        assert refusals["v2"].load is not None
        assert not refusals["v2"].load.is_running
        server.server.rollout._loads._timeout_s = 30.0
        store.aliases.promote("v3", alias="production")
        wait_until_served(server, "v3")


def test_a_first_load_that_takes_too_long_is_said_at_the_start(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(loads, "_CALLED_OFF_S", 0.1)
    monkeypatch.setattr("gnnrec_server.version.loader.load", lambda version, **how: go_on.wait(60))
    try:
        with (
            pytest.raises(UnservableVersion, match=r"'v1' was not loaded within 0\.2 s"),
            running(store.layout.root, load_timeout_s=0.2),
        ):
            pass
    finally:
        go_on.set()


def test_another_alias_whose_load_hangs_does_not_hold_up_the_start(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.aliases.promote("hangs", alias="canary")
    go_on, real = threading.Event(), loader.load

    def load(version: Version, **how: Any) -> Snapshot:
        if version.name == "hangs":
            assert go_on.wait(60)
        return real(version, **how)

    monkeypatch.setattr(loader, "load", load)
    monkeypatch.setattr(follow, "_OTHERS_S", 0.2)
    try:
        with running(store.layout.root, served_aliases=("canary",)) as server:
            assert serving(server) == "v1"
            assert server.server.rollout.loading == "hangs"
            go_on.set()
            aliases = server.server.recommender
            wait_for(lambda: "canary" in aliases.serving.aliases, "canary follows")
    finally:
        go_on.set()


def test_a_load_looks_whether_it_was_called_off() -> None:
    load = Load()
    stopped: list[str] = []

    def work() -> None:
        with current().interrupted_by(lambda: stopped.append("it")):
            load.call_off()
        current().check()

    with pytest.raises(CalledOff):
        load.run(work)
    assert stopped == ["it"]
    load.call_off()
    assert stopped == ["it"], "what has ended is not stopped"
    current().check()  # nobody calls this one off


def test_a_registry_that_does_not_answer_is_said_and_stops_nobody_from_ending(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "_ANSWER_S", 0.1)
    answers = threading.Event()
    try:
        with running(store.layout.root) as server:
            real = server.server.rollout.store.aliases.get

            def get(alias: str) -> Any:
                assert answers.wait(60)
                return real(alias)

            monkeypatch.setattr(server.server.rollout.store.aliases, "get", get)
            errors = server.server.metrics.poll_errors
            wait_for(lambda: errors._value.get() > 1, "it is counted")
            assert serving(server) == "v1"
            store_now = ModelStore(store.layout.root, "toy")
            store_now.aliases.promote("v2", alias="production")
            answers.set()
            wait_until_served(server, "v2")
            answers.clear()
            before = errors._value.get()
            wait_for(lambda: errors._value.get() > before, "it does not answer again")
            ended = threading.Thread(target=lambda: server.run(server.server.stop()))
            ended.start()
            ended.join(20)
            assert not ended.is_alive()
    finally:
        answers.set()


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def is_read(pipe: Path) -> bool:
    """Tell whether somebody reads from a named pipe."""
    try:
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return False
    return True


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(store: ModelStore, pipe: Path) -> Iterator[Start]:
    """Start servers on which the load of version "hangs" never ends."""
    started = []

    def run(*options: str) -> "subprocess.Popen[str]":
        command = [
            sys.executable, "-m", "tests.server.hanging_serve", "serve",
            "--registry", str(store.layout.root), "--model", "toy", "--address", "127.0.0.1:0",
            "--metrics-port", "0", "--drain", "0", *options,
        ]  # fmt: skip
        environment = {**os.environ, "HANGING_PIPE": str(pipe)}
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def is_caught(process: "subprocess.Popen[str]", number: signal.Signals) -> bool:
    """Tell whether a process has a handler for a signal."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    (caught,) = [line for line in status.splitlines() if line.startswith("SigCgt")]
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Send a process its signal; return its exit code and its log."""
    _, said = process.communicate(timeout=15)
    return process.returncode, said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_before_it_has_read_anything(
    start: Start, number: signal.Signals
) -> None:
    process = start()
    until(lambda: is_caught(process, signal.SIGTERM), 20)
    process.send_signal(number)
    assert process.communicate(timeout=15) == ("", "")
    assert process.returncode == 0


@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["one process", "workers"])
def test_a_signal_during_the_first_load_ends_the_process(
    store: ModelStore, start: Start, pipe: Path, options: tuple[str, ...]
) -> None:
    store.aliases.promote("hangs", alias="production")
    process = start(*options)
    until(lambda: is_read(pipe), 30)
    process.send_signal(signal.SIGTERM)
    code, said = ended(process)
    assert (code, "Traceback" in said) == (0, False)


def test_a_server_drains_and_ends_while_a_load_hangs(
    store: ModelStore, start: Start, pipe: Path
) -> None:
    process = start("--drain", "0.5")
    assert process.stdout is not None
    address = process.stdout.readline().split(" on ")[1].split(",")[0]
    store.aliases.promote("hangs", alias="production")
    until(lambda: is_read(pipe), 20)
    process.send_signal(signal.SIGTERM)
    with Client(address, timeout_s=10) as client:
        assert client.top_k("u0", k=1).version == "v1", "it drains"
    code, said = ended(process)
    assert code == 0
    assert "stopped" in said


def test_a_start_that_fails_while_a_load_hangs_ends_with_its_reason(
    store: ModelStore, start: Start
) -> None:
    for version in ("v1", "v2", "v3"):
        (store.layout.version(version) / "users.ids").unlink()
    store.aliases.promote("hangs", alias="production")
    code, said = ended(start("--load-timeout", "0.5"))
    assert code == 2
    assert said.splitlines()[-1].startswith("gnnrec: version 'hangs' was not loaded within 0.5 s")
