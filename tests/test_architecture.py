import ast
import importlib
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.tracked import ROOT, tracked

# Each package by its import name, which is our own, and where it stands.
PACKAGES = {
    "gnnrec_protos": "protos/gnnrec_protos",
    "gnnrec_registry": "registry/gnnrec_registry",
    "gnnrec_training": "training/gnnrec_training",
    "gnnrec_server": "server/gnnrec_server",
    "gnnrec": "gnnrec",
}

# What each package may import of ours.
MAY = {
    "gnnrec_protos": set(),
    "gnnrec_registry": set(),
    "gnnrec_training": {"gnnrec_registry"},
    "gnnrec_server": {"gnnrec_registry", "gnnrec_protos"},
    "gnnrec": {"gnnrec_registry", "gnnrec_protos", "gnnrec_training", "gnnrec_server"},
}

# A heavy library has one home, and within it one door where that is practical.
HOMES = {
    "torch": {"training/gnnrec_training"},
    "torch_geometric": {"training/gnnrec_training"},
    "polars": {"training/gnnrec_training"},
    "fsspec": {
        "training/gnnrec_training/data/reading/locations.py",
        "registry/gnnrec_registry/remote/objects.py",
        "registry/gnnrec_registry/remote/stores.py",
    },
    "s3fs": {"registry/gnnrec_registry/remote/s3.py"},
    "gcsfs": {"registry/gnnrec_registry/remote/gcs.py"},
    "sqlalchemy": {"training/gnnrec_training/data/reading/sql.py"},
    "pymongo": {"training/gnnrec_training/data/reading/mongo.py"},
    "matplotlib": {"training/gnnrec_training/report"},
    "jinja2": {"registry/gnnrec_registry/pages/html.py"},
    "faiss": {
        "server/gnnrec_server/index/exact.py",
        "server/gnnrec_server/index/approximate.py",
        "server/gnnrec_server/process/compute_threads.py",
    },
    "onnx": {"server/gnnrec_server/index/scan.py"},
    "onnxruntime": {
        "server/gnnrec_server/version/onnx_model.py",
        "server/gnnrec_server/index/scan.py",
        "training/gnnrec_training/export/onnx.py",
    },
    "prometheus_client": {"server/gnnrec_server/telemetry"},
    "opentelemetry": {"server/gnnrec_server/telemetry/tracing.py"},
    "watchfiles": {"server/gnnrec_server/rollout/file_events.py"},
    "grpc": {"server/gnnrec_server", "gnnrec", "protos/gnnrec_protos"},
    "grpc_tools": set(),
}


def sources(package: str) -> list[Path]:
    return [path for path in tracked(f"{PACKAGES[package]}/*.py") if "_pb2" not in path.name]


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


# The rooms of the server; each may import itself and those that come after it.
SERVER_ROOMS = (
    "main", "workers", "settings", "front", "rpc", "load", "rollout", "trials", "query", "version",
    "index", "telemetry", "process", "errors",
)  # fmt: skip


def dotted(path: Path) -> str:
    """Return the dotted name of a module of the server."""
    return ".".join(path.relative_to(ROOT / "server").with_suffix("").parts)


def room(name: str) -> str:
    """Return the room of the server that a dotted name of it is in."""
    return name.split(".")[1]


def test_imports_of_the_server_point_to_rooms_further_down() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources("gnnrec_server")
        for name in imports(path)
        if name.startswith("gnnrec_server.")
        and SERVER_ROOMS.index(room(name)) < SERVER_ROOMS.index(room(dotted(path)))
    ]
    assert wrong == []


def test_every_room_of_the_server_says_what_it_is_for() -> None:
    for path in (ROOT / "server" / "gnnrec_server").glob("*/__init__.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), path


def test_protobuf_messages_stay_on_the_wire() -> None:
    """The core has never heard of messages or of gRPC."""
    edge = {"main.py", "front", "rpc"}
    for path in sources("gnnrec_server"):
        if path.relative_to(ROOT / "server" / "gnnrec_server").parts[0] not in edge:
            names = {name.split(".")[0] for name in imports(path)}
            assert not names & {"gnnrec_protos", "grpc", "google"}, path


def test_the_face_imports_each_package_only_inside_a_subcommand() -> None:
    for path in sources("gnnrec"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [getattr(node, "module", "") or "", *(alias.name for alias in node.names)]
                assert not {name.split(".")[0] for name in names} & {
                    "gnnrec_training",
                    "gnnrec_server",
                }, path


def test_the_server_is_served_without_torch() -> None:
    """Importing all of the server and the command loads no training library."""
    names = "gnnrec_server", "gnnrec_registry"
    paths = [path.relative_to(ROOT) for name in names for path in sources(name)]
    # loaded for those who name a URL; Google's libraries load what tracing they find
    paths = [path for path in paths if "remote" not in path.parts]
    modules = [".".join(path.with_suffix("").parts[1:]).removesuffix(".__init__") for path in paths]
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
