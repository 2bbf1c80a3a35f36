"""Pictures of the graph: all of it where it is small, else its degrees and a neighbourhood."""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from gnnrec_training.graph.sparse import Csr
from gnnrec_training.report.pictures import (
    FAINT,
    FOURTH,
    INK,
    ITEMS,
    MUTED,
    USERS,
    Picture,
    bare,
    picture,
    short,
)

_USERS, _ITEMS, _EDGES = 25, 30, 250
_NEAR_ITEMS, _NEAR_USERS, _FAR_ITEMS = 6, 8, 8


def graph_pictures(seen: Csr, user_labels: list[str], item_labels: list[str]) -> list[Picture]:
    """Draw the interactions; seen (U, I)."""
    users, items, edges = len(user_labels), len(item_labels), len(seen.columns)
    if users <= _USERS and items <= _ITEMS and edges <= _EDGES:
        rows = np.repeat(np.arange(users), np.diff(seen.indptr))
        caption = f"{users} users on the left, {items} items on the right, {edges} interactions."
        drawn = _two_sided(
            np.arange(users), np.arange(items), np.stack([rows, seen.columns], 1),
            user_labels, item_labels,
        )  # fmt: skip
        return [picture("graph", "The graph", caption, drawn[0], height=drawn[1])]
    return [_degrees(seen, items), _neighbourhood(seen, user_labels, item_labels)]


def _degrees(seen: Csr, items: int) -> Picture:
    activity = np.diff(seen.indptr)
    popularity = np.bincount(seen.columns, minlength=items)
    caption = (
        f"How many users have at least so many interactions, and how many items. A user has "
        f"{np.median(activity):.0f} in the middle and {activity.max():,} at most; an item "
        f"{np.median(popularity):.0f} and {popularity.max():,}."
    )

    def draw(axes: Axes) -> None:
        for name, degrees, colour in (("users", activity, USERS), ("items", popularity, ITEMS)):
            values, counts = np.unique(degrees[degrees > 0], return_counts=True)
            at_least = np.cumsum(counts[::-1])[::-1]
            axes.step(values, at_least, where="post", color=colour, label=name)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("interactions, at least")
        axes.set_ylabel("how many")
        axes.minorticks_off()
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.grid()
        axes.legend(labelcolor=MUTED)

    return picture("degrees", "Degrees of the graph", caption, draw)


def _neighbourhood(seen: Csr, user_labels: list[str], item_labels: list[str]) -> Picture:
    centre, users, items = neighbourhood(seen, len(item_labels))
    edges = [
        (place, int(np.flatnonzero(items == item)[0]))
        for place, user in enumerate(users)
        for item in seen.columns[seen.indptr[user] : seen.indptr[user + 1]]
        if item in items
    ]
    draw, height = _two_sided(
        users, items, np.array(edges).reshape(-1, 2), user_labels, item_labels, centre
    )
    caption = (
        f"A sample around one user of middling activity, {short(user_labels[centre])}: "
        f"{len(users)} users and {len(items)} items within three steps."
    )
    return picture("neighbourhood", "A neighbourhood", caption, draw, height=height)


def neighbourhood(seen: Csr, items: int) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
    """Return a user of median activity, and users and items near: rows, ascending."""
    activity = np.diff(seen.indptr)
    active = np.flatnonzero(activity)
    order = active[np.argsort(activity[active], kind="stable")]
    centre = int(order[len(order) // 2])
    near = _spread(seen.columns[seen.indptr[centre] : seen.indptr[centre + 1]], _NEAR_ITEMS)
    rows = np.repeat(np.arange(len(activity)), activity)
    others = [_spread(rows[seen.columns == item], 3) for item in near]
    found = np.unique(np.concatenate([np.array([centre]), *others]))
    users = np.unique(np.append(_spread(found, _NEAR_USERS), centre))
    theirs = [_spread(seen.columns[seen.indptr[u] : seen.indptr[u + 1]], 3) for u in users]
    far = np.setdiff1d(np.concatenate(theirs), near)
    return centre, users, np.union1d(near, _spread(far, _FAR_ITEMS)).astype(np.int64)


def _spread(values: NDArray[np.integer], count: int) -> NDArray[np.int64]:
    """Return at most `count` of the values, evenly spaced."""
    if len(values) <= count:
        return values.astype(np.int64)
    return values[np.linspace(0, len(values) - 1, count).astype(np.int64)].astype(np.int64)


def _two_sided(
    users: NDArray[np.int64],
    items: NDArray[np.int64],
    edges: NDArray[np.int64],
    user_labels: list[str],
    item_labels: list[str],
    centre: int = -1,
) -> tuple[Callable[[Axes], None], float]:
    """Return a function that draws users on the left and items on the right, and its height.

    edges (E, 2): places in `users` and `items`; centre: a user row to mark. Items are ordered by
    the mean place of their users, so that few lines cross. The height is in inches.
    """
    mean = np.full(len(items), np.inf)
    if len(edges):
        counts = np.bincount(edges[:, 1], minlength=len(items))
        sums = np.bincount(edges[:, 1], edges[:, 0].astype(float), len(items))
        mean[counts > 0] = sums[counts > 0] / counts[counts > 0]
    order = np.argsort(mean, kind="stable")
    place = np.empty(len(items))
    place[order] = np.arange(len(items))
    tallest = max(len(users), len(items))
    left = _heights(np.arange(len(users)), len(users), tallest)
    right = _heights(place, len(items), tallest)

    def draw(axes: Axes) -> None:
        lines = [[(0.0, left[u]), (1.0, right[i])] for u, i in edges]
        mine = [centre >= 0 and users[u] == centre for u, _ in edges]
        axes.add_collection(
            LineCollection(
                lines,
                colors=[FOURTH if own else FAINT for own in mine],
                linewidths=[1.4 if own else 0.8 for own in mine],
            )
        )
        axes.scatter(np.zeros(len(users)), left, s=70, marker="s", zorder=2, linewidths=0,
                     color=[FOURTH if user == centre else USERS for user in users])  # fmt: skip
        axes.scatter(np.ones(len(items)), right, s=70, marker="o", color=ITEMS, zorder=2,
                     linewidths=0)  # fmt: skip
        for y, user in zip(left, users, strict=True):
            axes.text(-0.06, y, short(user_labels[user], 14), ha="right", va="center", color=INK)
        for y, item in zip(right, items, strict=True):
            axes.text(1.06, y, short(item_labels[item], 28), ha="left", va="center", color=INK)
        axes.set_ylim(tallest - 0.4, -0.6)
        axes.set_xlim(-0.1, 1.1)
        bare(axes)

    return draw, max(1.6, 0.27 * tallest + 0.3)


def _heights(places: NDArray[np.float64 | np.int64], count: int, tallest: int) -> list[float]:
    """Return the heights of places, where `count` of them fill the height of the taller side."""
    if count == 1:
        return [(tallest - 1) / 2] * len(places)
    return [float(place) * (tallest - 1) / (count - 1) for place in places]
