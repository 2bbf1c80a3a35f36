"""The comparison of two versions as one value, for terminals, pages and programs."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from gnnrec.comparison.answers import Answers, compare_answers
from gnnrec.comparison.facts import differences
from gnnrec.comparison.metrics import MetricDifference, metric_differences
from gnnrec_registry import RegistryError, Version


@dataclass(frozen=True)
class Side:
    """One of the two versions, and the variant of it that is compared."""

    model: str
    version: str
    variant: str
    created_at: str
    data: str
    fingerprint: str


@dataclass(frozen=True)
class Comparison:
    """The differences between two versions, always b - a."""

    a: Side
    b: Side
    metrics: list[MetricDifference]
    answers: Answers | None
    differences: dict[str, tuple[Any, Any]]

    @property
    def same_data(self) -> bool:
        """Whether both were trained and measured on the same data."""
        return self.a.fingerprint == self.b.fingerprint

    def as_json(self) -> dict[str, Any]:
        """Return the comparison as plain values for JSON."""
        metrics = [asdict(metric) | {"verdict": metric.verdict} for metric in self.metrics]
        return {
            "a": self.a.version,
            "b": self.b.version,
            "variants": [self.a.variant, self.b.variant],
            "same_data": self.same_data,
            "metrics": metrics,
            "answers": None if self.answers is None else asdict(self.answers),
            "differences": {key: list(pair) for key, pair in self.differences.items()},
        }


def compare(
    a: Version,
    b: Version,
    *,
    k: int = 10,
    variant: str = "",
    advance: Callable[[float], None] = lambda share: None,
) -> Comparison:
    """Compare the default variants of two versions, or the `variant` of both.

    k: the length of the compared lists. `advance` is called with the share done. Raises
    RegistryError when a version has no such variant.
    """
    variants = (_variant(a, variant), _variant(b, variant))
    return Comparison(
        a=_side(a, variants[0]),
        b=_side(b, variants[1]),
        metrics=metric_differences(a, b, variants, lambda share: advance(share * 0.3)),
        answers=compare_answers(a, b, variants, k, lambda share: advance(0.3 + share * 0.7)),
        differences=differences(a.summary(), b.summary()),
    )


def _variant(version: Version, name: str) -> str:
    there = version.manifest.variants
    if name and name not in there:
        raise RegistryError(
            f"version {version.name!r} has no variant {name!r}; it has {', '.join(there)}"
        )
    return name or version.manifest.default_variant


def _side(version: Version, variant: str) -> Side:
    manifest = version.manifest
    return Side(
        manifest.model,
        version.name,
        variant,
        f"{manifest.created_at:%Y-%m-%d %H:%M} UTC",
        manifest.data.name,
        manifest.data.fingerprint,
    )
