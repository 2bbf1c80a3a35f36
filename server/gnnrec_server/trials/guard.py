"""Ends a trial by itself where the candidate passes the limits that its promotion set."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor

from gnnrec_registry import ModelStore, RegistryError
from gnnrec_registry.errors import AliasConflict
from gnnrec_server.telemetry.trial_metrics import TrialMetrics
from gnnrec_server.trials.trials import Trial, Trials

_log = logging.getLogger("gnnrec.server")

_WHO = "gnnrec serve (guard)"


class TrialGuard:
    """Watches the trials that carry a guard."""

    def __init__(
        self,
        store: ModelStore,
        trials: Trials,
        metrics: TrialMetrics,
        writer: Executor,
        wake: Callable[[], None],
        interval_s: float,
    ) -> None:
        """Write to the registry in `writer`'s thread, then `wake` who follows it."""
        self._store = store
        self._trials = trials
        self._metrics = metrics
        self._writer = writer
        self._wake = wake
        self._interval_s = interval_s
        self._problems: dict[str, str] = {}
        """Why the trials of aliases cannot be ended, where they should be."""

    async def watch(self) -> None:
        """Judge every running trial, for ever; one that cannot be judged stops no other."""
        while True:
            await asyncio.sleep(self._interval_s)
            failures = []
            for trial in list(self._trials.running.values()):
                try:
                    await self._judge(trial)
                except Exception as error:
                    failures.append(error)
            if failures:
                raise ExceptionGroup("trials could not be judged", failures)

    async def _judge(self, trial: Trial) -> None:
        if trial.candidate.guard is None or not self._trials.is_running(trial):
            return  # it may have ended while another was judged
        if verdict := trial.verdict(self._trials.seen(trial)):
            await self._end(trial, verdict)

    async def _end(self, trial: Trial, verdict: str) -> None:
        """Roll the alias back, unless somebody has moved it meanwhile."""
        alias, version = trial.move.alias, trial.candidate.version

        def end() -> None:
            self._store.aliases.rollback(
                alias=alias,
                why=f"trial of {version} ended: {verdict}",
                who=_WHO,
                expected_generation=trial.move.generation,
            )

        try:
            await asyncio.get_running_loop().run_in_executor(self._writer, end)
        except AliasConflict:
            self._metrics.count_return(alias, "overtaken")
        except (RegistryError, OSError) as error:
            self._metrics.count_return(alias, "failed")
            if str(error) != self._problems.get(alias):
                self._problems[alias] = str(error)
                _log.error(
                    "alias %s: the trial of %s cannot be ended: %s; it should, as %s; end it by "
                    "hand: gnnrec rollback --alias %s", alias, version, error, verdict, alias,
                )  # fmt: skip
        else:
            self._problems.pop(alias, None)
            self._metrics.count_return(alias, "returned")
            _log.error("alias %s: trial of %s ended: %s", alias, version, verdict)
        self._wake()
