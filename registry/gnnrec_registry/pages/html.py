"""HTML pages that open from disk: one file each, without network, all inserted text escaped."""

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_TEMPLATES = Path(__file__).parent / "templates"


def render(template: Path, **values: Any) -> str:
    """Return a page: a template that extends page.html, filled with values.

    Texts are escaped, except values of type `markupsafe.Markup`. The page's content security policy
    allows no script but the one given as `script`.
    """
    return _environment(template.parent).get_template(template.name).render(values)


@cache
def _environment(folder: Path) -> Environment:
    environment = Environment(
        loader=FileSystemLoader([folder, _TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "count": count, "signed": signed, "sha256": _sha256}
    return environment


_METRICS = ("ndcg", "recall", "precision", "hit_rate", "mrr", "coverage")


def metric_place(metric: str) -> tuple[int, int, str]:
    """Return the sort key of a metric: by list length, then the most used metrics first."""
    name, _, k = metric.partition("@")
    place = _METRICS.index(name) if name in _METRICS else len(_METRICS)
    return int(k) if k.isdigit() else 0, place, name


def number(value: float | None) -> str:
    """Return a metric's value with four decimals, or - for None."""
    return "-" if value is None else f"{value:.4f}"


def signed(value: float | None) -> str:
    """Return a difference with its sign and four decimals, or - for None."""
    return "-" if value is None else f"{value:+.4f}"


def count(value: float) -> str:
    """Return a count with commas between thousands."""
    return f"{value:,.0f}"


def _sha256(script: str) -> str:
    """Return the hash by which a content security policy names an inline script."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
