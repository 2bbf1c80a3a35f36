import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from gnnrec_registry import ModelStore
from tests import made
from tests.server.running import Running, running

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
NODE = EXAMPLES / "node"
BUF = ROOT / "node_modules" / ".bin" / "buf"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    root = tmp_path_factory.mktemp("registry")
    made.publish(root, version="v1")
    ModelStore(root, "toy").aliases.promote("v1", alias="production")
    with running(root) as here:
        yield here


def run(*command: object) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=200)


def best(server: Running, user: str, k: int) -> list[str]:
    return [item.item_id for item in server.client.top_k(user, k=k).items]


def test_the_blocking_example_recommends(server: Running) -> None:
    script = EXAMPLES / "python" / "blocking.py"
    done = run(sys.executable, script, server.address, "u0")
    assert done.returncode == 0, done.stderr
    first, *items, rest = done.stdout.splitlines()
    assert first == "for u0, by lightgcn of v1:"
    ten = best(server, "u0", 10)
    assert [line.split()[0] for line in items] == ten[:5]
    assert rest == f"and then: {' '.join(ten[5:])}"
    missing = run(sys.executable, script, server.address, "nobody")
    assert missing.returncode == 1
    assert missing.stderr.startswith("NOT_FOUND USER_NOT_FOUND: ")


def test_the_asyncio_example_recommends(server: Running) -> None:
    script = EXAMPLES / "python" / "side_by_side.py"
    done = run(sys.executable, script, server.address, "u0", "u1")
    assert done.returncode == 0, done.stderr
    lines = [f"{user} {' '.join(best(server, user, 3))}" for user in ("u0", "u1")]
    assert done.stdout.splitlines() == [*lines, *lines, "nobody USER_NOT_FOUND"]


def test_the_notebook_trains_serves_and_recommends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))  # not the user's own IPython profile
    path = EXAMPLES / "train.ipynb"
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    assert all(not cell.get("outputs") for cell in notebook.cells)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=resources).execute()
    cells = {cell.id: cell.get("outputs", []) for cell in notebook.cells}
    told = "".join(output.text for output in cells["training"] if output.get("name") == "stdout")
    assert "frame of interactions: users in 'person_id', items in 'course_id'" in told
    assert "production is now" in told
    [shown] = [output.data for output in cells["training"] if "data" in output]
    assert shown["text/html"].startswith("<iframe")
    assert shown["text/plain"].startswith("Training(courses ")
    [served] = re.findall(r"^Training\(courses \S+ in \S+; (\w+), ", shown["text/plain"])
    printed = cells["printed"][0].text
    for name in (served, "random", "popularity", "item-knn", "als-64", "ease-default"):
        assert f" {name} " in printed
    measured, popular = map(float, re.findall(r"0\.\d+", cells["compared"][0].text))
    assert measured > popular
    first, *items = cells["ask"][0].text.splitlines()
    assert first.startswith(f"for person-0, by {served} of ")
    assert len(items) == 5
    streams = {output.name for each in cells.values() for output in each if "name" in output}
    assert streams == {"stdout"}


@pytest.fixture(scope="module")
def node() -> str:
    """Node with the example's packages, which stay in its folder for the next time."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not installed")
    if not (NODE / "node_modules" / "@grpc" / "proto-loader").is_dir():
        quietly = ("--no-package-lock", "--no-audit", "--no-fund", "--fetch-timeout=20000")
        done = run(npm, "install", "--prefix", NODE, *quietly)
        if done.returncode and not os.environ.get("CI"):
            pytest.skip("npm cannot reach its registry")
        assert done.returncode == 0, done.stderr
    return node


def test_the_node_example_recommends(server: Running, node: str) -> None:
    done = run(node, NODE / "recommend.js", server.address, "u0")
    assert done.returncode == 0, done.stderr
    first, *items, last = done.stdout.splitlines()
    assert first == "for u0, by lightgcn of v1:"
    expected = server.client.top_k("u0", k=5, with_titles=True).items
    assert items == [f"{item.item_id} {item.score:.4f} {item.title}" for item in expected]
    assert last == "scored alike: true"


def test_the_node_example_tells_the_reason(server: Running, node: str) -> None:
    done = run(node, NODE / "recommend.js", server.address, "nobody")
    assert done.returncode == 1
    assert done.stderr.startswith("NOT_FOUND USER_NOT_FOUND: version 'v1' has no user 'nobody'")


@pytest.mark.skipif(
    not BUF.exists() and not os.environ.get("CI"), reason="buf is not installed: make buf"
)
def test_the_curl_page_is_true(server: Running) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", (EXAMPLES / "curl.md").read_text(), re.DOTALL)
    commands = re.findall(r"buf curl (?:.*\\\n)*.*", "".join(blocks))
    assert len(commands) == 6
    outputs = []
    for command in commands:
        line = command.replace("127.0.0.1:50051", server.address)
        line = line.replace("person-0", "u0").replace("course-258", "i3").replace("course-1", "i1")
        done = run(BUF, *shlex.split(line.replace("\\\n", " "))[1:])
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    for output, told in zip(
        outputs,
        ("titles", "probabilities", "USER_NOT_FOUND", "known", "servingVersion", "SERVING"),
        strict=True,
    ):
        assert told in output
