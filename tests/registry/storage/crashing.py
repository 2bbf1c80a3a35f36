"""A writer killed before its n-th file operation: python -m tests.registry.storage.crashing.

Arguments: WHAT FOLDER. For n = 1, 2, ... a process copies FOLDER/before to FOLDER/n, does WHAT
there, and kills itself before its n-th operation, until one finishes. Prints each operation.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gnnrec_registry import ModelStore
from tests import made

# Python's audit events of operations on files; fsync has none.
_EVENTS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}


def publish(root: Path) -> None:
    made.publish(root, version="new", seed=7)


def promote(root: Path) -> None:
    ModelStore(root, "toy").aliases.promote("v2", alias="production")


def prune(root: Path) -> None:
    ModelStore(root, "toy").prune(0)


WHAT: dict[str, Callable[[Path], None]] = {
    each.__name__: each for each in (publish, promote, prune)
}


def die_before(last: int, root: Path) -> None:
    """Kill this process with SIGKILL before its `last`-th operation on a file under `root`."""
    seen = 0
    under = str(root)

    def step(event: str) -> None:
        nonlocal seen
        seen += 1
        if seen == last:
            sys.stdout.write(event + "\n")
            sys.stdout.flush()
            os.kill(os.getpid(), signal.SIGKILL)

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _EVENTS and str(arguments[0]).startswith(under):
            step(f"{event} {Path(arguments[0]).name}")

    fsync = os.fsync

    def told(fd: Any) -> None:
        step("fsync")
        fsync(fd)

    os.fsync = told
    sys.addaudithook(hear)


def main(what: str, folder: Path) -> None:
    for number in range(1, 1000):
        root = folder / str(number)
        shutil.copytree(folder / "before", root)
        child = os.fork()
        if child == 0:
            die_before(number, root)
            WHAT[what](root)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            print("done" if status == 0 else f"failed {status}")
            return


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
