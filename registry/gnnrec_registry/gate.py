"""The check before a promotion: the version is whole, beats the baselines, and is no worse."""

from dataclasses import dataclass

from gnnrec_registry.errors import NoSuchAlias, PromotionRefused, RegistryError, VersionCorrupt
from gnnrec_registry.store import ModelStore
from gnnrec_registry.versions.manifest import Manifest

# The metrics of which more is better; of others, such as coverage, it need not be.
_QUALITY = ("recall@", "ndcg@", "precision@", "hit_rate@", "mrr@")

TOLERANCE = 0.05
"""The share of its value by which a metric may fall by default."""

_FORCE_HINT = (
    "nothing was moved; to move it all the same: gnnrec promote VERSION --force --why REASON"
)


@dataclass(frozen=True)
class Comparison:
    """A candidate's metrics beside those of the version that an alias names."""

    note: str
    """The data that both were compared on, or why they were not compared."""
    worse: tuple[str, ...] = ()
    """A sentence for each metric that falls by more than the tolerance."""


def check(store: ModelStore, version: str, *, alias: str, tolerance: float = TOLERANCE) -> str:
    """Verify a version, compare it with what the alias names, and return what was compared.

    A version whose verdict says that it is worse than a simple baseline is refused whatever the
    alias names. `tolerance` is the share of its value by which a metric may fall, such as 0.05.
    Raises PromotionRefused, or NoSuchVersion.
    """
    try:
        opened = store.open(version)
        opened.verify()
    except VersionCorrupt as error:
        raise PromotionRefused(f"{error}; {_FORCE_HINT}") from None
    verdict = opened.manifest.verdict
    if verdict is not None and not verdict.beats_baselines:
        raise PromotionRefused(
            f"version {version!r} does not beat the simple baseline {verdict.baseline!r} "
            f"({verdict.sentence.rstrip('.')}); {_FORCE_HINT}"
        )
    try:
        current = store.aliases.get(alias)
    except NoSuchAlias:
        return f"{alias!r} named nothing before: there is nothing to compare with"
    if current.version == version:
        return f"{alias!r} names {version!r} already: there is nothing to compare with"
    try:
        named = store.open(current.version).manifest
    except RegistryError as error:
        return f"not compared with {current.version!r}, which cannot be read: {error}"
    found = compare(opened.manifest, named, tolerance)
    if found.worse:
        raise PromotionRefused(
            f"version {version!r} is worse than {named.version!r}, which {alias!r} names: "
            f"{'; '.join(found.worse)} ({found.note}; {tolerance:.0%} is allowed); {_FORCE_HINT}"
        )
    return found.note


def compare(new: Manifest, old: Manifest, tolerance: float) -> Comparison:
    """Compare the default variants of two versions, if both were measured in the same way.

    A version that started from another one is measured on what was new since then alone.
    """
    differing = [
        what
        for what, ours, theirs in (
            ("data sets", new.data.name, old.data.name),
            ("splits", new.config.get("split"), old.config.get("split")),
            ("held-out parts, for one is measured on what is new alone", new.start, old.start),
            ("definitions of the metrics", new.metric_definition, old.metric_definition),
        )
        if ours != theirs
    ]
    if differing:
        return Comparison(f"not compared with {old.version!r}: other {', '.join(differing)}")
    ours, theirs = new.default_metrics, old.default_metrics
    for split in ("test", "validation"):
        names = [
            name
            for name in theirs.get(split, {})
            if name in ours.get(split, {}) and name.startswith(_QUALITY)
        ]
        if names:
            break
    else:
        return Comparison(f"not compared with {old.version!r}: no metric that both have")
    worse = tuple(
        f"{name} {ours[split][name]:.4f}, was {theirs[split][name]:.4f}"
        for name in names
        if ours[split][name] < theirs[split][name] * (1 - tolerance)
    )
    newer = "" if new.data.fingerprint == old.data.fingerprint else ", measured on other data"
    return Comparison(f"compared with {old.version!r} on {split}{newer}", worse)
