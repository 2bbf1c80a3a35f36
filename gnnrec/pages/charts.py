"""The coordinates of small charts, which the templates draw as SVG.

A chart is 340 units wide, the width of a phone, so that its text is not scaled down there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gnnrec.comparison.metrics import MetricDifference

WIDTH = 340.0
_LABELS = 92.0
_ROW = 26.0


@dataclass(frozen=True)
class Bar:
    """An interval, drawn as a horizontal line with a dot at its middle."""

    label: str
    y: float
    left: float
    right: float
    middle: float
    text: str
    tone: str


@dataclass(frozen=True)
class Intervals:
    """Bars over one axis; `zero` is the position of 0, `ticks` are positions and labels."""

    height: float
    zero: float
    bars: list[Bar]
    ticks: list[tuple[float, str]]


def intervals(metrics: Sequence[MetricDifference]) -> Intervals | None:
    """Return the chart of relative differences, in percent of A; None if there are none."""
    shown = [
        (metric, [100 * part / metric.a for part in (metric.low, metric.difference, metric.high)])
        for metric in metrics
        if metric.a and metric.low is not None and metric.high is not None
        and metric.difference is not None
    ]  # fmt: skip
    if not shown:
        return None
    reach = max(abs(part) for _, parts in shown for part in parts) or 1.0
    middle = (_LABELS + WIDTH) / 2
    half = (WIDTH - _LABELS) / 2 - 14

    def place(percent: float) -> float:
        return round(middle + percent / reach * half, 1)

    tones = {"better": "good", "worse": "bad"}
    bars = [
        Bar(
            metric.metric,
            (row + 0.5) * _ROW,
            place(parts[0]),
            place(parts[2]),
            place(parts[1]),
            f"{metric.metric}: {parts[1]:+.1f}%, from {parts[0]:+.1f} to {parts[2]:+.1f}%",
            tones.get(metric.verdict, "muted"),
        )
        for row, (metric, parts) in enumerate(shown)
    ]
    ticks = [(place(part), f"{part:+.1f}%" if part else "0") for part in (-reach, 0.0, reach)]
    return Intervals(len(bars) * _ROW + 26, place(0.0), bars, ticks)


@dataclass(frozen=True)
class Column:
    """A vertical bar, and the text to write above it."""

    x: float
    y: float
    width: float
    height: float
    label: str
    text: str


def columns(counts: Sequence[int], labels: Sequence[str], height: float = 130.0) -> list[Column]:
    """Return a histogram's columns within WIDTH and `height`, with room above for numbers."""
    most = max(counts) or 1
    width = WIDTH / len(counts)
    room = height - 16
    return [
        Column(
            round(place * width + 2, 1),
            round(height - room * count / most, 1),
            round(width - 4, 1),
            round(room * count / most, 1),
            label,
            str(count) if count else "",
        )
        for place, (count, label) in enumerate(zip(counts, labels, strict=True))
    ]
