import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from gnnrec_registry import ModelStore
from gnnrec_server.process import background
from gnnrec_server.process.background import keep_running
from gnnrec_server.process.files import WatchedFiles
from gnnrec_server.rollout import file_events
from gnnrec_server.rollout.follow import Rollout
from gnnrec_server.rpc import tokens
from gnnrec_server.trials.guard import TrialGuard
from gnnrec_server.trials.trials import Trial
from tests import made
from tests.server.rollout.test_aliases import wait_for
from tests.server.running import Running, running, scrape


def test_work_that_fails_is_logged_counted_and_begun_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "_PAUSE_S", 0.001)
    begun: list[int] = []
    failed: list[str] = []

    async def work() -> None:
        begun.append(len(begun))
        if len(begun) < 4:
            raise KeyError(len(begun))

    asyncio.run(keep_running("the work", work, failed.append))
    assert begun == [0, 1, 2, 3]
    assert failed == ["the work"] * 3
    said = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert len(said) == 3
    assert all(each.exc_info is not None for each in said)


def test_work_that_is_cancelled_ends_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        task = asyncio.create_task(keep_running("it", asyncio.Event().wait, print))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert caplog.records == []


def test_work_that_awaits_what_somebody_cancels_is_begun_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thread that ends cancels what waits for it; background work must survive that."""
    monkeypatch.setattr(background, "_PAUSE_S", 0.001)
    begun: list[int] = []
    failed: list[str] = []

    async def work() -> None:
        begun.append(len(begun))
        if len(begun) == 1:
            awaited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            awaited.cancel()
            await awaited

    asyncio.run(keep_running("the work", work, failed.append))
    assert begun == [0, 1]
    assert failed == ["the work"]


def test_pauses_grow_while_it_fails_and_begin_anew_after_it_has_worked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []
    lasted = [0.0] * 10 + [61.0] + [0.0] * 2
    now = 0.0

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    async def work() -> None:
        nonlocal now
        if len(pauses) < len(lasted):
            now += lasted[len(pauses)]
            raise KeyError(len(pauses))

    async def run() -> None:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "time", lambda: now)
        monkeypatch.setattr("gnnrec_server.process.background.asyncio.sleep", pause)
        await keep_running("the work", work, lambda _: None)

    asyncio.run(run())
    assert pauses[:4] == [0.1, 0.2, 0.4, 0.8]
    assert pauses[9:] == [30.0, 0.1, 0.2, 0.4]


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    for seed, version in enumerate(("v1", "v2")):
        made.publish(tmp_path, version=version, seed=seed)
    store = ModelStore(tmp_path, "toy")
    store.aliases.promote("v1", alias="production")
    return store


def fail_once(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[str]:
    """Have a method raise at its next call only; return a list that grows with every call."""
    real = getattr(owner, name)
    calls: list[str] = []

    def method(*arguments: Any, **named: Any) -> Any:
        calls.append(name)
        if len(calls) == 1:
            raise KeyError("a defect")
        return real(*arguments, **named)

    monkeypatch.setattr(owner, name, method)
    return calls


def count(server: Running, task: str) -> float:
    return scrape(server).get(("gnnrec_background_failures_total", (("task", task),)), 0.0)


def test_the_aliases_are_followed_after_a_defect(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(store.layout.root) as server:
        fail_once(monkeypatch, Rollout, "look")
        wait_for(lambda: count(server, "following the aliases") == 1, "the defect is counted")
        store.aliases.promote("v2", alias="production")
        serving = server.server.recommender
        wait_for(lambda: serving.snapshot.version == "v2", "the move is seen")


def test_trials_are_guarded_after_a_defect(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(store.layout.root) as server:
        calls = fail_once(monkeypatch, TrialGuard, "_judge")
        store.aliases.try_out("v2", alias="production", percent=10)
        wait_for(lambda: count(server, "guarding the trials") == 1, "the defect is counted")
        wait_for(lambda: len(calls) > 2, "trials are judged again")


def test_a_trial_that_cannot_be_judged_stops_no_other(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.aliases.promote("v1", alias="another")
    judged = []

    async def judge(guard: TrialGuard, trial: Trial) -> None:
        judged.append(trial.move.alias)
        if trial.move.alias == "another":
            raise KeyError(trial.name)

    with running(store.layout.root, served_aliases=("another",)) as server:
        monkeypatch.setattr(TrialGuard, "_judge", judge)
        for alias in ("another", "production"):
            store.aliases.try_out("v2", alias=alias, percent=10)
        wait_for(lambda: "production" in judged and "another" in judged, "both are judged")
        wait_for(lambda: count(server, "guarding the trials") > 0, "the defect is counted")


def test_files_are_watched_after_a_defect(
    store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tokens"
    file.write_text(tokens.make("me")[1] + "\n")
    with running(store.layout.root, tokens_file=file) as server:
        fail_once(monkeypatch, WatchedFiles, "look")
        name = "watching certificates and tokens"
        wait_for(lambda: count(server, name) == 1, "the defect is counted")
        file.write_text(tokens.make("you")[1] + "\n")
        held = server.server.tokens
        assert held is not None
        wait_for(lambda: set(held.value.values()) == {"you"}, "the new tokens are read")


def test_events_are_watched_after_a_defect(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = fail_once(monkeypatch, file_events, "_watch_while_there")
    with running(store.layout.root, poll_interval_s=60.0) as server:
        wait_for(lambda: count(server, "watching the alias files") == 1, "the defect is counted")
        wait_for(lambda: len(calls) == 2, "it watches again")
        serving = server.server.recommender
        store.aliases.promote("v2", alias="production")
        wait_for(lambda: serving.snapshot.version == "v2", "the move is seen")
