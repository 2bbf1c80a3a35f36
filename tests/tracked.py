"""The files of the project: those that git tracks, whatever else lies beside them.

`python -m tests.tracked [--but PATTERN... --] PATTERN...` prints those that are written by hand,
for xargs -0, and leaves out what matches a pattern between --but and --.
"""

import subprocess
import sys
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Where there is no git, as in an archive of the sources: the folders that are the project's.
_FOLDERS = (
    ".ci", "benchmarks", "deploy", "docs", "examples", "gnnrec", "protos", "registry", "server",
    "tests", "training",
)  # fmt: skip


def tracked(*patterns: str) -> list[Path]:
    """Return the project's files that match any pattern, in order; a * matches slashes too."""
    return [ROOT / name for name in _names() if any(fnmatch(name, each) for each in patterns)]


@cache
def _names() -> list[str]:
    names = sorted(set(_of_git()) or set(_of_folders()))
    return [name for name in names if (ROOT / name).is_file()]  # and not deleted a moment ago


def _of_git() -> list[str]:
    """Return what git tracks, staged or committed; nothing where this is no checkout."""
    command = ["git", "ls-files", "-z"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    return [name for name in listed.decode().split("\0") if name]


def _of_folders() -> list[str]:
    found = [*ROOT.iterdir()]
    for folder in _FOLDERS:
        found += (ROOT / folder).rglob("*")
    names = (path.relative_to(ROOT) for path in found if path.is_file())
    left_out = {"__pycache__", "node_modules"}
    return [name.as_posix() for name in names if not left_out & set(name.parts)]


def _main(arguments: list[str]) -> None:
    left_out: list[Path] = []
    if arguments[:1] == ["--but"]:
        end = arguments.index("--")
        for pattern in arguments[1:end]:
            found = tracked(pattern)
            if not found:  # a file that was renamed would be taken for one that is not left out
                sys.exit(f"no file of the project matches {pattern}, which is to be left out")
            left_out += found
        arguments = arguments[end + 1 :]
    for path in tracked(*arguments):
        if "_pb2" not in path.name and path not in left_out:
            sys.stdout.write(f"{path.relative_to(ROOT)}\0")


if __name__ == "__main__":
    _main(sys.argv[1:])
