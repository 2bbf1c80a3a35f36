"""The page of a registry: versions, aliases, history, and metrics over time."""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from gnnrec_registry import Damaged, ModelStore, Move, Version
from gnnrec_registry.aliases.moves import by_version
from gnnrec_registry.files.layout import REPORT_PAGE
from gnnrec_registry.pages.html import number, render

_TEMPLATE = Path(__file__).parent / "templates" / "index.html"
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 340.0, 150.0, 40.0, 22.0, 24.0
_HISTORY = 200


@dataclass(frozen=True)
class Entry:
    """A version in the page's list. `report` is a link, or empty; `damage` says what is wrong."""

    version: str
    aliases: list[str]
    created_at: str = ""
    variant: str = ""
    metrics: tuple[str, ...] = ()
    counts: tuple[int, int, int] = (0, 0, 0)
    fingerprint: str = ""
    report: str = ""
    damage: str = ""


@dataclass(frozen=True)
class Point:
    """A version in the chart of a metric over time."""

    x: float
    y: float
    version: str
    value: float
    aliases: list[str]


@dataclass(frozen=True)
class Chart:
    """A metric of every version by time of publication, and that of the popularity baseline."""

    metric: str
    points: list[Point]
    line: str
    baseline: str
    ticks: list[tuple[float, str]]
    first: str
    last: str


@dataclass(frozen=True)
class Listing:
    """One model of the registry."""

    model: str
    split: str
    metrics: tuple[str, ...]
    charts: list[Chart]
    entries: list[Entry]
    aliases: list[Move]
    history: list[Move]
    damage: list[str]
    """The problems of aliases and the history that cannot be read."""


def render_index(stores: list[ModelStore], place: Path) -> str:
    """Return the page of these models as HTML, for the file `place`: links are relative to it."""
    return render(
        _TEMPLATE,
        width=_WIDTH,
        height=_HEIGHT,
        listings=[_listing(store, place.parent) for store in stores],
    )


def _listing(store: ModelStore, start: Path) -> Listing:
    found = store.versions()
    whole = [version for version in found if isinstance(version, Version)]
    moves, record = store.aliases.all().moves, store.aliases.record()
    named = by_version(moves)
    split, metrics = _judged_by(whole)
    return Listing(
        store.layout.model,
        split,
        metrics,
        [chart for metric in metrics if (chart := _chart(whole, named, split, metric))],
        [
            _entry(version, named, split, metrics, start, local=not store.layout.is_remote)
            for version in found
        ],
        list(moves.values()),
        record.moves[: -_HISTORY - 1 : -1],
        record.damage,
    )


def _entry(
    version: Version | Damaged,
    named: dict[str, list[str]],
    split: str,
    metrics: tuple[str, ...],
    start: Path,
    *,
    local: bool,
) -> Entry:
    aliases = named.get(version.name, [])
    if isinstance(version, Damaged):
        return Entry(version.name, aliases, damage=version.reason)
    manifest = version.manifest
    measured = manifest.default_metrics.get(split, {})
    page = version.folder / REPORT_PAGE
    return Entry(
        version.name,
        aliases,
        f"{manifest.created_at:%Y-%m-%d %H:%M}",
        manifest.default_variant,
        tuple(number(measured.get(name)) for name in metrics),
        (manifest.data.users, manifest.data.items, sum(manifest.data.interactions.values())),
        manifest.data.fingerprint[:8],
        quote(os.path.relpath(page, start)) if local and REPORT_PAGE in manifest.files else "",
    )


def _judged_by(versions: list[Version]) -> tuple[str, tuple[str, ...]]:
    """Return the split and the names of NDCG and recall of the newest version that has them."""
    for version in versions:
        metrics = version.manifest.default_metrics
        for split in ("test", "validation"):
            names = [
                name
                for kind in ("ndcg@", "recall@")
                for name in sorted(metrics.get(split, {}), key=_length)
                if name.startswith(kind)
            ]
            if names:
                shortest = {name.partition("@")[0]: name for name in reversed(names)}
                return split, tuple(
                    shortest[kind] for kind in ("ndcg", "recall") if kind in shortest
                )
    return "", ()


def _length(metric: str) -> int:
    return int(metric.partition("@")[2])


def _chart(
    versions: list[Version], named: dict[str, list[str]], split: str, metric: str
) -> Chart | None:
    """Return the chart of a metric over time; None if fewer than two versions have it."""
    measured = []
    for version in reversed(versions):  # the oldest first
        manifest = version.manifest
        values = manifest.default_metrics.get(split, {})
        baseline = manifest.baselines.get("popularity", {}).get(split, {}).get(metric)
        if metric in values:
            measured.append((version, values[metric], baseline))
    if len(measured) < 2:
        return None
    ticks = _ticks(max(max(value, baseline or 0.0) for _, value, baseline in measured))
    most, digits = ticks[-1], max(len(f"{tick:g}".partition(".")[2]) for tick in ticks)
    step = (_WIDTH - _LEFT - 24) / (len(measured) - 1)

    def x(place: int) -> float:
        return round(_LEFT + 12 + place * step, 1)

    def y(value: float) -> float:
        return round(_HEIGHT - _BOTTOM - value / most * (_HEIGHT - _BOTTOM - _TOP), 1)

    points = [
        Point(x(place), y(value), version.name, value, named.get(version.name, []))
        for place, (version, value, _) in enumerate(measured)
    ]
    return Chart(
        metric,
        points,
        " ".join(f"{point.x},{point.y}" for point in points),
        " ".join(
            f"{x(place)},{y(baseline)}"
            for place, (_, _, baseline) in enumerate(measured)
            if baseline is not None
        ),
        [(y(tick), f"{tick:.{digits}f}") for tick in ticks],
        *_moments(measured[0][0], measured[-1][0]),
    )


def _ticks(most: float) -> list[float]:
    """Return three to five round numbers from 0 to `most` or a little above."""
    if most <= 0:
        return [0.0, 0.5, 1.0]
    power = 10.0 ** math.floor(math.log10(most))
    step = next(part * power for part in (0.25, 0.5, 1, 2.5) if most <= 4 * part * power)
    return [round(step * place, 12) for place in range(math.ceil(most / step) + 1)]


def _moments(first: Version, last: Version) -> tuple[str, str]:
    """Return the days on which two versions were published, with times if it is the same day."""
    moments = first.manifest.created_at, last.manifest.created_at
    form = "%Y-%m-%d %H:%M" if moments[0].date() == moments[1].date() else "%Y-%m-%d"
    return moments[0].strftime(form), moments[1].strftime(form)
