"""promote with its checks and trials, rollback, history and rollout status, as people run them."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gnnrec import Client
from gnnrec.cli.main import main
from gnnrec_registry import ModelStore
from tests import made
from tests.end_to_end.command import GNNREC
from tests.server.running import running
from tests.server.waiting import until

Say = Callable[..., str]


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """Run the command in this process and return its output, or the error message of a refusal."""

    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["gnnrec", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert ended.value.code == (2 if err else 0)
        return out or err

    return run


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed, (version, recall) in enumerate((("v1", 0.5), ("v2", 0.51), ("worse", 0.3))):
        made.publish(tmp_path, version=version, seed=seed, recall=recall, people=100)
    ModelStore(tmp_path, "toy").aliases.promote("v1", alias="production")
    return tmp_path


def test_a_worse_or_damaged_version_needs_force_and_a_reason(root: Path, say: Say) -> None:
    at = ("--registry", root)
    line = say("promote", "worse", *at)
    assert "recall@20 0.3000, was 0.5000" in line
    assert "--force --why REASON" in line
    assert "--force needs --why" in say("promote", "worse", *at, "--force")
    path = root / "toy" / "versions" / "v2" / "items.ids"
    path.write_bytes(path.read_bytes()[:-2])
    assert "items.ids has" in say("promote", "v2", *at, "--percent", 5)
    assert ModelStore(root, "toy").aliases.get("production").generation == 1
    said = say("promote", "worse", *at, "--force", "--why", "new items matter more")
    assert said == "production is now worse (was v1)\nnot checked: --force\n"
    history = say("history", *at)
    assert re.search(r"promote \(forced\) +v1 +worse +new items matter more", history)


UNTRAINED = """
name = "poor"
[data]
interactions = "poor.csv"
[lightgcn]
embedding_dim = 4
[lightgcn.training]
epochs = 1
learning_rate = 1e-9
[evaluation]
k = [5]
"""


def test_a_model_that_loses_to_popularity_is_published_and_needs_force_to_be_served(
    tmp_path: Path, say: Say
) -> None:
    """People have what is popular, and the model is as random as it began."""
    generator = np.random.default_rng(0)
    pairs = {(u, int(item)) for u in range(200) for item in generator.zipf(1.3, 15) % 60}
    lines = [f"u{user},i{item}" for user, item in sorted(pairs)]
    (tmp_path / "poor.csv").write_text("\n".join(["user_id,item_id", *lines]) + "\n")
    (tmp_path / "poor.toml").write_text(UNTRAINED)
    at = ("--registry", tmp_path / "registry")
    printed = say("train", tmp_path / "poor.toml", *at, "--promote", "production")
    *table, sentence = printed.splitlines()
    assert sentence.startswith("lightgcn is served: NDCG@5 ")
    assert sentence.endswith("; it is not promoted unless forced.")
    beside = next(place for place, line in enumerate(table) if line.startswith("on test"))
    assert [line.split()[0] for line in table[beside + 1 :]][:2] == ["lightgcn", "popularity"]
    store = ModelStore(tmp_path / "registry", "poor")
    (version,) = store.versions()
    refused = say("promote", version.name, *at)
    assert "does not beat the simple baseline 'popularity' (lightgcn is served: " in refused
    assert "nothing was moved" in refused
    assert store.aliases.history() == []
    forced = say("promote", version.name, *at, "--force", "--why", "to see it in the shadow")
    assert forced.startswith(f"production is now {version.name}")


def test_what_does_not_fit_together_is_said(root: Path, say: Say) -> None:
    at = ("--registry", root)
    for options in (("--shadow", "--percent", 100), ("--max-errors", 0.1), ("--max-p99-ms", 9)):
        assert "are for a trial" in say("promote", "v2", *at, *options)
    assert "give the trial a percentage" in say(
        "promote", "v2", *at, "--shadow", "--max-errors", 0.1
    )
    assert "or a shadow, not 0" in say("promote", "v2", *at, "--percent", 0)
    assert "no alias 'next'" in say("promote", "v2", *at, "--alias", "next", "--percent", 5)


def test_a_trial_from_its_begin_to_its_end(root: Path, say: Say) -> None:
    at = ("--registry", root)
    with running(root) as server:
        status = ("rollout", "status", "--address", server.address)
        assert re.search(r"production +v1 +v1 +-", say(*status))
        said = say("promote", "v2", *at, "--percent", 50, "--shadow", "--max-errors", 0.5)
        assert "compared with 'v1' on test\n" in said
        assert "production is still v1, and tries v2 (50% + shadow)\n" in said
        until(lambda: "production" in server.server.recommender.serving.candidates)
        for number in range(60):
            server.client.top_k(f"u{number}")
        until(lambda: server.client.get_model().trials[0].shadowed.compared > 10)
        (trial,) = server.client.get_model().trials
        assert trial.stable.requests + trial.candidate.requests == 60
        words = say(*status)
        assert "production: v2 on trial: 50% of users and shadow" in words
        assert re.search(r"new +v2 +\d+ +\d+\.\d% +0 \(0\.0%\) +\d+\.\d\d ms", words)
        assert re.search(r"overlap \d+\.\d%, score drift \d", words)
        assert '"percent": 50.0' in say(*status, "--json")
        said = say("rollback", *at, "--why", "enough seen")
        assert said == "production is still v1; the trial of v2 (50% + shadow) has ended\n"
        until(lambda: not server.client.get_model().trials)
    history = say("history", *at)
    assert re.search(r"promote +v1 +v1 \+ v2 \(50% \+ shadow\)", history)
    assert re.search(r"rollback +v1 +v1 +enough seen", history)


def test_an_alias_that_another_version_answers_for_is_said(root: Path, say: Say) -> None:
    (root / "toy" / "versions" / "v2" / "items.ids").unlink()
    with running(root) as server:
        ModelStore(root, "toy").aliases.promote("v2", alias="production")
        until(lambda: "v2" in server.server.rollout.refusals)
        line = "production names v2, and is answered by v1: gnnrec status says why"
        assert line in say("rollout", "status", "--address", server.address)


def test_a_registry_that_vanishes_is_said_and_what_was_read_last_is_shown(
    root: Path, say: Say
) -> None:
    with running(root) as server:
        status = ("rollout", "status", "--address", server.address)
        assert "cannot be read" not in say(*status)
        root.rename(root.with_name("away"))
        shown = say(*status)
        assert re.search(r"production +v1 +v1 +-", shown)
        assert f"the registry cannot be read now; that was before: no registry at {root}" in shown
        assert "cannot be read now: no registry at" in say("status", "--address", server.address)
        assert f"no model in {root}: it is empty, or no registry" in say(
            "history", "--registry", root
        )
        root.with_name("away").rename(root)
        assert "cannot be read" not in say(*status)


def test_a_damaged_alias_says_how_it_is_mended(root: Path, say: Say) -> None:
    at = ("--registry", root)
    say("promote", "v2", *at)
    (root / "toy" / "aliases" / "production.json").write_text('{"version": "v')
    for command in (("promote", "v1"), ("rollback",)):
        line = say(*command, *at)
        assert "production.json is damaged" in line
        assert "gnnrec promote VERSION --alias production --force --why REASON" in line
    with running(root) as server:
        assert server.server.recommender.serving.current.version == "v2", "by the history"
        assert "production.json is damaged" in say("rollout", "status", "--address", server.address)
        say("promote", "v1", *at, "--force", "--why", "the file was damaged")
        until(lambda: server.server.recommender.serving.current.version == "v1")
    moves = ModelStore(root, "toy").aliases.history("production")
    assert [(move.generation, move.version) for move in moves] == [(1, "v1"), (2, "v2"), (3, "v1")]


def test_a_hangup_makes_the_server_look(root: Path) -> None:
    command = [
        str(GNNREC), "serve", "--registry", str(root), "--address", "127.0.0.1:0",
        "--metrics-port", "0", "--poll-interval", "600", "--drain", "0",
    ]  # fmt: skip
    store = ModelStore(root, "toy")
    path = root / "toy" / "versions" / "v2" / "items.ids"
    content = path.read_bytes()
    path.write_bytes(content[:-2])
    store.aliases.promote("v2", alias="production")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    ) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            assert "serving toy v1 (production)" in line, "what it named before stands in"
            path.write_bytes(content)
            server.send_signal(signal.SIGHUP)
            with Client(line.split(" on ")[1].split(",")[0]) as client:
                until(lambda: client.get_model().serving_version == "v2", limit_s=20)
        finally:
            server.terminate()
        assert server.wait(20) == 0
        assert server.stderr is not None
        assert "alias production names version v2, which cannot be served; v1" in (
            server.stderr.read()
        )
