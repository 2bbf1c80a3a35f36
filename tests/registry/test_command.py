"""The output of the command for a registry with damaged files."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gnnrec.cli.main import main
from gnnrec_registry import ModelStore
from gnnrec_registry.files.json import Json
from tests import made

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Versions v1 to v3; production names v2, canary v1."""
    for seed, version in enumerate(("v1", "v2", "v3")):
        made.publish(tmp_path, version=version, seed=seed)
    aliases = ModelStore(tmp_path, "toy").aliases
    for version in ("v1", "v2"):
        aliases.promote(version, alias="production")
    aliases.promote("v1", alias="canary")
    return tmp_path


@pytest.fixture
def say(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """Run the command on the registry: exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["gnnrec", *map(str, arguments), "--registry", str(root)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def damage_alias(root: Path, alias: str = "production") -> Path:
    """Write a mistyped version into the alias file."""
    path = root / "toy" / "aliases" / f"{alias}.json"
    path.write_text(path.read_text().replace('"v', '"v '))
    return path


def damage_history(root: Path) -> Path:
    path = root / "toy" / "history.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0][:50] + b"\n" + b"".join(lines[1:]))
    return path


def test_versions_are_listed_and_a_damaged_alias_is_marked(root: Path, say: Say) -> None:
    """To repair it one needs the version that the alias named last."""
    path = damage_alias(root)
    code, out, err = say("versions")
    assert (code, err) == (0, "")
    lines = {line.split()[0]: line for line in out.splitlines() if line.startswith("v")}
    assert lines["v2"].endswith("production (damaged)")
    assert lines["v1"].endswith("canary")
    assert f"alias production cannot be read: {path} is damaged: " in out
    assert "gnnrec promote VERSION --alias production --force --why REASON" in out
    told = json.loads(say("versions", "--json")[1])
    (damaged,) = told["damaged_aliases"]
    assert (damaged["alias"], damaged["version"]) == ("production", "v2")
    assert f"{path} is damaged" in damaged["reason"]
    assert {row["version"]: row["aliases"] for row in told["versions"]} == {
        "v3": [], "v2": [], "v1": ["canary"],
    }  # fmt: skip
    assert say("promote", "v2", "--force", "--why", "a typo")[0] == 0
    assert json.loads(say("versions", "--json")[1])["damaged_aliases"] == []


def test_a_damaged_alias_stops_no_command_that_does_not_need_it(root: Path, say: Say) -> None:
    path = damage_alias(root)
    for arguments in (
        ("show", "v1"), ("verify", "v1"), ("promote", "v3", "--alias", "canary"),
        ("rollback", "--alias", "canary"), ("prune", "--keep", 3), ("history", "--alias", "canary"),
    ):  # fmt: skip
        assert say(*arguments)[::2] == (0, ""), arguments
    code, out, err = say("history")
    assert code == 0
    assert len(out.splitlines()) == 6
    assert err.splitlines()[0].startswith(f"gnnrec: cannot be read: {path} is damaged: ")
    for needing in ("promote v3", "rollback", "prune --keep 0"):
        code, _, err = say(*needing.split())
        assert code == 2
        assert f"{path} is damaged: " in err.splitlines()[0]
    assert ModelStore(root, "toy").layout.version_names() == ["v1", "v2", "v3"]


def test_a_page_of_the_registry_shows_what_cannot_be_read(root: Path, say: Say) -> None:
    path, history = damage_alias(root), damage_history(root)
    assert say("report", "--index", "--html", root / "page.html")[0] == 0
    page = (root / "page.html").read_text()
    assert f"Cannot be read: {path} is damaged" in page
    assert f"Cannot be read: {history} line 1: " in page
    assert "v3" in page


def test_history_tells_the_rest_and_mends_when_told_to(root: Path, say: Say) -> None:
    path = damage_history(root)
    code, out, err = say("history")
    assert code == 0
    assert len(out.splitlines()) == 3
    (line,) = err.splitlines()
    assert line.startswith(f"gnnrec: cannot be read: {path} line 1: ")
    assert line.endswith("gnnrec history --mend")
    code, out, err = say("history", "--json")
    assert (code, len(json.loads(out)), len(err.splitlines())) == (0, 2, 1)
    code, out, err = say("history", "--mend")
    assert (code, len(out.splitlines())) == (0, 3)
    assert err.startswith("gnnrec: set aside: ")
    assert say("history")[2] == ""
    assert (root / "toy" / "history.damaged").read_bytes().startswith(b'{"action": "promote"')


def test_a_limit_that_is_no_number_is_said(say: Say) -> None:
    code, _, err = say("promote", "v3", "--percent", 5, "--max-p99-ms", "inf")
    assert code == 2
    assert err == "gnnrec: --max-p99-ms: Input should be a finite number\n"


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (
            {"minutes": 0.5, "out_of_time": True, "trials": [{}, {}], "why": "ease: simplest"},
            "search, 0.5 minutes, ended by the clock, 2 trials: ease: simplest",
        ),
        (
            {"minutes": 0.0, "out_of_time": False, "trials": [{}], "why": "als: best"},
            "search, each kind once, 1 trial: als: best",
        ),
    ],
)
def test_show_says_in_a_line_what_a_search_tried(
    root: Path, say: Say, record: Json, said: str
) -> None:
    export = made.export(made.embeddings(3, 4), made.embeddings(5, 4))
    ModelStore(root, "toy").publish(replace(export, search=record), version="v4")
    assert said in say("show", "v4")[1].splitlines()
    assert "search" not in say("show", "v3")[1]
