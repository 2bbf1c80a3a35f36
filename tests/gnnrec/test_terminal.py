import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.core import TyperGroup

import gnnrec
from gnnrec.cli.main import command, main
from gnnrec.terminal.table import printable
from tests.end_to_end.command import GNNREC, ok, run
from tests.gnnrec.measured import publish
from tests.gnnrec.test_comparison import HALVES, NDCG

TITLES = [
    f"A rather long title of an item, the \x1b[31mred\x1b[0m [bold]{n}[/bold]" for n in range(30)
]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry of two versions that answer differently."""
    root = tmp_path_factory.mktemp("registry")
    publish(root, "first-of-all", HALVES, NDCG, titles=TITLES)
    publish(root, "second", (HALVES[0], HALVES[1][::-1].copy()), NDCG / 2, titles=TITLES)
    return root


def on_a_terminal(arguments: list[str], columns: int) -> str:
    """Return what a command writes to a terminal of this width, without control sequences."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "COLUMNS": str(columns), "LINES": "40", "TERM": "xterm-256color"}
    process = subprocess.Popen(arguments, stdout=theirs, stderr=theirs, stdin=theirs, env=env)
    os.close(theirs)
    content, deadline = b"", time.monotonic() + 60
    while time.monotonic() < deadline and select.select([ours], [], [], 60)[0]:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux raises this when the other end is closed
            break
        if not part:
            break
        content += part
    os.close(ours)
    assert process.wait(30) == 0, content
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", content.decode())


def test_tables_fit_the_width_of_a_terminal(registry: Path) -> None:
    arguments = ["compare", "first-of-all", "second", "--registry", str(registry)]
    shown = on_a_terminal([str(GNNREC), *arguments], 60)
    lines = [line.rstrip() for line in shown.splitlines()]
    table = lines[next(n for n, line in enumerate(lines) if line.startswith("metric")) :]
    assert max(map(len, table)) <= 60
    assert "?[31mred" in "".join(lines).replace(" ", "")  # no escape sequence of a title
    assert "[bold]" in "".join(lines).replace(" ", "")
    plain = ok(*arguments)
    assert "\x1b" not in plain
    assert max(map(len, plain.splitlines())) > 60


def test_a_text_from_outside_moves_no_cursor() -> None:
    assert printable("a\x1b[2Jb\rc\u202ed é 映") == "a?[2Jb?c?d é 映"


PROGRAM = """
import time
from gnnrec.terminal import progress
progress._LONG_S = 0.3
with progress.Progress() as shown:
    shown.start("quick", 1)
    shown.start("counted", 50)
    for done in range(50):
        time.sleep(0.02)
        shown.advance(done + 1, "loss 0.5")
    shown.start("reading rows", 1)
    for done in range(1, 31):
        time.sleep(0.02)
        shown.count(1000 * done, 50_000 if done > 5 else None, f"{1000 * done:,} rows")
    shown.start("unknown", 1)
    time.sleep(0.5)
"""


def test_long_steps_show_their_rate_and_the_time_that_remains() -> None:
    shown = on_a_terminal([sys.executable, "-c", PROGRAM], 100)
    assert "quick" not in shown
    assert re.search(r"counted +\S+ +\d+% +[\d.]+/s +0:00:0\d +00:0\d +loss 0.5", shown)
    assert re.search(r"reading rows +\S+ +\d+% +[\d,]+/s +0:00:0\d +00:0\d +[\d,]+ rows", shown)
    assert "unknown" in shown


def test_without_a_terminal_only_long_steps_are_told_in_plain_lines() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert [line.split()[0] for line in lines] == ["counted", "reading", "unknown"]
    assert re.fullmatch(r"counted \d\.\d s loss 0\.5", lines[0])
    assert re.fullmatch(r"reading rows \d\.\d s 30,000 rows", lines[1])


LASTING = """
import time
from gnnrec.terminal import progress
with progress.Progress(starts=True, every_s=0.4) as shown:
    shown.start("lightgcn", 60)
    for step in range(50):
        time.sleep(0.02)
        shown.advance(30 + step / 5, "loss 0.5")
    shown.start("reading", 1)
    for step in range(50):
        time.sleep(0.02)
        shown.count(1000 * step, None, f"{1000 * step:,} rows")
    shown.start("hanging", 1)
    time.sleep(1)
"""


def test_a_training_without_a_terminal_tells_how_its_steps_begin_and_go_on() -> None:
    """A line at the start of a step and others while it runs, even if it reports no progress."""
    done = subprocess.run(
        [sys.executable, "-c", LASTING], capture_output=True, text=True, check=True
    )
    lines = done.stderr.splitlines()
    assert [line for line in lines if line.endswith(" ...")] == [
        "lightgcn ...",
        "reading ...",
        "hanging ...",
    ]
    first = next(line for line in lines if re.match(r"lightgcn \d", line))
    found = re.fullmatch(
        r"lightgcn \d+ s, 3\d\.\d of 60, (\d+\.\d)/s, about (\d+) s left, loss 0\.5", first
    )
    assert found, first
    assert 5 < float(found[1]) <= 10, "what a resumed training had done before is not its rate"
    assert any(re.fullmatch(r"reading \d+ s, [\d,]+/s, [\d,]+ rows", line) for line in lines)
    assert any(re.fullmatch(r"hanging \d+ s", line) for line in lines)


class Shell:
    """Runs the command in this process, which is faster than starting another."""

    def __init__(self, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]) -> None:
        self._patch, self._capture = patch, capture

    def run(self, *arguments: object, **env: str) -> tuple[int, str, str]:
        """Return the exit code, the output and the error output."""
        with self._patch.context() as patch:
            patch.setattr(sys, "argv", ["gnnrec", *map(str, arguments)])
            for name, value in env.items():
                patch.setenv(name, value)
            code = 0
            try:
                main()
            except SystemExit as stopped:
                code = int(stopped.code or 0)
        out, err = self._capture.readouterr()
        return code, out, err

    def refusal(self, *arguments: object) -> str:
        """Run a command that must refuse with exit code 2, and return its line."""
        code, out, err = self.run(*arguments)
        assert (code, out) == (2, "")
        (line,) = err.splitlines()
        return line


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(monkeypatch, capsys)


def test_a_shell_is_offered_commands_versions_and_models(registry: Path, shell: Shell) -> None:
    def offered(line: str) -> list[str]:
        _, out, _ = shell.run(
            _GNNREC_COMPLETE="complete_bash",
            COMP_WORDS=line,
            COMP_CWORD=str(len(line.split(" ")) - 1),
            GNNREC_REGISTRY=str(registry),
        )
        return out.split()

    assert offered("gnnrec com") == ["compare"]
    assert offered("gnnrec report ") == ["first-of-all", "second"]
    assert offered("gnnrec compare first-of-all se") == ["second"]
    assert offered("gnnrec show --model ") == ["toy"]
    assert offered("gnnrec show --registry /nowhere ") == []
    # then --show-completion takes the shell as an argument
    named = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    assert "complete -o default -F" in shell.run("--show-completion", "bash", **named)[1]


def test_programs_can_read_every_answer() -> None:
    """Every subcommand has --json except serve, which prints one line and a log."""
    commands = command().commands
    rollout = commands.pop("rollout")
    assert isinstance(rollout, TyperGroup)
    without = {
        name
        for name, each in {**commands, **rollout.commands}.items()
        if "json" not in {parameter.name for parameter in each.params}
    }
    assert without == {"serve"}


def test_the_help_names_arguments_and_variables_once(shell: Shell) -> None:
    """Typer writes brackets around an optional argument, and braces around a required one."""
    said = shell.run("report", "--help")[1]
    assert "gnnrec report [OPTIONS] [VERSION]\n" in said
    assert "GNNREC_OPEN]" in said
    assert "gnnrec compare [OPTIONS] {A} {B}\n" in shell.run("compare", "--help")[1]
    assert "gnnrec topk [OPTIONS] [USER]\n" in shell.run("topk", "--help")[1]


def test_report_says_where_the_page_is_and_opens_it(registry: Path, tmp_path: Path) -> None:
    page = registry / "toy/versions/second/report/index.html"
    at = ("--registry", registry)
    assert ok("report", "second", *at) == f"{page}\n"
    assert json.loads(ok("report", "second", *at, "--json")) == {
        "version": "second",
        "page": str(page),
    }
    copy = tmp_path / "copy.html"
    assert ok("report", "second", *at, "--html", copy) == f"{copy}\n"
    assert copy.read_bytes() == page.read_bytes()
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    browser.chmod(0o755)
    done = run("report", "--index", "--open", *at, env={"BROWSER": f"{browser} %s"})
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{registry}/index.html\n"
    assert (tmp_path / "opened").read_text().strip() == (registry / "index.html").as_uri()
    assert "Registry" in (registry / "index.html").read_text()


def test_comparisons_and_reports_refuse_in_one_line(
    registry: Path, tmp_path: Path, shell: Shell
) -> None:
    at = ("--registry", registry)
    assert "no version 'v9'" in shell.refusal("compare", "second", "v9", *at)
    assert "no variant 'x'" in shell.refusal("compare", "second", "second", "--variant", "x", *at)
    assert "no version 'v9'" in shell.refusal("report", "v9", *at)
    assert "no model in" in shell.refusal("report", "--index", "--registry", tmp_path)
    missing = tmp_path / "none" / "page.html"
    assert "none" in shell.refusal("compare", "second", "second", "--html", missing, *at)
    for wrong in (("report",), ("report", "second", "--index"), ("compare", "a", "b", "--open")):
        assert shell.run(*wrong, *at)[0] == 2


def test_a_comparison_is_a_page_and_an_object_for_programs(
    registry: Path, tmp_path: Path, shell: Shell
) -> None:
    page = tmp_path / "page.html"
    compared = ("compare", "first-of-all", "second", "--registry", registry)
    done = json.loads(shell.run(*compared, "--json", "--html", page)[1])
    assert done["page"] == str(page)
    assert done["metrics"][0]["verdict"] == "worse"
    assert "B is worse" in page.read_text()


def test_no_option_takes_the_variable_of_the_folder_of_downloads() -> None:
    """GNNREC_CACHE and GNNREC_CACHE_GB set the cache of registries at URLs, for every command."""
    taken = {
        str(parameter.envvar) for each in command().commands.values() for parameter in each.params
    }
    assert "GNNREC_MAX_K" in taken
    assert not taken & {"GNNREC_CACHE", "GNNREC_CACHE_GB"}


def test_help_and_version_import_nothing_heavy() -> None:
    """Importing numpy, pydantic or gRPC would take longer than the rest."""
    for arguments in ([], ["--help"], ["--version"]):
        script = (
            "import sys\nfrom gnnrec.cli.main import command\ntry:\n"
            f"    command()({arguments!r}, prog_name='gnnrec')\nexcept SystemExit:\n    pass\n"
            "print(sorted({'numpy', 'pydantic', 'grpc', 'rich', 'polars'} & set(sys.modules)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        )
        assert done.stdout.endswith("[]\n"), done.stdout


def test_the_command_tells_its_version_and_is_a_module_too() -> None:
    for command_line in ([str(GNNREC)], [sys.executable, "-m", "gnnrec"]):
        done = subprocess.run([*command_line, "--version"], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, f"gnnrec {version('gnnrec')}\n")


def test_the_package_offers_what_it_names() -> None:
    assert set(gnnrec.__all__) <= set(dir(gnnrec))
    for name in gnnrec.__all__:
        assert getattr(gnnrec, name).__name__ == name
    with pytest.raises(AttributeError, match="'gnnrec' has no attribute 'Chient'"):
        gnnrec.Chient  # noqa: B018
