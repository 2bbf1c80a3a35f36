"""The checks look at the project's own files, whatever lies beside them in the checkout."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.command import GNNREC
from tests.tracked import ROOT, tracked

BIN = Path(sys.executable).parent
MISSPELT = "reci" + "eve sepe" + "rate"
BAD_CODE = "import os, sys\nx: int = ''\ndef f( a ): return undefined\n"

needs_tools = pytest.mark.skipif(
    not (shutil.which("git") and shutil.which("make")), reason="needs git and make"
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of the project as it stands, and in it what `make run` and a working day leave."""
    root = tmp_path_factory.mktemp("checkout") / "gnnrec"
    for path in tracked("*"):
        copy = root / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    for arguments in (["init", "--quiet"], ["add", "--all"]):
        subprocess.run(["git", *arguments], cwd=root, check=True)
    known = ROOT / ".mypy_cache"
    if known.is_dir():  # a check from nothing takes a minute
        shutil.copytree(known, root / ".mypy_cache")
    subprocess.run([GNNREC, "generate", "quickstart/data"], cwd=root, check=True)
    for name, content in {
        "quickstart/registry/courses/history.jsonl": MISSPELT,
        "my-registry/toy/versions/v1/items.titles": MISSPELT,
        "data/people.csv": MISSPELT,
        "notes.md": MISSPELT,
        "scratch.py": BAD_CODE,
        "server/scratch.py": "import torch, training\n" + BAD_CODE,
        "tests/test_scratch.py": "def test_it() -> None:\n    raise SystemExit(MISSPELT)\n",
        "tests/server/test_app.py": "import nothing_of_that_name\n",
        "protos/gnnrec/v1/scratch.proto": "no proto\n",
        "benchmarks/recipes/scratch.toml": "no = toml = here\n",
        "deploy/kubernetes/scratch.yaml": MISSPELT,
        "env/lib/python3.11/site-packages/thing/__init__.py": BAD_CODE,
        ".venv2/lib/python3.11/site-packages/test_thing.py": BAD_CODE,
        "build/lib/server/app.py": BAD_CODE,
        "node_modules/thing/gyp/bad.py": BAD_CODE,
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def in_checkout(checkout: Path, *arguments: str) -> str:
    """Run Python there, and return what was said."""
    return said(checkout, sys.executable, *arguments)


def make(checkout: Path, *targets: str) -> str:
    """Make targets with the tools of this environment, and return what was said."""
    installed = checkout / ".venv" / "installed"
    return said(
        checkout, "make", f"--old-file={installed}", f"DONE={installed}", f"BIN={BIN}", *targets
    )


def said(checkout: Path, *command: str) -> str:
    """Run a command on the packages of the checkout, and return what was said."""
    packages = [
        checkout,
        *(checkout / name for name in ("protos", "registry", "server", "training")),
    ]
    path = os.pathsep.join(map(str, packages))
    run = subprocess.run(
        command,
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": path, "CI": ""},  # CI would ask for buf
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout
    return run.stdout


@needs_tools
def test_lint_and_types_pass_beside_whatever_lies_in_the_checkout(checkout: Path) -> None:
    told = make(checkout, "lint", "types")
    assert "Success: no issues found" in told
    assert "not checked, because git does not track it: server/scratch.py" in told


@needs_tools
def test_tests_are_those_of_the_project(checkout: Path) -> None:
    """And the tests that look through the project's tree look at its own files."""
    wanted = "-m tests.tracked 'tests/*test_*.py'"
    assert wanted in make(checkout, "--dry-run", "unit")
    listed = in_checkout(checkout, *wanted.replace("'", "").split()).split("\0")
    assert "tests/test_checks.py" in listed
    assert not {"tests/test_scratch.py", "tests/server/test_app.py"} & {*listed}
    walking = [
        "test_architecture",
        "test_protos",
        "training/config/test_config",
        "deploy/test_kubernetes",
    ]
    files = [f"tests/{name}.py" for name in walking]
    assert " passed" in in_checkout(checkout, "-m", "pytest", "-q", *files)


@needs_tools
def test_the_quick_tests_are_all_but_the_long_ones(checkout: Path) -> None:
    (command,) = re.findall(
        r"-m tests\.tracked (--but .*?) \\\n", make(checkout, "--dry-run", "quick")
    )
    listed = in_checkout(checkout, "-m", "tests.tracked", *shlex.split(command)).split("\0")[:-1]
    assert "tests/test_architecture.py" in listed
    assert "tests/test_checks.py" not in listed
    assert not [name for name in listed if name.startswith(("tests/deploy/", "tests/remote/"))]


@needs_tools
def test_a_long_file_of_tests_that_was_renamed_is_not_forgotten(checkout: Path) -> None:
    with pytest.raises(AssertionError, match="no file of the project matches tests/gone"):
        in_checkout(checkout, "-m", "tests.tracked", "--but", "tests/gone.py", "--", "tests/*.py")


@needs_tools
def test_a_fault_in_a_file_that_git_tracks_is_found(checkout: Path) -> None:
    path = checkout / "docs" / "new.md"
    path.write_text(MISSPELT)
    subprocess.run(["git", "add", path], cwd=checkout, check=True)
    try:
        with pytest.raises(AssertionError, match=r"docs/new\.md:1: reci"):
            make(checkout, "lint")
    finally:
        subprocess.run(["git", "rm", "-q", "-f", path], cwd=checkout, check=True)


@needs_tools
def test_an_archive_without_git_is_checked_by_its_folders(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("*.pyc"))
    for name in ("docs/a.md", "node_modules/b.py", "env/c.py", "examples/node_modules/d.js"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    listed = subprocess.run(
        [sys.executable, "-m", "tests.tracked", "*.md", "*.py", "*.js"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "GIT_CEILING_DIRECTORIES": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.split("\0")[:-1]
    assert "docs/a.md" in listed
    assert "tests/test_checks.py" in listed
    assert {name.split("/")[0] for name in listed} == {"docs", "tests"}
    assert "examples/node_modules/d.js" not in listed
