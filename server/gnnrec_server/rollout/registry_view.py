"""Reading the registry for a server: the aliases that it follows, and which versions they want."""

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass

from gnnrec_registry import ModelStore, Move, Version
from gnnrec_registry.errors import AliasCorrupt, NoSuchAlias
from gnnrec_server.rollout.problems import Problems, in_words

EVERY_ALIAS = "*"


@dataclass(frozen=True)
class FollowedAliases:
    """Which aliases a server answers for, and how many versions it keeps."""

    alias: str
    """The one that answers requests which name none."""
    others: tuple[str, ...] = ()
    """Further ones, where they exist; "*" stands for all there are."""
    keep: int = 1
    """How many of the versions last served under `alias` stay, the current one included."""


@dataclass(frozen=True)
class RegistryView:
    """What was read: the followed aliases, the server's own first, and which versions there are."""

    moves: Mapping[str, Move]
    """The last move of each that is known; of one that cannot be read now, as it was read last."""
    stand_ins: Mapping[str, list[str]]
    """For an alias whose version is refused, and that nothing answers for: the versions that may
    answer in its place, the best first."""
    stamps: Mapping[str, object]
    """The state of the files of each version that was refused, where it can be seen."""
    aliases: frozenset[str]
    versions: frozenset[str]

    @property
    def wanted(self) -> list[str]:
        """All versions that the aliases want, whichever are served."""
        return self.lacking({})

    def lacking(self, served: Mapping[str, str]) -> list[str]:
        """Return the versions to load: first those named, then stand-ins, then candidates.

        served: the aliases that a version answers for, and so need no stand-in.
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


class RegistryReader:
    """Reads the registry for a server.

    A fault in one alias or version concerns that one alone. What cannot be read is taken to be as
    it was read last, until it can be read again or is gone.
    """

    def __init__(
        self, store: ModelStore, followed: FollowedAliases, on_error: Callable[[], object]
    ) -> None:
        """`on_error` is called for each thing that cannot be read, at every reading."""
        self._store = store
        self._followed = followed
        self._on_error = on_error
        self._problems = Problems()
        self._moves: dict[str, Move] = {}
        self._aliases: frozenset[str] = frozenset()
        self._versions: frozenset[str] = frozenset()

    def read(self, served: Mapping[str, str], refused: Collection[str]) -> RegistryView:
        """Read the followed aliases; raise if the server's own could not be read even once.

        served: the version that answers for each alias; refused: what cannot be served
        """
        problems: dict[str, str] = {}
        self._list(problems)
        followed = self._to_follow()
        for alias in followed:
            self._follow(alias, problems)
        moves = {alias: self._moves[alias] for alias in followed if alias in self._moves}
        view = RegistryView(
            moves=moves,
            stand_ins={
                alias: self._stand_ins(alias, move.version, problems)
                for alias, move in moves.items()
                if alias not in served and move.version in refused
            },
            stamps=self._stamps(refused),
            aliases=self._aliases,
            versions=self._versions,
        )
        for _ in problems:
            self._on_error()
        self._problems.show(problems)
        return view

    def stamp(self, version: str) -> object:
        """Return the state of a version's files, None where it cannot be seen."""
        return self._stamps([version]).get(version)

    def _list(self, problems: dict[str, str]) -> None:
        """Note which aliases and versions there are."""
        layout = self._store.layout
        try:
            aliases, versions = layout.alias_names(), layout.version_names()
            if not versions:
                layout.require()  # a model without any is rather one that is not there
        except Exception as error:
            problems["the registry"] = in_words(error)
        else:
            self._aliases, self._versions = frozenset(aliases), frozenset(versions)

    def _to_follow(self) -> list[str]:
        """Return the aliases to be read, the own first."""
        others = self._followed.others
        if EVERY_ALIAS in others:
            others = tuple(sorted(self._aliases | self._moves.keys()))
        return list(dict.fromkeys([self._followed.alias, *others]))

    def _follow(self, alias: str, problems: dict[str, str]) -> None:
        """Note an alias's last move; one that cannot be read stays as it was."""
        is_own = alias == self._followed.alias
        try:
            self._moves[alias] = self._last(alias, problems)
        except NoSuchAlias as error:
            if is_own and alias not in self._moves:
                raise
            if is_own:  # somebody must answer
                problems[f"alias {alias}"] = in_words(error)
            else:  # not yet, or no longer
                self._moves.pop(alias, None)
        except Exception as error:
            if is_own and alias not in self._moves:
                raise
            problems[f"alias {alias}"] = in_words(error)

    def _last(self, alias: str, problems: dict[str, str]) -> Move:
        """Return an alias's last move; by the history where its file is damaged at the start."""
        try:
            return self._store.aliases.get(alias)
        except AliasCorrupt as error:
            if alias in self._moves:
                raise
            recorded = self._recorded(alias)
            if not recorded:
                raise
            named = recorded[-1].version
            problems[f"alias {alias}"] = f"{error}; until then it is {named}, as the history says"
            return recorded[-1]

    def _recorded(self, alias: str) -> list[Move]:
        try:
            return self._store.aliases.recorded(alias)
        except Exception:  # the damage of the alias itself is what is reported
            return []

    def _stand_ins(self, alias: str, version: str, problems: dict[str, str]) -> list[str]:
        """Return the versions that may answer in place of the one an alias names, the best first.

        Those are the versions that the alias named before; for the server's own alias, which must
        answer, then all others, the newest first.
        """
        found: list[str] = []
        try:
            found += self._store.aliases.earlier(alias)
        except Exception as error:
            problems[f"the history of alias {alias}"] = in_words(error)
        if alias == self._followed.alias:
            try:
                found += [
                    version.name
                    for version in self._store.versions()
                    if isinstance(version, Version)
                ]
            except Exception as error:
                problems["the registry"] = in_words(error)
        return [other for other in dict.fromkeys(found) if other != version]

    def _stamps(self, versions: Collection[str]) -> dict[str, object]:
        stamps: dict[str, object] = {}
        for version in versions:
            with suppress(Exception):  # the next look may see it; that it is refused is known
                stamps[version] = self._store.stamp(version)
        return stamps
