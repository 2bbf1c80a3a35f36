"""How a training went: its loss and its validations by epoch."""

from collections.abc import Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from gnnrec_training.evaluation.validation import WATCHED_USERS
from gnnrec_training.report.pictures import FAINT, INK, ITEMS, THIRD, USERS, Picture, picture

_MARKED = 30
_TUNED = {"hybrid": " After that, validation set how much features may change."}


def loss_curve(variant: str, losses: Sequence[float]) -> Picture:
    """Draw the mean loss of each epoch."""
    first, last = losses[0], losses[-1]
    caption = (
        f"Mean loss of each of {len(losses)} epochs: {first:.4g} at the first, {last:.4g} at the "
        f"last. {_trend(losses)}"
    )

    def draw(axes: Axes) -> None:
        _line(axes, range(1, len(losses) + 1), losses, USERS)
        axes.set_ylabel("loss")
        _at_the_end(axes, len(losses), last, f"{last:.4g}")

    return picture(f"loss-{variant}", f"Loss of {variant}", caption, draw)


def validation_curve(
    variant: str, validations: Sequence[tuple[int, float]], metric: str, *, keeps_best: bool
) -> Picture:
    """Draw the validations of a variant, the best one marked."""
    epochs, scores = zip(*validations, strict=True)
    place = max(range(len(scores)), key=lambda step: scores[step])
    asked = "" if keeps_best else f" of at most {WATCHED_USERS:,} users"
    kept = "It was kept." if keeps_best else "The last epoch was kept: no patience is set."
    caption = (
        f"{metric.upper()}{asked} on the validation part, best {scores[place]:.4f} at epoch "
        f"{epochs[place]}. {kept}{_TUNED.get(variant, '')}"
    )

    def draw(axes: Axes) -> None:
        _line(axes, epochs, scores, THIRD)
        axes.axvline(epochs[place], color=FAINT, linewidth=0.8, linestyle=":")
        axes.plot([epochs[place]], [scores[place]], "o", color=ITEMS, markersize=6)
        axes.set_ylabel(metric.upper())
        _at_the_end(axes, epochs[-1], scores[-1], f"{scores[-1]:.4f}")

    return picture(f"validation-{variant}", f"Validation of {variant}", caption, draw)


def _line(axes: Axes, x: Sequence[int], y: Sequence[float], colour: str) -> None:
    marker = "o" if len(y) <= _MARKED else ""
    axes.plot(x, y, color=colour, marker=marker, markersize=3)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    axes.grid(axis="y")
    axes.margins(x=0.03, y=0.12)


def _at_the_end(axes: Axes, x: float, y: float, label: str) -> None:
    axes.annotate(
        label, (x, y), (6, 0), textcoords="offset points", va="center", color=INK,
        annotation_clip=False,
    )  # fmt: skip


def _trend(losses: Sequence[float]) -> str:
    """Say in words whether the loss was still falling at the end."""
    if len(losses) < 10:
        return ""
    falling = sum(later < earlier for earlier, later in pairwise(losses)) / (len(losses) - 1)
    tenth = max(1, len(losses) // 10)
    fallen = losses[0] - losses[-1]
    if fallen <= 0:
        return "It has not fallen."
    late = losses[-1 - tenth] - losses[-1]
    if late > 0.05 * fallen:
        return "It was still falling at the end: more epochs may help."
    return "It had levelled off at the end." if falling > 0.5 else "It is noisy."
