"""What the registry says, as far as a server follows it."""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from registry import ModelStore, Move, RegistryError, Version
from registry.errors import AliasCorrupt, NoSuchAlias

_log = logging.getLogger("gnnrec.server")

EVERY_ALIAS = "*"


@dataclass(frozen=True)
class Followed:
    """Which aliases a server answers for, and how many versions it keeps."""

    alias: str
    """The one that answers requests which name none."""
    others: tuple[str, ...] = ()
    """Further ones, where they exist; "*" stands for all there are."""
    keep: int = 1
    """How many of the versions last served under `alias` stay, the current one included."""


@dataclass(frozen=True)
class View:
    """The aliases to be followed, the server's own first, and what else there is."""

    moves: Mapping[str, Move]
    """The last move of each."""
    unreadable: frozenset[str]
    """Aliases that are there and cannot be read."""
    stand_ins: Mapping[str, list[str]]
    """For an alias that nothing is served for: what may answer in its place, the best first."""
    stamps: Mapping[str, object]
    """The state of the files of each version that was refused."""
    aliases: frozenset[str]
    versions: frozenset[str]

    @property
    def wanted(self) -> list[str]:
        """What aliases ask for, whatever is served."""
        return self.lacking({})

    def lacking(self, served: Mapping[str, str]) -> list[str]:
        """Return what is to be loaded, in this order: what is named, what stands in, what is tried.

        served: the aliases that something answers for, so that nothing need stand in.
        """
        moves = self.moves.values()
        return [
            *(move.version for move in moves),
            *(
                version
                for alias, versions in self.stand_ins.items()
                if alias not in served
                for version in versions
            ),
            *(move.candidate.version for move in moves if move.candidate is not None),
        ]


class Lookout:
    """Reads the registry for a server."""

    def __init__(
        self, store: ModelStore, followed: Followed, on_error: Callable[[], object]
    ) -> None:
        """`on_error` hears of every alias that cannot be read."""
        self._store = store
        self._followed = followed
        self._on_error = on_error
        self._said: set[str] = set()

    def read(self, served: Mapping[str, str], refused: Collection[str]) -> View:
        """Return what there is to follow; raises RegistryError or OSError for the own alias.

        served: the version of each alias that is answered for; refused: versions that failed.
        """
        own, others = self._followed.alias, self._followed.others
        moves = {own: self._move(own, served)}
        names, unreadable = self._store.layout.alias_names(), set()
        for name in names if EVERY_ALIAS in others else others:
            if name in moves:
                continue
            try:
                moves[name] = self._move(name, served)
            except NoSuchAlias:
                continue  # not yet, or no longer
            except (RegistryError, OSError) as error:
                unreadable.add(name)
                self._on_error()
                self._say(f"alias {name} cannot be read: {error}")
        return View(
            moves=moves,
            unreadable=frozenset(unreadable),
            stand_ins={
                name: self._stand_ins(name, move.version)
                for name, move in moves.items()
                if name not in served and move.version in refused
            },
            stamps={version: self._store.stamp(version) for version in refused},
            aliases=frozenset(names),
            versions=frozenset(self._store.layout.version_names()),
        )

    def _move(self, alias: str, served: Mapping[str, str]) -> Move:
        """Return an alias's last move; by the history where its file is damaged at the start."""
        try:
            return self._store.aliases.get(alias)
        except AliasCorrupt as error:
            recorded = [] if alias in served else self._store.aliases.recorded(alias)
            if not recorded:
                raise
            self._on_error()
            self._say(f"{error}; until then it is {recorded[-1].version}, as the history says")
            return recorded[-1]

    def _stand_ins(self, alias: str, version: str) -> list[str]:
        """Return what may answer in place of an alias's version: what it named before, then all.

        The server's own alias alone takes any version, the newest first: it must answer.
        """
        try:
            found = self._store.aliases.earlier(alias)
        except (RegistryError, OSError) as error:
            self._say(f"the history of alias {alias} cannot be read: {error}")
            found = []
        if alias == self._followed.alias:
            found += [each.name for each in self._store.versions() if isinstance(each, Version)]
        return [each for each in dict.fromkeys(found) if each != version]

    def _say(self, problem: str) -> None:
        """Log a problem, once: it is met again at every look."""
        if problem not in self._said:
            self._said.add(problem)
            _log.error("%s", problem)
