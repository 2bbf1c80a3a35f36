"""A search for the models as a picture: every trial by the time at which it ended, and its score.

A kind of model has a colour and a shape, so that it is known without colours too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from gnnrec_training.report.pictures import FAINT, INK, MUTED, SERIES, Picture, picture
from gnnrec_training.report.tried import Trial, Tried

_SHAPES = {"fused": "*", "graph": "h"}
_OTHER_SHAPES = "osD^vP<>"
_MANY = 80
"""With more trials than this, points are smaller."""
_MINUTES_FROM_S = 300
_LOWEST = 0.5
"""Trials below this share of the best score stand in a band, so that the others are far apart."""
_STATES = {"done": "", "stopped": "ended early", "failed": "failed", "left out": "left out"}
_COLUMNS = 3
_RING: dict[str, Any] = {
    "marker": "o", "markersize": 14, "markerfacecolor": "none", "markeredgecolor": INK,
    "markeredgewidth": 1.3, "linestyle": "", "zorder": 6,
}  # fmt: skip
_BEST: dict[str, Any] = {"color": FAINT, "linewidth": 1.2, "drawstyle": "steps-post"}


@dataclass(frozen=True)
class _Look:
    """How the trials of a kind are drawn."""

    shape: str
    colour: str

    def of(self, state: str, size: float) -> dict[str, Any]:
        """Return how one in a state is drawn."""
        style = {"color": self.colour, "linestyle": "", "zorder": 4, "markeredgewidth": 1.1}
        if state == "failed":
            return style | {"marker": "x", "markersize": size}
        if state == "left out":
            return style | {"marker": "_", "markersize": size * 1.5, "markeredgewidth": 2.0}
        larger = 1.8 if self.shape == _SHAPES["fused"] else 1
        hollow = {"markerfacecolor": "none"} if state == "stopped" else {}
        return style | {"marker": self.shape, "markersize": size * larger} | hollow


@dataclass(frozen=True)
class _Frame:
    """The ranges of both axes, and where a trial stands in them."""

    unit: str
    unit_s: float
    last: float
    floor: float
    """Scores below stand in a band under the others, and so do trials without a score."""
    low: float
    base: float
    """Where the band ends; `low` if no trial stands in it."""
    high: float

    def x(self, trial: Trial) -> float:
        return trial.ended_s / self.unit_s

    def y(self, trial: Trial) -> float:
        """Return the score, or a place in the band for one that is too low or missing."""
        if trial.score is not None and trial.score >= self.floor:
            return trial.score
        return self.low + (self.base - self.low) * (0.35 if trial.score is None else 0.7)

    def limit(self, axes: Axes) -> None:
        """Set the ranges, with marks only where a height means a score."""
        axes.set_xlim(-0.03 * self.last, 1.05 * self.last)
        axes.set_ylim(self.low, self.high)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
        axes.set_yticks([mark for mark in axes.get_yticks() if self.base <= mark <= self.high])
        axes.grid(axis="y")
        if self.base > self.low:
            axes.axhline(self.base, color=FAINT, linewidth=0.8, linestyle=":")


def tried_picture(search: Tried, colours: Mapping[str, str]) -> Picture:
    """Draw the trials of a search, of which one was measured at least.

    colours: of the variants; the other kinds get those that remain
    """
    looks, frame = _looks(search, colours), _frame(search)
    size = 3.5 if len(search.trials) > _MANY else 5.5
    key = _key(search, looks)

    def draw(axes: Axes) -> None:
        frame.limit(axes)
        _best_so_far(axes, search, frame)
        for kind, trials in search.kinds.items():
            for state in _STATES:
                which = [trial for trial in trials if trial.state == state]
                if which:
                    x, y = zip(*(_place(search, frame, trial) for trial in which), strict=True)
                    axes.plot(x, y, **looks[kind].of(state, size))
        for kind, trial in search.best.items():
            if trial.score is not None and trial.score >= frame.floor:
                axes.errorbar(
                    frame.x(trial), trial.score, yerr=trial.error or 0.0, fmt="none",
                    ecolor=looks[kind].colour, elinewidth=1.2, capsize=3, zorder=5,
                )  # fmt: skip
        if search.chosen is not None:
            axes.plot([frame.x(search.chosen)], [frame.y(search.chosen)], **_RING)
        axes.set_xlabel(f"{frame.unit} of trials since the search began")
        axes.set_ylabel(f"{search.metric} on validation")
        axes.legend(
            handles=key, loc="lower left", bbox_to_anchor=(0, 1), ncols=_COLUMNS,
            labelcolor=MUTED, borderpad=0, handletextpad=0.4, columnspacing=1.2,
        )  # fmt: skip

    height = 2.9 + 0.21 * -(-len(key) // _COLUMNS)
    return picture("search", "What the search tried", _caption(search, frame), draw, height=height)


def _looks(search: Tried, colours: Mapping[str, str]) -> dict[str, _Look]:
    """Return how each kind looks, in the order of the search."""
    used = [colours[kind] for kind in search.kinds if kind in colours]
    left = iter([colour for colour in (*SERIES, MUTED) if colour not in used])
    shapes = iter(_OTHER_SHAPES)
    looks = {}
    for kind in search.kinds:
        shape = _SHAPES.get(kind) or next(shapes)
        if kind == "graph":
            looks[kind] = _Look(shape, FAINT)
        else:
            looks[kind] = _Look(shape, colours.get(kind) or next(left, FAINT))
    return looks


def _frame(search: Tried) -> _Frame:
    scores = [trial.score for trial in search.trials if trial.score is not None]
    floor = max(min(scores), _LOWEST * max(scores))
    bars = [
        (trial.score, trial.error or 0.0)
        for trial in search.best.values()
        if trial.score is not None and trial.score >= floor
    ]
    top = max([max(scores), *(score + error for score, error in bars)])
    bottom = min([floor, *(score - error for score, error in bars)])
    span = max(top - bottom, 1e-3)
    base = bottom - 0.06 * span
    in_band = len(scores) < len(search.trials) or min(scores) < floor
    unit, unit_s = ("minutes", 60.0) if search.seconds >= _MINUTES_FROM_S else ("seconds", 1.0)
    return _Frame(
        unit=unit,
        unit_s=unit_s,
        last=max(search.seconds / unit_s, 1e-3),
        floor=floor,
        low=base - 0.2 * span if in_band else base,
        base=base,
        high=top + 0.08 * span,
    )


def _place(search: Tried, frame: _Frame, trial: Trial) -> tuple[float, float]:
    """Return where a trial is drawn: kinds that were left out one after the other stand apart."""
    x = frame.x(trial)
    if trial.state == "left out":
        same = [
            other
            for other in search.trials
            if (other.state, other.ended_s) == (trial.state, trial.ended_s)
        ]
        step = 0.05 * frame.last
        x += step * next(place for place, other in enumerate(same) if other is trial)
        x -= step * (len(same) - 1) * (frame.x(trial) / frame.last)
    return x, frame.y(trial)


def _best_so_far(axes: Axes, search: Tried, frame: _Frame) -> None:
    x: list[float] = []
    y: list[float] = []
    for trial in search.trials:
        if trial.state == "done" and trial.score is not None and trial.score > max(y, default=-1.0):
            x.append(frame.x(trial))
            y.append(trial.score)
    axes.plot([*x, 1.05 * frame.last], [*y, y[-1]], **_BEST)


def _key(search: Tried, looks: Mapping[str, _Look]) -> list[Line2D]:
    """Return the entries of the legend: kinds, states that occur, the line and the ring."""
    key = [Line2D([], [], label=kind, **look.of("done", 5.5)) for kind, look in looks.items()]
    states = {trial.state for trial in search.trials}
    plain = _Look("o", MUTED)
    key += [
        Line2D([], [], label=label, **plain.of(state, 5.5))
        for state, label in _STATES.items()
        if label and state in states
    ]
    key.append(Line2D([], [], label="best so far", **_BEST))
    if search.chosen is not None:
        key.append(Line2D([], [], label="chosen", **_RING | {"markersize": 9}))
    return key


def _caption(search: Tried, frame: _Frame) -> str:
    """Describe the picture in words."""
    best, trials = search.best, search.trials
    parts = ", ".join(
        f"{kind} {trial.score:.4f}"
        for kind, trial in sorted(best.items(), key=lambda pair: -(pair[1].score or 0.0))
    )
    said = [
        f"{len(trials):,} {'trial' if len(trials) == 1 else 'trials'} by the time at which they "
        f"ended; the best of each kind with one standard error: {parts}."
    ]
    if search.chosen is not None:
        said.append(f"The ring marks what was chosen, {search.chosen.kind}.")
    counts = {state: sum(trial.state == state for trial in trials) for state in _STATES}
    told = {
        "stopped": "ended early and is hollow|ended early and are hollow",
        "failed": "failed",
        "left out": "was left out for want of time|were left out for want of time",
    }
    for state, words in told.items():
        one, _, many = words.partition("|")
        if number := counts[state]:
            said.append(f"{number:,} {one if number == 1 else many or one}.")
    if low := sum(trial.score is not None and trial.score < frame.floor for trial in trials):
        stand = "stands" if low == 1 else "stand"
        said.append(f"{low:,} with less than {frame.floor:.4f} {stand} below the dotted line.")
    return " ".join(said)
