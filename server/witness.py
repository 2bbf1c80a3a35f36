"""Tells running trials of every finished request: which side answered it, how, how fast."""

from collections.abc import Callable
from typing import Any

from registry.attributes import Numbers
from server import wire
from server.errors import ServingError
from server.filters import AnyOf
from server.newcomers import takes
from server.plans import place
from server.queries import NewItem, NewUser, ScoreQuery, TopKQuery
from server.recommender import Recommender
from server.shadow import Shadow, Uncounted
from server.snapshot import Snapshot
from server.trials import Trial, Trials

# Codes that may be the caller's fault as well as the version's.
_TO_COMPARE = {"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION"}


class Witness:
    """Knows by what each request was answered, and tells the trials."""

    def __init__(
        self,
        recommender: Recommender,
        trials: Trials,
        shadow: Shadow,
        parse: Callable[[Any], TopKQuery | ScoreQuery],
    ) -> None:
        """Count into `trials`, and have `shadow` compute again what their old sides answer.

        `parse` makes a query of a request.
        """
        self._recommender = recommender
        self._trials = trials
        self._shadow = shadow
        self._parse = parse

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
            request = wire.read_request(rpc, raw)
        if not has_failed:
            answer = wire.read_answer(rpc, answer)
        if rpc == "BatchTopK":
            if not has_failed:
                for asked, given, its_code in wire.entries(request, answer):
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
        if code in _TO_COMPARE and not self._other_would_answer(trial, asked, version):
            return  # the caller's fault, whoever answers
        self._trials.count(alias, version, code, seconds)
        if trial.candidate.shadow and code == "OK" and version == trial.move.version:
            self._shadow.offer(trial, asked, answer)

    def _version_for(self, asked: Any) -> str:
        """Return the version that has failed to answer, empty where none was asked for rightly."""
        try:
            return self._recommender.serving.choose(*wire.asked(asked)).version
        except ServingError:
            return ""

    def _other_would_answer(self, trial: Trial, asked: Any, version: str) -> bool:
        """Tell whether the other side of a trial knows and has what a failed request asks for."""
        both = {trial.move.version, trial.candidate.version}
        other = next(iter(both - {version}), "") if version in both else ""
        resident = self._recommender.serving.residents.get(other)
        if resident is None:
            return False
        try:
            return can_answer(resident.snapshot, self._parse(asked))
        except ServingError:
            return False


def can_answer(snapshot: Snapshot, query: TopKQuery | ScoreQuery) -> bool:
    """Tell whether a version knows and has what a query asks for; nothing is searched or embedded.

    Of a newcomer it tells whether the variant takes such at all.
    """
    subject = query.subject
    variant = snapshot.variant(query.target.variant)
    if isinstance(subject, NewUser | NewItem):
        if not takes(variant, subject):
            return False
    else:
        place(snapshot, variant, subject, Uncounted(), include_seen=True)
    for each in query.filters if isinstance(query, TopKQuery) else ():
        attribute = snapshot.attributes.get(each.field)
        is_number = isinstance(attribute, Numbers)
        if attribute is None or is_number == isinstance(each.condition, AnyOf):
            return False
    return True
