import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
from prometheus_client import generate_latest, values
from prometheus_client.parser import text_string_to_metric_families

from gnnrec_protos.v1 import recommender_pb2 as pb
from gnnrec_registry import ModelStore
from gnnrec_server.process.address import Tcp
from gnnrec_server.telemetry.collectors import expose
from gnnrec_server.telemetry.metrics import Metrics
from gnnrec_server.telemetry.worker_metrics import SharedMetrics
from gnnrec_server.version import loader
from tests import made
from tests.server.running import Running, running
from tests.server.scraping import key, parse, scraped_text

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("registry")
    for number in (1, 2):
        made.publish(root, version=f"v{number}", seed=number)
    ModelStore(root, "toy").aliases.promote("v1", alias="production")
    return root


def call(server: Running, request: pb.TopKRequest) -> str:
    """Return the code that a request ends with."""
    try:
        server.recommender.TopK(request)
    except grpc.RpcError as error:
        code: str = error.code().name
        return code
    return "OK"


@pytest.fixture(scope="module")
def text(registry: Path) -> Iterator[str]:
    """The output of a real server that has had calls of many kinds."""
    with running(registry) as server:
        codes = [
            call(server, request)
            for request in (
                pb.TopKRequest(user_id="u0", k=3),
                pb.TopKRequest(user_id="u3", k=3),  # has had every item
                pb.TopKRequest(user_id="secret-person", k=3),
                pb.TopKRequest(item_id="secret-item", k=3),
                pb.TopKRequest(user_id="u0", k=3, exclude_item_ids=["secret-listed", "i5"]),
                pb.TopKRequest(user_id="u0", k=0),
                pb.TopKRequest(user_id="u0", k=3, variant="made-up-variant"),
                pb.TopKRequest(user_id="u0", k=3, version="made-up-version"),
                pb.TopKRequest(user_id="u0", k=3, alias="made-up-alias"),
            )
        ]
        assert codes[:6] == ["OK", "OK", "NOT_FOUND", "NOT_FOUND", "OK", "INVALID_ARGUMENT"]
        assert "OK" not in codes[6:]
        server.recommender.Score(pb.ScoreRequest(user_id="u0", item_ids=["i1", "secret-scored"]))
        yield scraped_text(server.ports.metrics)


def test_promtool_finds_nothing_to_say(text: str) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    command = [promtool, "check", "metrics"]
    check = subprocess.run(command, input=text, capture_output=True, text=True)
    assert (check.returncode, check.stdout + check.stderr) == (0, "")


def test_each_kind_of_request_is_counted_where_it_belongs(text: str) -> None:
    got = parse(text)
    own = {"rpc": "TopK", "version": "v1"}
    assert got[key("gnnrec_requests_total", **own, variant="lightgcn", code="OK")] == 3
    # Failed requests that name nothing were for the served version, in no variant yet.
    assert got[key("gnnrec_requests_total", **own, variant="", code="NOT_FOUND")] == 2
    assert got[key("gnnrec_requests_total", **own, variant="", code="INVALID_ARGUMENT")] == 1
    assert got[key("gnnrec_requests_total", **own, variant="", code="FAILED_PRECONDITION")] == 1
    assert got[key("gnnrec_request_duration_seconds_count", **own)] == 7
    assert got[key("gnnrec_request_duration_seconds_count", rpc="TopK", version="")] == 2
    assert got[key("gnnrec_requested_k_count")] == 3
    assert got[key("gnnrec_short_answers_total")] == 1
    for kind, count in (("user", 1), ("item", 1), ("listed_item", 2)):
        assert got[key("gnnrec_unknown_ids_total", kind=kind)] == count
    for stage in ("queue", "embed", "search", "rank", "respond"):
        assert got[key("gnnrec_stage_duration_seconds_count", stage=stage)] > 0
    assert got[key("gnnrec_rejected_requests_total", reason="overloaded")] == 0
    assert got[key("gnnrec_in_flight_requests")] == 0


def test_what_is_loaded_is_described(text: str) -> None:
    got = parse(text)
    labels = {"model": "toy", "alias": "production", "version": "v1"}
    assert got[key("gnnrec_model_info", **labels, default_variant="lightgcn")] == 1
    assert got[key("gnnrec_model_state", version="v1", state="serving")] == 1
    assert got[key("gnnrec_index_items", version="v1", variant="lightgcn")] == 30
    assert got[key("gnnrec_index_bytes", version="v1", variant="lightgcn")] == 30 * 4 * 4
    created = got[key("gnnrec_model_created_timestamp_seconds", alias="production")]
    activated = got[key("gnnrec_model_activated_timestamp_seconds", alias="production")]
    assert 1.7e9 < created < activated
    for phase in ("verify", "read", "build", "golden"):
        assert got[key("gnnrec_model_load_seconds", phase=phase)] >= 0
    assert got[key("process_resident_memory_bytes")] > 1e6
    assert [labels for name, labels in got if name == "gnnrec_build_info"]


def test_rpcs_are_shown_before_their_first_call(text: str) -> None:
    labels = {
        "grpc_type": "unary",
        "grpc_service": "gnnrec.v1.ModelService",
        "grpc_method": "ListVersions",
    }
    got = parse(text)
    assert got[key("grpc_server_started_total", **labels)] == 0
    assert got[key("grpc_server_handled_total", **labels, grpc_code="OK")] == 0


def test_nothing_that_a_caller_makes_up_becomes_a_label(text: str) -> None:
    assert "made-up" not in text
    assert "secret" not in text


def test_there_are_no_series_of_when_a_series_began(text: str) -> None:
    assert not [name for name, _ in parse(text) if name.endswith("_created")]


def test_times_are_told_apart_from_a_fifth_of_a_millisecond(text: str) -> None:
    bounds = [dict(labels)["le"] for name, labels in parse(text) if name.endswith("seconds_bucket")]
    assert min(map(float, bounds)) == 0.0002


def test_every_metric_is_documented(text: str) -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    for family in text_string_to_metric_families(text):
        name = family.name + ("_total" if family.type == "counter" else "")
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{name}`")]
        assert family.type in row
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        for label in labels:
            assert f"`{label}`" in row, (name, label)


def test_one_process_writes_no_files() -> None:
    Metrics()
    assert "PROMETHEUS_MULTIPROC_DIR" not in os.environ
    assert not values.ValueClass._multiprocess


def test_versions_that_are_gone_do_not_pile_up(tmp_path: Path) -> None:
    """After many rollouts the last ten versions are told apart, and no other."""
    metrics = Metrics()
    for number in range(15):
        version = f"v{number}"
        loaded = loader.load(made.publish(tmp_path, version=version, seed=number))
        metrics.activate(loaded.figures, "production", float(number))
        metrics.show_states({version: "serving"})
        if number:
            metrics.release(f"v{number - 1}")
            # A request that began before the swap is counted under the version it began on.
            metrics.count("TopK", "OK", 0.01, *metrics.counted(f"v{number - 1}", "lightgcn"))
        metrics.count("TopK", "OK", 0.01, *metrics.counted(version, "lightgcn"))
    got = parse(generate_latest(metrics.registry).decode())
    counted = {
        dict(labels)["version"]: value
        for (name, labels), value in got.items()
        if name == "gnnrec_requests_total"
    }
    assert counted == {f"v{number}": 2 - (number == 14) for number in range(5, 15)}
    for name in ("gnnrec_model_info", "gnnrec_model_state", "gnnrec_index_items"):
        assert [dict(labels)["version"] for each, labels in got if each == name] == ["v14"]


def worker(directory: Path, registry: Path, requests: int) -> subprocess.Popen[str]:
    command = [
        sys.executable, "-m", "tests.server.counting_worker",
        str(directory), str(registry), str(requests),
    ]  # fmt: skip
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )


def test_two_processes_are_added_up_at_one_endpoint(registry: Path) -> None:
    with SharedMetrics() as shared, ExitStack() as stack:
        port, stop = expose(shared.registry, Tcp("127.0.0.1", 0))
        stack.callback(stop)
        workers = [worker(shared.directory, registry, requests) for requests in (3, 4)]
        for process in workers:
            stack.enter_context(process)
            assert process.stdout is not None
            assert process.stdout.readline() == "counted\n"
            shared.add(process.pid)
        both = parse(scraped_text(port))
        own = {"rpc": "TopK", "version": "v2"}
        assert both[key("gnnrec_requests_total", **own, variant="lightgcn", code="OK")] == 7
        assert both[key("gnnrec_request_duration_seconds_count", **own)] == 7
        assert both[key("gnnrec_request_duration_seconds_bucket", **own, le="0.005")] == 7
        assert both[key("gnnrec_short_answers_total")] == 7
        assert both[key("gnnrec_in_flight_requests")] == 7
        info = {"model": "toy", "default_variant": "lightgcn"}
        assert both[key("gnnrec_model_info", **info, alias="production", version="v2")] == 1
        assert both[key("gnnrec_model_info", **info, alias="canary", version="v1")] == 0
        assert both[key("gnnrec_index_items", version="v2", variant="lightgcn")] == 30
        assert both[key("gnnrec_index_bytes", version="v2", variant="lightgcn")] == 2 * 480
        activated = both[key("gnnrec_model_activated_timestamp_seconds", alias="production")]
        assert activated == 104
        assert math.isnan(both[key("gnnrec_model_created_timestamp_seconds", alias="canary")])
        memory, cpu = key("process_resident_memory_bytes"), key("process_cpu_seconds_total")

        workers[1].communicate("end\n")
        shared.forget(workers[1].pid)
        left = parse(scraped_text(port))
        assert left[key("gnnrec_requests_total", **own, variant="lightgcn", code="OK")] == 7
        assert left[key("gnnrec_in_flight_requests")] == 3
        assert left[memory] < both[memory]
        assert left[cpu] >= both[cpu]
        workers[0].communicate("end\n")
    assert not shared.directory.exists()
