"""Pictures in one style and three forms: PNG, SVG, and SVG inside a page."""

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, MUTED, LINE, CARD = "#1c2530", "#55606e", "#d3d9e0", "#f5f7f9"
USERS, ITEMS, THIRD, FOURTH = "#1f5fa8", "#ab440e", "#23703f", "#7a3fa0"
FAINT = "#8a95a3"
SERIES = (USERS, ITEMS, THIRD, FOURTH, INK)

WIDTH = 4.7
"""Inches: narrow, so that a phone shows the text as large as it was written."""

# In a page a colour is a variable of style.css, so that a picture follows the reader's theme.
_VARIABLES = {
    INK: "ink", MUTED: "muted", LINE: "line", CARD: "card", FAINT: "faint",
    USERS: "users", ITEMS: "items", THIRD: "third", FOURTH: "fourth",
}  # fmt: skip

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "gnnrec",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 10.0,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "axes.axisbelow": True,
}

_DPI = 150


@dataclass(frozen=True)
class Picture:
    """A picture in its three forms; the caption describes it in words."""

    name: str
    title: str
    caption: str
    png: bytes
    svg: bytes
    inline: Markup


def picture(
    name: str, title: str, caption: str, draw: Callable[[Axes], None], *, height: float = 2.9
) -> Picture:
    """Return what `draw` draws, as a picture `height` inches high."""
    with _styled():
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        draw(figure.add_subplot())
        png = io.BytesIO()
        # the layout is computed once, for both forms
        figure.savefig(png, format="png", dpi=_DPI, facecolor="white", metadata={"Software": None})
        figure.set_layout_engine("none")
        svg = io.BytesIO()
        figure.savefig(
            svg, format="svg", dpi=_DPI, transparent=True, metadata={"Date": None, "Creator": None}
        )
    text = svg.getvalue().decode()
    return Picture(name, title, caption, png.getvalue(), _on_white(text), _inline(text, title))


def short(text: str, length: int = 24) -> str:
    """Return a label of at most `length` letters, in one line."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= length else f"{text[: length - 1].rstrip()}…"


def bare(axes: Axes) -> None:
    """Hide the frame, ticks and labels of axes."""
    axes.set_axis_off()


@contextmanager
def _styled() -> Iterator[None]:
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # a letter that the font lacks is a box in the PNG; the SVG holds text and is right
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def _on_white(svg: str) -> bytes:
    """Return an SVG that stands alone on a white ground, whatever is behind it."""
    return re.sub(r"(<svg [^>]*>)", r'\1<rect width="100%" height="100%" fill="#ffffff"/>',
                  svg, count=1).encode()  # fmt: skip


def _inline(svg: str, title: str) -> Markup:
    """Return an SVG to put into a page, which gives it its size and the colours of the theme."""
    body = svg[svg.index("<svg ") :]
    body = re.sub(r' (width|height)="[\d.]+pt"', "", body, count=2)
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    used = set(re.findall(r'(?:url\(#|href="#)([\w-]+)', body))
    body = re.sub(r' id="([\w.-]+)"', lambda found: found[0] if found[1] in used else "", body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, f"var(--{variable})")
    label = Markup('<svg role="img" aria-label="{}" ').format(title)
    return label + Markup(body[len("<svg ") :])
