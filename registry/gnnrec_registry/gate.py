"""What a version must show before an alias is pointed at it."""

from dataclasses import dataclass

from gnnrec_registry.errors import NoSuchAlias, PromotionRefused, RegistryError, VersionCorrupt
from gnnrec_registry.store import ModelStore
from gnnrec_registry.versions.manifest import Manifest, Metrics

# Others, such as coverage, say something and do not get better by getting larger.
_QUALITY = ("recall@", "ndcg@", "precision@", "hit_rate@", "mrr@")

TOLERANCE = 0.05
"""By what share of its value a metric may fall, unless told otherwise."""

_ALL_THE_SAME = (
    "nothing was moved; to move it all the same: gnnrec promote VERSION --force --why REASON"
)


@dataclass(frozen=True)
class Comparison:
    """A candidate's metrics beside those of the version that an alias names."""

    note: str
    """On what they were compared, or why they could not be."""
    worse: tuple[str, ...] = ()
    """The metrics that fall by more than the tolerance, in words."""


def check(store: ModelStore, version: str, *, alias: str, tolerance: float = TOLERANCE) -> str:
    """Verify a version, compare it with what the alias names, and return what was compared.

    `tolerance` is the share of a metric's value by which it may fall, 0.05 for a twentieth. Raises
    PromotionRefused, or NoSuchVersion.
    """
    try:
        opened = store.open(version)
        opened.verify()
    except VersionCorrupt as error:
        raise PromotionRefused(f"{error}; {_ALL_THE_SAME}") from None
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
            f"{'; '.join(found.worse)} ({found.note}; {tolerance:.0%} is allowed); {_ALL_THE_SAME}"
        )
    return found.note


def compare(new: Manifest, old: Manifest, tolerance: float) -> Comparison:
    """Compare the default variants of two versions, where both were measured in the same way."""
    differing = [
        what
        for what, ours, theirs in (
            ("data sets", new.data.name, old.data.name),
            ("splits", new.config.get("split"), old.config.get("split")),
            ("definitions of the metrics", new.metric_definition, old.metric_definition),
        )
        if ours != theirs
    ]
    if differing:
        return Comparison(f"not compared with {old.version!r}: other {', '.join(differing)}")
    ours, theirs = _measured(new), _measured(old)
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


def _measured(manifest: Manifest) -> dict[str, Metrics]:
    return manifest.variants[manifest.default_variant].metrics
