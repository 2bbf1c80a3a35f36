"""manifest.json: what a version is, and what each of its files must be."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    Field,
    ValidationError,
)

from gnnrec_registry.errors import VersionCorrupt
from gnnrec_registry.features.attributes import AttributeEntry
from gnnrec_registry.features.encoders import NodeFeatures
from gnnrec_registry.files.json import Json, Part, canonical_json, first_problem
from gnnrec_registry.files.layout import FOLDERS, MANIFEST, MANIFEST_KEPT, Name

FORMAT: Literal[1] = 1

_CHECKSUM = "manifest_sha256"

Metrics = dict[str, float]
"""Values by metric name, such as {"recall@20": 0.18}."""


def _file_name(name: str) -> str:
    """Return a file name that stays inside the version's folder, or raise ValueError."""
    parts = name.split("/")
    if (
        not name.isprintable()
        or "\\" in name
        or any(part in ("", ".", "..") or len(part.encode()) > _LONGEST_PART for part in parts)
        or name in (MANIFEST, MANIFEST_KEPT)
    ):
        raise ValueError(f"{name!a:.80} is not a name for a file of a version")
    return name


def _utc(moment: datetime) -> datetime:
    if moment.utcoffset() != timedelta(0):
        raise ValueError("is not in UTC")
    return moment


_LONGEST_PART = 255

FileName = Annotated[str, AfterValidator(_file_name)]
"""The path of a file, relative to the version's folder."""

Count = Annotated[int, Field(ge=0, lt=2**53)]
Positive = Annotated[int, Field(ge=1, lt=2**53)]


class FileEntry(Part):
    """A file of the version."""

    size: Count
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class DataEntry(Part):
    """What the version was trained on."""

    name: str
    fingerprint: str
    """The sha256 of the ids and interactions as read: equal data have equal fingerprints."""
    users: Positive
    items: Positive
    interactions: dict[str, Count]
    """Counts by split: train, validation, test."""
    as_of: float | None = None
    """The time, in Unix seconds, at which time decay took an interaction's age; None without."""


class FitEntry(Part):
    """What a fit of the models was over."""

    interactions: Count
    epochs: dict[str, Count]
    """How many epochs each model that is trained in epochs had, by variant."""


class FitsEntry(Part):
    """The fit that was measured, and the one that is published."""

    measured: FitEntry
    """The metrics are of this one: on the training part, and after a search on validation too."""
    published: FitEntry
    """On everything, with what was chosen for the first; the same as `measured` without refit."""
    shared: float | None = None
    """The mean share of the ten best items for a user that both fits have, of the default variant;
    None without refit."""


class StartEntry(Part):
    """The version that a training started from."""

    version: Name
    epochs: Count | None = None
    """How many epochs LightGCN was trained from its embeddings; None where it began at nothing."""


class Segment(Part):
    """Adjacent columns of a fold-in that share a degree exponent."""

    width: Positive
    degree_exponent: Annotated[float, Field(ge=0, le=1)]
    """The sum over a user's items is divided by their total weight to this power."""


class FoldIn(Part):
    """How a new user is embedded from interactions: a weighted sum of rows of fold.npy.

    For each segment: sum of w_i fold[i] / (sum of w_i)^degree_exponent, where i runs over the
    user's items and w_i is an interaction's weight.
    """

    segments: tuple[Segment, ...]
    weighted: bool = False
    """Whether w_i is the interaction's own weight; otherwise it is 1."""


class NodeModel(Part):
    """An ONNX model that embeds nodes from their features; see docs/registry-format.md."""

    kind: Literal["sage", "hybrid"]
    file: FileName
    graph: Name | None = None
    """For a hybrid: the variant whose embeddings the model takes as input."""


class ListsEntry(Part):
    """What a variant's item lists add to scores; see docs/registry-format.md."""

    degree_exponent: Annotated[float, Field(ge=0, le=1)]
    """The sum over a user's items is divided by their number to this power."""


class VariantEntry(Part):
    """One set of embeddings of the version."""

    embedding_dim: Positive
    dtype: Literal["float32"] = "float32"
    metrics: dict[str, Metrics] = Field(default_factory=dict)
    """Metrics by split."""
    fold_in: FoldIn | None = None
    """Set where new users can be embedded from interactions alone."""
    model: NodeModel | None = None
    """Set where new nodes can be embedded from features."""
    lists: ListsEntry | None = None
    """Set where item lists add to the scores."""


class VerdictEntry(Part):
    """How the default variant stands beside the simple baselines that were measured with it."""

    beats_baselines: bool
    """Whether it is no worse than the best of them, but for noise."""
    baseline: str
    """The best of them."""
    sentence: str


class Manifest(Part):
    """The whole of manifest.json."""

    format: Literal[1] = FORMAT
    model: Name
    version: Name
    created_at: Annotated[AwareDatetime, AfterValidator(_utc)]
    config: Json
    data: DataEntry
    metric_definition: str
    variants: dict[Name, VariantEntry]
    default_variant: str
    features: NodeFeatures | None = None
    """How raw features become the models' input, where a variant has a model."""
    attributes: tuple[AttributeEntry, ...] = ()
    """The item attributes for filters; its place here, from 0, names an attribute's files."""
    baselines: dict[str, dict[str, Metrics]]
    """Metrics by baseline and split."""
    verdict: VerdictEntry | None = None
    """None where nothing was measured."""
    fits: FitsEntry | None = None
    start: StartEntry | None = None
    """None where training started from no version."""
    search: Json | None = None
    """What a search for the models tried; None where the configuration names the models."""
    libraries: dict[str, str]
    seconds: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    """How many seconds each part of the training took, by its name."""
    files: dict[FileName, FileEntry]

    @property
    def default_metrics(self) -> dict[str, Metrics]:
        """The metrics of the default variant, by split."""
        return self.variants[self.default_variant].metrics


def encode(manifest: Manifest) -> bytes:
    """Return a manifest as canonical JSON, with a checksum over all of its other keys."""
    raw = manifest.model_dump(mode="json")
    return canonical_json({**raw, _CHECKSUM: _checksum(raw)})


def decode(content: bytes, name: str, model: str) -> Manifest:
    """Read a manifest, or raise VersionCorrupt unless it is that of version `name` of `model`.

    Any byte that differs from what `encode` wrote is found by the checksum.
    """
    where = f"version {name!r}: {MANIFEST}"
    try:
        raw = json.loads(content)
        is_canonical = isinstance(raw, dict) and canonical_json(raw) == content
        if not is_canonical or raw.pop(_CHECKSUM, None) != _checksum(raw):
            raise VersionCorrupt(f"{where} was altered after publishing")
        if raw.get("format") != FORMAT or isinstance(raw["format"], bool):
            raise VersionCorrupt(
                f"version {name!r} has format {raw.get('format')!r:.20}; "
                f"this program reads {FORMAT}"
            )
        manifest = Manifest.model_validate_json(canonical_json(raw), strict=True)
    except ValidationError as error:
        raise VersionCorrupt(f"{where}: {first_problem(error)}") from None
    except ValueError as error:
        raise VersionCorrupt(f"{where} is not JSON: {error}") from None
    except RecursionError:
        raise VersionCorrupt(f"{where} is nested too deeply") from None
    if manifest.version != name:
        raise VersionCorrupt(f"{where} is of {manifest.version!r}")
    if manifest.model != model:
        raise VersionCorrupt(f"{where} is of model {manifest.model!r}, not {model!r}")
    if manifest.default_variant not in manifest.variants:
        raise VersionCorrupt(
            f"{where}: default_variant {manifest.default_variant!a:.60} is not one of its variants "
            f"{sorted(manifest.variants)}"
        )
    if taken := FOLDERS & manifest.variants.keys():
        raise VersionCorrupt(
            f"{where}: a variant is called {min(taken)!r}, which is another folder"
        )
    return manifest


def _checksum(raw: Json) -> str:
    return hashlib.sha256(canonical_json(raw)).hexdigest()


def now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)
