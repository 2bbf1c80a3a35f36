"""The answers of a server as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple


class Recommendation(NamedTuple):
    """One item of an answer; probability and title are None unless they were requested."""

    item_id: str
    score: float
    probability: float | None
    title: str | None


class Score(NamedTuple):
    """The score of one requested item; None if the version does not know the item."""

    item_id: str
    score: float | None


@dataclass(frozen=True)
class TopK:
    """The best items, best first, and the version and variant that found them."""

    version: str
    variant: str
    items: tuple[Recommendation, ...]
    unknown_item_ids: tuple[str, ...]


@dataclass(frozen=True)
class Scores:
    """The scores in the order of the request, and the version and variant that gave them."""

    version: str
    variant: str
    items: tuple[Score, ...]
    unknown_item_ids: tuple[str, ...]
    """Items that a new user has interacted with and the version does not know."""


@dataclass(frozen=True)
class Metrics:
    """Metrics of a variant or a baseline on one split: values by name, such as "recall@20"."""

    name: str
    split: str
    values: Mapping[str, float]


@dataclass(frozen=True)
class Variant:
    """One set of embeddings of a version, and the kind of index that searches it."""

    name: str
    embedding_dim: int
    index: str
    metrics: tuple[Metrics, ...]
    index_recall: float = 1.0
    """The share of the 100 best items that a search finds; 1 for an exact index."""


@dataclass(frozen=True)
class Attribute:
    """An attribute of the items, for filters; its kind is number, text or texts."""

    name: str
    kind: str


@dataclass(frozen=True)
class LoadedVersion:
    """A version in the server's memory."""

    version: str
    created_at: datetime
    activated_at: datetime
    """When the server began to answer from it."""
    default_variant: str
    variants: tuple[Variant, ...]
    users: int
    items: int
    interactions: int
    baselines: tuple[Metrics, ...]
    aliases: tuple[str, ...]
    """The aliases by which the server answers from it."""
    attributes: tuple[Attribute, ...]
    """The attributes of its items, for filters."""


@dataclass(frozen=True)
class Alias:
    """A mutable name for a version; generation counts its moves, from 1."""

    name: str
    version: str
    generation: int
    updated_at: datetime
    served_version: str
    """The version with which the server answers for this alias; empty if it does not."""
    candidate: str
    """The version on trial under this alias; empty if there is none."""


@dataclass(frozen=True)
class TrialSide:
    """One of the two versions of a trial, counted over all processes of the server."""

    version: str
    requests: int
    errors: int
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Shadowed:
    """How a candidate's unsent answers compare with those sent: means, and its latency."""

    compared: int
    dropped: int
    failed: int
    overlap: float
    """The mean share of items in both lists, of TopK; 0 if only Score was compared."""
    score_drift: float
    p50_ms: float
    p99_ms: float
    scored: int = 0
    """How many of the compared requests were Score."""


@dataclass(frozen=True)
class Trial:
    """A version on trial beside the one that an alias names."""

    alias: str
    stable: TrialSide
    candidate: TrialSide
    percent: float
    """The percentage of users that the candidate answers."""
    shadow: bool
    shadowed: Shadowed
    problem: str
    """Why the candidate answers nobody; empty if it answers."""
    began_at: datetime


@dataclass(frozen=True)
class Model:
    """The model that a server serves: its loaded versions, and the registry's aliases."""

    model: str
    alias: str
    """The alias that the server follows."""
    serving_version: str
    """The version that answers requests without a version or alias."""
    versions: tuple[LoadedVersion, ...]
    aliases: tuple[Alias, ...]
    trials: tuple[Trial, ...]
    """The trials of versions."""
    registry_problem: str = ""
    """Why the aliases cannot be read now, so that `aliases` may be old; empty if they can."""


@dataclass(frozen=True)
class VersionStatus:
    """A version and its state on the server: available, loading, loaded or refused."""

    version: str
    state: str
    reason: str
    """Why it was refused, or which refused version it replaces; empty otherwise."""
    created_at: datetime | None
    """When it was published; None if its manifest cannot be read."""
    aliases: tuple[str, ...]
