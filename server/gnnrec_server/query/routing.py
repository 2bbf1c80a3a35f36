"""Which version answers which request: an immutable table, replaced whole by the rollout."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b

from gnnrec_registry import Candidate
from gnnrec_server.errors import NotReady, UnknownVersion, VersionNotLoaded
from gnnrec_server.query.queries import Subject, Target, key_of
from gnnrec_server.version.snapshot import Snapshot


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
    candidates: Mapping[str, Candidate] = field(default_factory=dict)
    """What each alias tries beside its version; the residents have it."""
    known_versions: frozenset[str] = frozenset()
    known_aliases: frozenset[str] = frozenset()
    """What the registry had when it was last looked at."""
    answers: object = field(default_factory=object, compare=False)
    """The same in every table that answers alike; see answering_like."""

    def answering_like(self, before: "Serving") -> "Serving":
        """Return this table, marked as one that answers as the one before it did, if it does.

        What else the registry knows changes the texts of errors, and no answer.
        """
        alike = (
            self.aliases == before.aliases
            and self.residents == before.residents
            and self.candidates == before.candidates
        )
        return replace(self, answers=before.answers) if alike else self

    @property
    def current(self) -> Snapshot:
        """What answers requests that name no version; raises NotReady before the first."""
        return self._of(self.alias)

    def choose(self, target: Target, subject: Subject) -> Snapshot:
        """Return the snapshot that answers a request.

        Where its alias tries a candidate, the subject decides between the two. Raises
        VersionNotLoaded for what the registry has and this server has not, UnknownVersion for what
        neither has, NotReady before the first version.
        """
        if target.version:
            if target.version in self.residents:
                return self.residents[target.version].snapshot
            raise self._lacking(target)
        if target.alias and target.alias not in self.aliases:
            raise self._lacking(target)
        alias = target.alias or self.alias
        candidate = self.candidates.get(alias)
        if candidate is not None and is_in_share(candidate, subject):
            return self.residents[candidate.version].snapshot
        return self._of(alias)

    def version_of(self, alias: str) -> str:
        """Return the version that answers for an alias, the server's own for ""; "" for none."""
        return self.aliases.get(alias or self.alias, "")

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


def is_in_share(candidate: Candidate, subject: Subject) -> bool:
    """Tell whether a subject is one of the share that a candidate answers.

    Every server says the same of the same subject, and a larger share keeps those of a smaller.
    """
    if not candidate.percent:
        return False
    digest = blake2b(key_of(subject), digest_size=8, key=candidate.version.encode()[:64]).digest()
    return int.from_bytes(digest, "big") < candidate.percent / 100 * 2**64
