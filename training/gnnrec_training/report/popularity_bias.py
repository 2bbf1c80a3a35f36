"""How recommended lists spread over the items, and whether they favour popular ones. I items."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from gnnrec_training.report.pictures import MUTED, Picture, picture

Counts = NDArray[np.int64]
"""A number for each item: (I,)."""

_STYLES = {"training data": "--", "popularity": ":"}
_BASELINE = "-."
"""The lines of what is no variant of the version, and so has no colour of its own."""

BIAS_MEANINGS = {
    "head share": "share of the places in lists that the most popular tenth of the items takes",
    "mean popularity": "training interactions of an item in a list, on average over places",
    "gini": "0 if every item stands in as many lists as any other, near 1 if few take all places",
}


def popularity_bias(shown: Counts, popularity: Counts) -> dict[str, float]:
    """Return the measures of BIAS_MEANINGS.

    shown: in how many lists each item stands; popularity: each item's training interactions
    """
    total = max(1, int(shown.sum()))
    head = np.argsort(-popularity, kind="stable")[: max(1, len(popularity) // 10)]
    return {
        "head_share": float(shown[head].sum() / total),
        "mean_popularity": float(shown @ popularity / total),
        "gini": gini(shown),
    }


def gini(counts: Counts) -> float:
    """Return the Gini coefficient of counts; 0 where there are none."""
    total = int(counts.sum())
    if total == 0:
        return 0.0
    ascending = np.sort(counts).astype(np.float64)
    ranks = np.arange(1, len(counts) + 1)
    return float((2 * ranks - len(counts) - 1) @ ascending / (len(counts) * total))


def bias_picture(
    shown: Mapping[str, Counts], colours: Mapping[str, str], popularity: Counts, k: int
) -> Picture:
    """Draw what share of the places in lists the most popular items take, by model."""
    order = np.argsort(-popularity, kind="stable")
    share = np.arange(1, len(order) + 1) / len(order)
    step = max(1, len(order) // 400)
    lines = {**shown, "training data": popularity}

    def draw(axes: Axes) -> None:
        for place, (name, counts) in enumerate(lines.items()):
            taken = np.cumsum(counts[order]) / max(1, counts.sum())
            axes.plot(
                np.concatenate([[0], share[step - 1 :: step], [1]]),
                np.concatenate([[0], taken[step - 1 :: step], [1 if counts.any() else 0]]),
                color=colours.get(name, MUTED),
                linestyle="-" if name in colours else _STYLES.get(name, _BASELINE),
                label=name,
                zorder=4 - place / len(lines),  # the first line is drawn on top
            )
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_xlabel("items, the most popular first")
        axes.set_ylabel("share of all places")
        axes.grid()
        axes.margins(0.02)
        axes.legend(loc="lower right", labelcolor=MUTED)

    caption = (
        f"Which share of the places in the first {k} the most popular items take. Above the dashed "
        "line, lists lean more to popular items than people did; below it, less."
    )
    return picture("popularity", "Popularity bias", caption, draw)
