"""Tells running trials of every finished request: which side answered it, how, how fast."""

from typing import Any

from gnnrec_server.errors import ServingError
from gnnrec_server.query.recommender import Recommender
from gnnrec_server.rpc import requests
from gnnrec_server.trials.fault import Blame
from gnnrec_server.trials.shadow import Shadow
from gnnrec_server.trials.trials import Trials


class Witness:
    """Knows by what each request was answered, and tells the trials."""

    def __init__(
        self, recommender: Recommender, trials: Trials, shadow: Shadow, blame: Blame
    ) -> None:
        """Have `blame` count requests, and `shadow` compute again what the old sides answer."""
        self._recommender = recommender
        self._trials = trials
        self._shadow = shadow
        self._blame = blame

    @property
    def is_needed(self) -> bool:
        """Whether a trial is running, which wants to see what ends."""
        return bool(self._trials.running)

    def see(
        self, rpc: str, raw: bytes, request: Any, answer: Any, code: str, seconds: float
    ) -> dict[str, str]:
        """Return version, alias and variant as an answer, or else its request, names them.

        answer: the request itself where it has failed, None if it was never read; the request is
        None where an answer was ready for its bytes.
        """
        names = {name: getattr(answer, name, "") for name in ("version", "alias", "variant")}
        if answer is None:
            return names
        has_failed = answer is request
        if request is None:
            request = requests.read_request(rpc, raw)
        if not has_failed:
            answer = requests.read_answer(rpc, answer)
        if rpc == "BatchTopK":
            if not has_failed:
                for asked, given, its_code in requests.entries(request, answer):
                    self._see(asked, given, its_code, None)
        else:
            if has_failed and not names["version"]:
                names["version"] = self._version_for(request)
            self._see(request, answer, code, seconds)
        return names

    def _see(self, asked: Any, answer: Any, code: str, seconds: float | None) -> None:
        """Count one query; what names its version is of no side."""
        alias = asked.alias or self._recommender.serving.alias
        trial = self._trials.running.get(alias)
        if asked.version or trial is None:
            return
        version = answer.version or self._version_for(asked)
        self._blame.count(trial, asked, version, code, seconds)
        if trial.candidate.shadow and code == "OK" and version == trial.move.version:
            self._shadow.offer(trial, asked, answer)

    def _version_for(self, asked: Any) -> str:
        """Return the version that has failed to answer, empty where none was asked for rightly."""
        try:
            return self._recommender.serving.choose(*requests.asked(asked)).version
        except ServingError:
            return ""
