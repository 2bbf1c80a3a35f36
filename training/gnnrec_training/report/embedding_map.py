"""The map: embeddings of users and items, projected to two dimensions. N nodes, D dimensions."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from numpy.typing import NDArray

from gnnrec_registry.files.arrays import Embeddings
from gnnrec_training.report.pictures import CARD, INK, ITEMS, MUTED, USERS, Picture, picture, short

_LABELLED = 60
_NAMED, _CANDIDATES = 10, 100
_POINTS = 4000
_FITTED = 4096
_AXES = 8
_ROUNDS = 12
_DENSITY = {USERS: "#3f7fc4", ITEMS: "#c9682c"}

Points = NDArray[np.float64]
"""(N, 2)."""

Box = tuple[float, float, float, float]
"""Left, bottom, right and top, as shares of the axes."""

_SIDES = (
    (0.02, 0.0, "left"), (-0.02, 0.0, "right"), (0.0, 0.055, "center"), (0.0, -0.055, "center"),
    (0.02, 0.05, "left"), (0.02, -0.05, "left"), (-0.02, 0.05, "right"), (-0.02, -0.05, "right"),
)  # fmt: skip
"""Where a label may stand beside its point, the best first: offsets and alignment."""


def project(users: Embeddings, items: Embeddings) -> tuple[Points, Points, tuple[float, float]]:
    """Return users and items along their first two principal components, and the shares of both.

    (U, D), (I, D) -> (U, 2), (I, 2), shares of the variance. The components are fitted on at most
    4096 rows, by subspace iteration (Golub and Van Loan, "Matrix Computations", 8.2.4); the sign
    makes the largest loading positive. Where all rows are equal, every point is the origin.
    """
    rows = np.unique(np.linspace(0, len(users) + len(items) - 1, _FITTED).astype(np.int64))
    of_users, of_items = rows[rows < len(users)], rows[rows >= len(users)] - len(users)
    sampled = np.concatenate([users[of_users], items[of_items]]).astype(np.float64)
    centre = sampled.mean(axis=0)
    fitted = sampled - centre
    total = float((fitted**2).sum())
    scale = float(np.abs(sampled).max()) or 1.0
    if total <= fitted.size * (1e-7 * scale) ** 2:
        return np.zeros((len(users), 2)), np.zeros((len(items), 2)), (0.0, 0.0)
    start = np.random.default_rng(0).standard_normal((fitted.shape[1], _AXES))
    basis = np.linalg.qr(start)[0]
    for _ in range(_ROUNDS):
        basis = np.linalg.qr(fitted.T @ (fitted @ basis))[0]
    _, values, rotation = np.linalg.svd(fitted @ basis, full_matrices=False)
    axes = (basis @ rotation.T)[:, :2]
    axes = np.pad(axes, ((0, 0), (0, 2 - axes.shape[1])))
    axes *= np.where(axes[np.abs(axes).argmax(axis=0), [0, 1]] < 0, -1, 1)
    shares = np.pad(values**2 / total, (0, 2))
    user_points, item_points = (
        half @ axes.astype(np.float32) - centre @ axes for half in (users, items)
    )
    return user_points, item_points, (float(shares[0]), float(shares[1]))


def maps(
    users: Embeddings,
    items: Embeddings,
    user_labels: list[str],
    item_labels: list[str],
    popularity: NDArray[np.int64],
) -> list[Picture]:
    """Draw the map: labelled where there are few nodes, as a density where there are many.

    users (U, D), items (I, D), popularity (I,): each item's number of interactions
    """
    user_points, item_points, shares = project(users, items)
    points = np.concatenate([user_points, item_points])
    said = _said(points, shares)
    popular = _popular(item_points, item_labels, popularity)
    if len(points) > _POINTS:
        limits = _limits(points)
        return [
            _density("users", user_points, limits, USERS, said, []),
            _density("items", item_points, limits, ITEMS, said, popular),
        ]
    if len(points) > _LABELLED:
        said += " Popular items are named where there is room."
        return [_scatter(user_points, item_points, shares, said, popular)]
    labels = list(zip(map(tuple, points), [*user_labels, *item_labels], strict=True))
    return [_scatter(user_points, item_points, shares, said, labels)]


def _said(points: Points, shares: tuple[float, float]) -> str:
    """Return what the caption says of the components."""
    if not points.any():
        return "All embeddings are equal, so the map is one point: nothing was learned."
    return (
        "The two principal components of users and items together hold "
        f"{shares[0]:.0%} and {shares[1]:.0%} of the variance. What lies in the same direction "
        "from the centre scores high together."
    )


def _scatter(
    user_points: Points,
    item_points: Points,
    shares: tuple[float, float],
    said: str,
    labels: list[tuple[tuple[float, ...], str]],
) -> Picture:
    """Draw a point for each node; all are labelled where there are few."""
    points = np.concatenate([user_points, item_points])
    few = len(points) <= _LABELLED

    def draw(axes: Axes) -> None:
        for side, marker, colour in ((user_points, "s", USERS), (item_points, "o", ITEMS)):
            axes.scatter(
                side[:, 0], side[:, 1], s=34 if few else 9, marker=marker, color=colour,
                linewidths=0, alpha=0.85 if few else 0.45, rasterized=len(points) > 400,
            )  # fmt: skip
        _frame(axes, _limits(points), shares)
        _legend(axes)
        most = _LABELLED if few else _NAMED
        _label(axes, labels, all_of_them=len(points) <= 30, most=most)

    return picture(
        "map", "Map of users and items", f"Users are squares, items circles. {said}", draw,
        height=3.9,
    )  # fmt: skip


def _density(
    side: str,
    points: Points,
    limits: tuple[float, float, float, float],
    colour: str,
    said: str,
    labels: list[tuple[tuple[float, ...], str]],
) -> Picture:
    """Draw how densely the points of one side lie."""
    named = " Popular ones are named where there is room." if labels else ""
    middle = _DENSITY[colour]
    shades = LinearSegmentedColormap.from_list(side, [f"{middle}2e", f"{middle}ff"])

    def draw(axes: Axes) -> None:
        axes.hexbin(
            points[:, 0], points[:, 1], gridsize=46, extent=limits, cmap=shades,
            norm=LogNorm(), mincnt=1, linewidths=0.1, rasterized=True,
        )  # fmt: skip
        _frame(axes, limits, None)
        _label(axes, labels, all_of_them=False, most=_NAMED)

    return picture(
        f"map-{side}", f"Map of the {side}",
        f"Where the {len(points):,} {side} lie; the stronger the colour, the more. Both have one "
        f"frame.{named} {said}", draw, height=3.7,
    )  # fmt: skip


def _limits(points: Points) -> tuple[float, float, float, float]:
    """Return the limits of the axes: around all points, or nearly all where there are many."""
    tail = 0.002 if len(points) > _POINTS else 0.0
    (left, low), (right, high) = np.quantile(points, [tail, 1 - tail], axis=0)
    margin_x, margin_y = (0.08 * (right - left) or 1.0), (0.08 * (high - low) or 1.0)
    return left - margin_x, right + margin_x, low - margin_y, high + margin_y


def _frame(
    axes: Axes, limits: tuple[float, float, float, float], shares: tuple[float, float] | None
) -> None:
    axes.axis(limits)
    axes.set_xticks([])
    axes.set_yticks([])
    which = ["", ""] if shares is None else [f" ({share:.0%} of variance)" for share in shares]
    axes.set_xlabel(f"first component{which[0]}")
    axes.set_ylabel(f"second component{which[1]}")


def _legend(axes: Axes) -> None:
    for name, marker, colour in (("users", "s", USERS), ("items", "o", ITEMS)):
        axes.scatter([], [], s=26, marker=marker, color=colour, label=name, linewidths=0)
    axes.legend(
        loc="lower right", bbox_to_anchor=(1, 1), ncols=2, labelcolor=MUTED, borderpad=0,
        handletextpad=0.1, columnspacing=1,
    )  # fmt: skip


def _popular(
    points: Points, labels: list[str], popularity: NDArray[np.int64]
) -> list[tuple[tuple[float, ...], str]]:
    """Return the points and labels of the most popular items, the most popular first."""
    best = np.argsort(-popularity, kind="stable")[:_CANDIDATES]
    return [(tuple(points[row]), labels[row]) for row in best]


def _label(
    axes: Axes,
    labels: list[tuple[tuple[float, ...], str]],
    *,
    all_of_them: bool,
    most: int,
) -> None:
    """Name points where there is room beside them; with `all_of_them` also where there is none."""
    left, right, low, high = axes.axis()
    taken: list[Box] = []
    for (x, y), label in labels:
        if len(taken) >= most:
            break
        text = short(label, 22)
        at = ((x - left) / (right - left), (y - low) / (high - low))
        found = _room_beside(at, text, taken)
        if found is None:
            if not all_of_them:
                continue
            found = (*_SIDES[0], (at[0], at[1], at[0], at[1]))
        dx, dy, align, box = found
        taken.append(box)
        axes.text(
            at[0] + dx, at[1] + dy, text, transform=axes.transAxes, ha=align, va="center",
            fontsize=9, color=INK, clip_on=False,
            bbox={"boxstyle": "square,pad=0.08", "facecolor": CARD, "alpha": 0.7, "linewidth": 0},
        )  # fmt: skip


def _room_beside(
    at: tuple[float, float], text: str, taken: list[Box]
) -> tuple[float, float, str, Box] | None:
    """Return where a label beside a point overlaps no other and stays inside, None if nowhere.

    -> its offset from the point, its alignment, and its box
    """
    width, height = 0.0185 * len(text) + 0.03, 0.06
    for dx, dy, align in _SIDES:
        start = {"left": 0.0, "right": width, "center": width / 2}[align]
        x, y = at[0] + dx - start, at[1] + dy - height / 2
        box = (x, y, x + width, y + height)
        inside = box[0] > -0.02 and box[2] < 1.04 and box[1] > 0 and box[3] < 1
        if inside and not any(_overlap(box, other) for other in taken):
            return dx, dy, align, box
    return None


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
