"""A registry with files and folders that the user may not read."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gnnrec_registry import ModelStore
from tests import made

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def command() -> Iterator[Command]:
    """Run the command as a user without root's rights: exit code, stdout, stderr."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.registry.storage.another_user"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def run(*arguments: object) -> tuple[int, str, str]:
            assert process.stdin is not None
            assert process.stdout is not None
            print(json.dumps([*map(str, arguments)]), file=process.stdin, flush=True)
            code, out, err = json.loads(process.stdout.readline())
            return code, out, err

        yield run
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def root() -> Iterator[Path]:
    """A registry that everybody may read; its permissions are restored after the test."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        root = Path(folder) / "registry"
        for seed, version in enumerate(("v1", "v2")):
            made.publish(root, version=version, seed=seed)
        aliases = ModelStore(root, "toy").aliases
        aliases.promote("v2", alias="production")
        aliases.promote("v1", alias="production")
        aliases.promote("v1", alias="canary")
        yield root
        for parent, folders, _ in os.walk(folder):
            for name in folders:
                Path(parent, name).chmod(0o755)


def refused(outcome: tuple[int, str, str], path: Path) -> None:
    """Expect one line that says which path may not be read or written."""
    code, out, err = outcome
    assert code == 2, out
    *logged, line = err.splitlines()  # a server logs what it cannot read before it exits
    assert all(str(path) in each for each in logged)
    assert line.startswith(f"gnnrec: permission denied: {path} may not be "), line


COMMANDS = {
    "versions": ("versions",),
    "show": ("show", "v1"),
    "verify": ("verify", "v1"),
    "compare": ("compare", "v1", "v2"),
    "history": ("history",),
    "promote": ("promote", "v2"),
    "rollback": ("rollback",),
    "prune": ("prune", "--dry-run", "--keep", "0"),
    "serve": ("serve", "--address", "127.0.0.1:0", "--metrics-port", "0"),
    "report": ("report", "v1"),
    "index": ("report", "--index", "--html", "/dev/null"),
}


@pytest.mark.parametrize("closed", ["", "toy", "toy/versions"])
def test_every_command_says_that_it_may_not_read_and_what(
    command: Command, root: Path, closed: str
) -> None:
    (root / closed).chmod(0)
    for name, arguments in COMMANDS.items():
        if (name, closed) == ("history", "toy/versions"):
            continue  # this needs only the aliases
        # a move takes the lock before it looks for the version
        first = "toy/.lock" if (name, closed) == ("rollback", "toy/versions") else closed
        for model in ((), ("--model", "toy")):
            refused(command(*arguments, "--registry", root, *model), root / first)


def test_a_history_is_told_without_the_versions(command: Command, root: Path) -> None:
    (root / "toy" / "versions").chmod(0)
    code, out, err = command("history", "--registry", root)
    assert (code, err) == (0, "")
    assert out.count("promote") == 3


@pytest.mark.parametrize("closed", ["versions/v1", "versions/v1/manifest.json"])
def test_a_version_that_may_not_be_read_is_listed_as_such(
    command: Command, root: Path, closed: str
) -> None:
    path = root / "toy" / closed
    path.chmod(0)
    at = ("--registry", root)
    for arguments in (("show", "v1"), ("verify", "v1"), ("compare", "v2", "v1"), ("report", "v1")):
        refused(command(*arguments, *at), path)
    code, out, err = command("versions", *at)
    assert (code, err) == (0, "")
    assert f"permission denied: {path} may not be read" in out
    assert "v2" in out
    assert command("show", "v2", *at)[0] == 0


def test_a_file_of_a_version_that_may_not_be_read_is_no_damage(
    command: Command, root: Path
) -> None:
    path = root / "toy" / "versions" / "v1" / "lightgcn"
    path.chmod(0)
    refused(command("verify", "v1", "--registry", root), path)
    refused(command("promote", "v1", "--registry", root), path)
    path.chmod(0o755)
    (path / "items.npy").chmod(0)
    refused(command("verify", "v1", "--registry", root), path / "items.npy")


@pytest.mark.parametrize("name", ["serve", "promote", "rollback"])
def test_an_alias_that_may_not_be_read_is_named(command: Command, root: Path, name: str) -> None:
    path = root / "toy" / "aliases" / "production.json"
    path.chmod(0)
    refused(command(*COMMANDS[name], "--registry", root), path)


def test_versions_are_listed_beside_an_alias_that_may_not_be_read(
    command: Command, root: Path
) -> None:
    path = root / "toy" / "aliases" / "production.json"
    path.chmod(0)
    code, out, err = command("versions", "--registry", root)
    assert (code, err) == (0, "")
    assert f"alias production cannot be read: permission denied: {path} may not be read" in out
    assert "canary, production (damaged)" in out
    path.chmod(0o644)
    path.parent.chmod(0)
    refused(command("versions", "--registry", root), path.parent)


def test_what_may_not_be_looked_at_is_no_model_beside_one_that_is(
    command: Command, root: Path
) -> None:
    """Such as lost+found, which belongs to root, at the root of a disk."""
    (root / "lost+found").mkdir()
    (root / "lost+found").chmod(0)
    code, out, err = command("versions", "--registry", root)
    assert (code, err) == (0, "")
    assert "v1" in out


def test_a_registry_that_may_only_be_read_is_read_and_not_moved(
    command: Command, root: Path
) -> None:
    at = ("--registry", root)
    for parent, folders, files in os.walk(root):
        for name in folders:
            Path(parent, name).chmod(0o555)
        for name in files:
            Path(parent, name).chmod(0o444)
    root.chmod(0o555)
    for name in ("versions", "show", "verify", "history"):
        assert command(*COMMANDS[name], *at)[0] == 0
    assert command(*COMMANDS["prune"], *at) == (0, "nothing to delete\n", "")
    refused(command("promote", "v2", *at), root / "toy" / ".lock")
    refused(command("rollback", *at), root / "toy" / ".lock")
