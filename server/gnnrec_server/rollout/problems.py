"""Problems that last, such as an unreadable alias, logged when they begin and when they end."""

import logging
from collections.abc import Mapping

_log = logging.getLogger("gnnrec.server")


class Problems:
    """What cannot be read at the moment, and why."""

    def __init__(self) -> None:
        """Begin with none."""
        self._last: Mapping[str, str] = {}

    def show(self, problems: Mapping[str, str]) -> None:
        """Take the present problems, by what cannot be read; log which are new or gone."""
        for what, why in problems.items():
            if self._last.get(what) != why:
                _log.error("%s cannot be read: %s", what, why)
        for what in self._last.keys() - problems.keys():
            _log.info("%s can be read again", what)
        self._last = dict(problems)


def in_words(error: BaseException) -> str:
    """Return an error's message, or the name of its class where it has none."""
    return str(error) or type(error).__name__
