"""The built wheel, installed into an empty environment, works beside a project's own folders."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from tests.end_to_end.command import ok, serving
from tests.tracked import ROOT

COMMON_NAMES = (
    "protos/__init__.py",
    "server/__init__.py",
    "tests/__init__.py",
    "training.py",
    "registry.py",
)
"""What many a project has beside the code that imports us; in the test each raises if imported."""

SMALL_MODEL = """
name = "courses"
[data]
interactions = "enrolments.csv"
user_column = "person_id"
item_column = "course_id"
[data.items]
file = "courses.csv"
id_column = "course_id"
[spectral]
embedding_dim = 8
[evaluation]
k = [5]
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the project as it stands."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run([*build, "--directory", folder], cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel, which borrows its dependencies from this one.

    This environment has the project installed as editable. That is a .pth file, and Python reads
    none in a folder that stands on the path because of a .pth file itself, so it is not borrowed.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True, with_pip=False)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "--quiet"]
    subprocess.run([*pip, "install", "--no-index", "--no-deps", str(wheel)], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (packages / "borrowed.pth").write_text("\n".join(sorted(borrowed)))
    return folder


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with folders and modules of common names, which stands first on the path."""
    folder = tmp_path_factory.mktemp("project")
    for name in COMMON_NAMES:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("raise ImportError(f'{__file__} belongs to the project that installs us')")
    return folder


@pytest.fixture(scope="module")
def env(project: Path) -> dict[str, str]:
    return {"PYTHONPATH": str(project), "PYTHONNOUSERSITE": "1"}


@pytest.fixture(scope="module")
def registry(environment: Path, project: Path, env: dict[str, str]) -> Path:
    """A registry with one version, which the installed command has trained and promoted."""
    command, data, root = environment / "bin" / "gnnrec", project / "data", project / "registry"
    # enough that the model is better than what is popular: a promotion asks for that
    sizes = ("--users", 200, "--items", 60, "--interactions", 2500)
    ok("generate", data, *sizes, env=env, command=command)
    (data / "small.toml").write_text(SMALL_MODEL)
    options = ("--registry", root, "--promote", "production", "--json")
    said = ok("train", data / "small.toml", *options, env=env, command=command)
    assert json.loads(said.splitlines()[-1])["model"] == "courses"
    return root


def python(environment: Path, project: Path, env: dict[str, str], program: str) -> str:
    """Run a program with the environment's Python in the project's folder; return its output."""
    run = subprocess.run(
        [environment / "bin" / "python", "-c", program],
        cwd=project,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout
    return run.stdout


def test_the_top_level_names_of_the_wheel_are_our_own(wheel: Path) -> None:
    names = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == {
        "gnnrec",
        "gnnrec_protos",
        "gnnrec_registry",
        "gnnrec_server",
        "gnnrec_training",
    }


def test_the_wheel_has_type_information_for_each_package(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    packages = {name.split("/")[0] for name in names if name.endswith("/__init__.py")}
    assert {f"{package}/py.typed" for package in packages} <= names


def test_the_tests_build_with_the_version_that_pip_builds_with() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(project["build-system"]["requires"]) <= set(project["dependency-groups"]["dev"])


def test_packages_are_those_of_the_wheel(
    environment: Path, project: Path, env: dict[str, str]
) -> None:
    program = (
        "import gnnrec, gnnrec_protos, gnnrec_registry, gnnrec_server, gnnrec_training\n"
        "from gnnrec import Client\n"
        "for package in (gnnrec, gnnrec_protos, gnnrec_registry, gnnrec_server, gnnrec_training):\n"
        "    print(package.__file__)\n"
    )
    files = python(environment, project, env, program).splitlines()
    assert len(files) == 5
    assert all(Path(file).is_relative_to(environment) for file in files), files


def test_the_command_says_its_version(environment: Path, env: dict[str, str]) -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    command = environment / "bin" / "gnnrec"
    assert ok("--version", env=env, command=command) == f"gnnrec {declared}\n"


def test_command_and_client_are_answered_by_the_installed_server(
    environment: Path, project: Path, env: dict[str, str], registry: Path
) -> None:
    command = environment / "bin" / "gnnrec"
    with serving(registry, "courses", env=env, command=command) as address:
        words = ok("topk", "person-0", "-k", 3, "--address", address, env=env, command=command)
        assert re.match(r"for person-0, by spectral of \S+:\n", words)
        program = (
            "from gnnrec import Client\n"
            f"with Client({address!r}, timeout_s=10) as client:\n"
            "    print(*(item.item_id for item in client.top_k('person-0', k=3).items))\n"
        )
        items = python(environment, project, env, program).split()
    assert len(items) == 3
    assert all(item in words for item in items)


def test_training_from_python_publishes_a_version(
    environment: Path, project: Path, env: dict[str, str], registry: Path
) -> None:
    program = (
        "import gnnrec\n"
        f"training = gnnrec.train('data/small.toml', registry={str(registry)!r}, progress=False)\n"
        "print(training.version)\n"
    )
    version = python(environment, project, env, program).splitlines()[-1]
    listed = ok("versions", "--registry", registry, env=env, command=environment / "bin" / "gnnrec")
    assert version in listed
