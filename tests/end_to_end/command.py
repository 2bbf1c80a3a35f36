"""The gnnrec command as a person runs it: a process, its output, its exit code."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

GNNREC = Path(sys.executable).parent / "gnnrec"


def run(
    *arguments: object, env: dict[str, str] | None = None, command: Path = GNNREC
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [str(command), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(env or {})},
        timeout=250,
    )


def ok(*arguments: object, env: dict[str, str] | None = None, command: Path = GNNREC) -> str:
    """Run the command, which must succeed, and return its output."""
    done = run(*arguments, env=env, command=command)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refusal(*arguments: object, env: dict[str, str] | None = None) -> str:
    """Run the command, which must refuse with exit code 2, and return its one line."""
    done = run(*arguments, env=env)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("gnnrec: "), done.stderr
    return line


@contextmanager
def serving(
    registry: Path,
    model: str,
    *options: object,
    env: dict[str, str] | None = None,
    command: Path = GNNREC,
) -> Iterator[str]:
    """Serve a model on free ports and yield its address; SIGTERM must end it with exit code 0."""
    process = subprocess.Popen(
        [
            str(command), "serve", "--registry", str(registry), "--model", model,
            "--address", "127.0.0.1:0", "--metrics-port", "0", *map(str, options),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.match(r"serving \S+ \S+ \(\S+\) on (\S+:\d+), metrics on http://", line)
        if found is None:
            process.kill()
            raise AssertionError(line + process.communicate()[1])
        yield found.group(1)
    finally:
        process.terminate()
        try:
            process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 0
