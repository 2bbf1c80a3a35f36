"""Which versions answer which requests: an immutable table, replaced whole by the rollout."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from server.errors import NotReady, UnknownVersion, VersionNotLoaded
from server.queries import Target
from server.snapshot import Snapshot


@dataclass(frozen=True)
class Resident:
    """A version in memory, and since when it answers, in Unix seconds."""

    snapshot: Snapshot
    activated_at: float = 0.0


@dataclass(frozen=True)
class Serving:
    """What is loaded, and by which names it can be asked for."""

    alias: str
    """The alias that answers requests which name none."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """The version that each alias stands for here."""
    residents: Mapping[str, Resident] = field(default_factory=dict)
    """By version; those of the aliases are among them."""
    known_versions: frozenset[str] = frozenset()
    known_aliases: frozenset[str] = frozenset()
    """What the registry had when it was last looked at."""

    @property
    def current(self) -> Snapshot:
        """What answers requests that name no version; raises NotReady before the first."""
        return self._of(self.alias)

    def choose(self, target: Target) -> Snapshot:
        """Return the snapshot that a request asks for.

        Raises VersionNotLoaded for what the registry has and this server has not, UnknownVersion
        for what neither has, NotReady before the first version.
        """
        if target.version:
            if target.version in self.residents:
                return self.residents[target.version].snapshot
            raise self._lacking(target)
        if target.alias and target.alias not in self.aliases:
            raise self._lacking(target)
        return self._of(target.alias or self.alias)

    def aliases_of(self, version: str) -> list[str]:
        """Return the aliases that stand for a version here, by name."""
        return sorted(alias for alias, named in self.aliases.items() if named == version)

    def _of(self, alias: str) -> Snapshot:
        if alias not in self.aliases:
            raise NotReady("no version is loaded yet; try again soon")
        return self.residents[self.aliases[alias]].snapshot

    def _lacking(self, target: Target) -> UnknownVersion | VersionNotLoaded:
        if not self.residents:
            raise NotReady("no version is loaded yet; try again soon")
        loaded = ", ".join(
            f"{version!r} ({', '.join(self.aliases_of(version)) or 'no alias'})"
            for version in self.residents
        )
        if target.version:
            what, known = f"version {target.version!r:.200}", self.known_versions
        else:
            what, known = f"alias {target.alias!r:.200}", self.known_aliases
        if (target.version or target.alias) in known:
            return VersionNotLoaded(f"{what} is not loaded here; loaded versions: {loaded}")
        return UnknownVersion(f"there is no {what}; loaded versions: {loaded}")
