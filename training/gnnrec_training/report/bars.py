"""Metrics as bars: models beside baselines, and slices of the users and items side by side."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from gnnrec_registry.versions.manifest import Metrics
from gnnrec_training.report.pictures import FAINT, INK, MUTED, Picture, picture


def metric_bars(
    models: dict[str, Metrics], colours: dict[str, str], metric: str, split: str
) -> Picture:
    """Draw one metric of variants and baselines, the best first.

    colours: the colour of each variant, the default one first
    """
    order = sorted(models, key=lambda name: models[name][metric])
    caption = (
        f"{metric} on the {split} part; more is better. Baselines are grey; {next(iter(colours))} "
        "is the default variant, blue."
    )

    def draw(axes: Axes) -> None:
        values = [models[name][metric] for name in order]
        axes.barh(order, values, color=[colours.get(name, FAINT) for name in order], height=0.62)
        _values(axes, list(range(len(order))), values)
        _clear(axes)

    return picture(
        "metrics", f"{metric} beside the baselines", caption, draw,
        height=max(1.5, 0.42 * len(order) + 0.4),
    )  # fmt: skip


def slice_bars(
    name: str,
    title: str,
    caption: str,
    groups: Sequence[str],
    series: dict[str, list[float]],
    colours: dict[str, str],
) -> Picture:
    """Draw a bar for each group and series; series: values by group."""
    thick = 0.8 / len(series)

    def draw(axes: Axes) -> None:
        for place, (label, values) in enumerate(series.items()):
            at = [group + (place - (len(series) - 1) / 2) * thick for group in range(len(groups))]
            axes.barh(at, values, height=thick * 0.88, color=colours[label], label=label)
            _values(axes, at, values)
        axes.set_yticks(range(len(groups)), groups)
        axes.invert_yaxis()
        _clear(axes)
        if len(series) > 1:
            axes.legend(
                loc="lower left", bbox_to_anchor=(0, 1), ncols=3, labelcolor=MUTED, borderpad=0
            )

    bars = len(groups) * len(series)
    return picture(
        name, title, caption, draw, height=max(1.6, 0.24 * bars + 0.15 * len(groups) + 0.6)
    )


def activity_bars(
    slices: dict[str, Any], colours: dict[str, str], metric: str, split: str
) -> Picture:
    """Draw a metric of each slice of the users, by variant."""
    rows = {variant: entry[split]["by_activity"] for variant, entry in slices.items()}
    first = next(iter(rows.values()))
    return slice_bars(
        "activity",
        f"{metric} by how active users are",
        f"{metric} on the {split} part: the mean over users with so many known interactions.",
        [
            f"{row['users_with'].removesuffix(' interactions')}\n{row['users']:,} users"
            for row in first
        ],
        {variant: [row["metrics"][metric] for row in part] for variant, part in rows.items()},
        colours,
    )


def item_bars(slices: dict[str, Any], colours: dict[str, str], found: str, split: str) -> Picture:
    """Draw the share of held-out interactions found in each slice of the items, by variant."""
    rows = {variant: entry[split]["by_popularity"] for variant, entry in slices.items()}
    first = next(iter(rows.values()))
    return slice_bars(
        "rarity",
        f"{found} by how popular items are",
        f"Share of the held-out interactions of the {split} part that stood in a list, by how many "
        "users the item is known to have. Each part has as many interactions, so the popular part "
        "has few items.",
        [
            f"{row['items_with'].removesuffix(' users')} users\n{row['items']:,} items"
            for row in first
        ],
        {variant: [row[found] for row in part] for variant, part in rows.items()},
        colours,
    )


def _values(axes: Axes, at: Sequence[float], values: Sequence[float]) -> None:
    for y, value in zip(at, values, strict=True):
        axes.annotate(
            f"{value:.4f}", (value, y), (4, 0), textcoords="offset points", va="center",
            fontsize=9, color=INK,
        )  # fmt: skip


def _clear(axes: Axes) -> None:
    axes.spines[["bottom", "left"]].set_visible(False)
    axes.set_xticks([])
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.16)
