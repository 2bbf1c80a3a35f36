"""manifest.json: what a version is, and what each of its files must be."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
)

from gnnrec_registry.errors import VersionCorrupt
from gnnrec_registry.features.attributes import AttributeEntry
from gnnrec_registry.features.encoders import NodeFeatures
from gnnrec_registry.files.layout import FOLDERS, MANIFEST, MANIFEST_KEPT, Name

FORMAT: Literal[1] = 1

_CHECKSUM = "manifest_sha256"

Metrics = dict[str, float]
"""Values by metric name, such as {"recall@20": 0.18}."""

Json = dict[str, Any]


def _file_name(name: str) -> str:
    """Return the name of a version's file if it leads to no place outside of the version."""
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
"""A file of a version, relative to it."""

Count = Annotated[int, Field(ge=0, lt=2**53)]
Positive = Annotated[int, Field(ge=1, lt=2**53)]


class _Part(BaseModel):
    # Unknown keys of a later minor writer are kept, not refused: a reader takes what it knows.
    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)


class FileEntry(_Part):
    """A file of the version."""

    size: Count
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class DataEntry(_Part):
    """What the version was trained on."""

    name: str
    fingerprint: str
    """sha256 over the ids and interactions as read, so that two trainings can be compared."""
    users: Positive
    items: Positive
    interactions: dict[str, Count]
    """Counts by split: train, validation, test."""
    as_of: float | None = None
    """The moment that time decay counted back from, in Unix seconds, where there was decay."""


class Segment(_Part):
    """Neighbouring columns of a fold-in that are scaled alike."""

    width: Positive
    degree_exponent: Annotated[float, Field(ge=0, le=1)]
    """The sum over a user's items is divided by their total weight to this power."""


class FoldIn(_Part):
    """How a new user's embedding follows from interactions: a weighted sum of rows of fold.npy.

    Segment by segment: sum of w_i fold[i] / (sum of w_i)^degree_exponent.
    """

    segments: tuple[Segment, ...]
    weighted: bool = False
    """Whether an interaction counts by its weight, as the training's edges did, or as 1."""


class NodeModel(_Part):
    """An ONNX model that embeds nodes from their features; see docs/registry-format.md."""

    kind: Literal["sage", "hybrid"]
    file: FileName
    graph: Name | None = None
    """hybrid: the variant whose embeddings are its graph input."""


class VariantEntry(_Part):
    """One set of embeddings of the version."""

    embedding_dim: Positive
    dtype: Literal["float32"] = "float32"
    metrics: dict[str, Metrics] = {}
    """Metrics by split."""
    fold_in: FoldIn | None = None
    """Set where new users can be embedded from interactions alone."""
    model: NodeModel | None = None
    """Set where new nodes can be embedded from features."""


class Manifest(_Part):
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
    """What items can be filtered by; the files' names count from 0 in this order."""
    baselines: dict[str, dict[str, Metrics]]
    """Metrics by baseline and split."""
    libraries: dict[str, str]
    seconds: dict[str, Annotated[float, Field(ge=0)]] = {}
    """How long the parts of the training took, such as reading to embeddings."""
    files: dict[FileName, FileEntry]


def encode(manifest: Manifest) -> bytes:
    """Return the one byte form of a manifest, with a checksum over all the rest of it."""
    raw = manifest.model_dump(mode="json")
    return canonical_json({**raw, _CHECKSUM: _checksum(raw)})


def decode(content: bytes, name: str, model: str) -> Manifest:
    """Read a manifest, or raise VersionCorrupt unless it is that of version `name` of `model`.

    A byte that differs from what `encode` wrote is damage, found by the checksum.
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


def first_problem(error: ValidationError) -> str:
    """Return the first thing that is wrong, and where, in one line."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(
        step if isinstance(step, str) and step.isprintable() else ascii(step)
        for step in first["loc"]
    )
    return f"{place}: {first['msg']}"


def _checksum(raw: Json) -> str:
    return hashlib.sha256(canonical_json(raw)).hexdigest()


def canonical_json(value: object) -> bytes:
    """Return `value` in the registry's one byte form: sorted keys, two spaces, a final newline."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2, sort_keys=True)
    return text.encode() + b"\n"


def now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)
