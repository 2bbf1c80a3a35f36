import ast
import importlib
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.tracked import ROOT, tracked

PACKAGES = ("protos", "registry", "training", "server", "gnnrec")

# What each package may import of ours.
MAY = {
    "protos": set(),
    "registry": set(),
    "training": {"registry"},
    "server": {"registry", "protos"},
    "gnnrec": {"registry", "protos", "training", "server"},
}

# A heavy library has one home, and within it one door where that is practical.
HOMES = {
    "torch": {"training"},
    "torch_geometric": {"training"},
    "polars": {"training"},
    "fsspec": {
        "training/data/files.py",
        "registry/remote/objects.py",
        "registry/remote/stores.py",
    },
    "s3fs": {"registry/remote/s3.py"},
    "gcsfs": {"registry/remote/gcs.py"},
    "sqlalchemy": {"training/data/sql.py"},
    "pymongo": {"training/data/mongo.py"},
    "matplotlib": {"training/report"},
    "jinja2": {"registry/page.py"},
    "faiss": {"server/index.py", "server/approximate.py", "server/cores.py"},
    "onnx": {"server/scan.py"},
    "onnxruntime": {"server/encoder.py", "server/scan.py", "training/nodes/onnx.py"},
    "prometheus_client": {
        "server/metrics.py",
        "server/series.py",
        "server/shared_metrics.py",
        "server/trial_metrics.py",
    },
    "opentelemetry": {"server/tracing.py"},
    "watchfiles": {"server/events.py"},
    "grpc": {"server", "gnnrec", "protos"},
    "grpc_tools": {"protos/generate.py"},
}


def sources(package: str) -> list[Path]:
    return [path for path in tracked(f"{package}/*.py") if "_pb2" not in path.name]


@cache
def imports(path: Path) -> set[str]:
    """Return the dotted names that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package: str) -> None:
    for path in sources(package):
        ours = {name.split(".")[0] for name in imports(path)} & set(PACKAGES)
        assert ours <= MAY[package] | {package}, path


@pytest.mark.parametrize("library", sorted(HOMES))
def test_a_heavy_library_stays_in_its_home(library: str) -> None:
    for package in PACKAGES:
        for path in sources(package):
            if any(name.split(".")[0] == library for name in imports(path)):
                place = path.relative_to(ROOT).as_posix()
                homes = HOMES[library]
                at_home = any(place == home or place.startswith(f"{home}/") for home in homes)
                assert at_home, f"{place} imports {library}"


def test_protobuf_messages_stay_on_the_wire() -> None:
    """The core has never heard of messages or of gRPC."""
    edge = {
        "app.py",
        "boundary.py",
        "model_wire.py",
        "servicer.py",
        "statuses.py",
        "transport.py",
        "wire.py",
    }
    for path in sources("server"):
        if path.name not in edge:
            names = {name.split(".")[0] for name in imports(path)}
            assert not names & {"protos", "grpc", "google"}, path


def test_the_face_imports_each_package_only_inside_a_subcommand() -> None:
    for path in sources("gnnrec"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [getattr(node, "module", "") or "", *(alias.name for alias in node.names)]
                assert not {name.split(".")[0] for name in names} & {"training", "server"}, path


def test_the_server_is_served_without_torch() -> None:
    """Importing all of the server and the command loads no training library."""
    paths = [path.relative_to(ROOT) for name in ("server", "registry") for path in sources(name)]
    # loaded for those who name a URL; Google's libraries load what tracing they find
    paths = [path for path in paths if path.parts[:2] != ("registry", "remote")]
    modules = [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in paths]
    program = (
        "import importlib, json, sys\n"
        f"for name in {[*modules, 'gnnrec.cli.main']!r}: importlib.import_module(name)\n"
        "heavy = {'torch', 'torch_geometric', 'polars', 'rich', 'opentelemetry'}\n"
        "print(json.dumps(sorted(set(sys.modules) & heavy)))"
    )
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_our_packages_are_the_ones_imported(package: str) -> None:
    """No stray package of the same name stands before ours."""
    module = importlib.import_module(package)
    assert module.__file__ is not None
    assert Path(module.__file__).is_relative_to(ROOT)
