"""The page of a comparison of two versions."""

from pathlib import Path

from gnnrec.comparison.compare import Comparison
from gnnrec.comparison.facts import is_metric
from gnnrec.pages.charts import WIDTH, columns, intervals
from gnnrec_registry.pages.html import render

_TEMPLATE = Path(__file__).parent / "templates" / "compare.html"


def render_page(comparison: Comparison) -> str:
    """Return the page as HTML; it needs no other file."""
    splits = list(dict.fromkeys(metric.split for metric in comparison.metrics))
    answers = comparison.answers
    tenths = [*(f"{10 * tenth}" for tenth in range(9)), ""]  # the last column is labelled 100%
    return render(
        _TEMPLATE,
        comparison=comparison,
        verdict=verdict(comparison),
        width=WIDTH,
        parts=[
            (split, rows, intervals(rows))
            for split in splits
            if (rows := [metric for metric in comparison.metrics if metric.split == split])
        ],
        histogram=[] if answers is None else columns(answers.overlap.histogram, tenths),
        moves=[]
        if answers is None
        else [("Biggest winners", answers.winners), ("Biggest losers", answers.losers)],
        facts={key: pair for key, pair in comparison.differences.items() if not is_metric(key)},
    )


def verdict(comparison: Comparison) -> tuple[str, str]:
    """Return the tone ("good", "bad" or "") and a sentence about the first NDCG of B."""
    first = next(
        (metric for metric in comparison.metrics if metric.metric.startswith("ndcg@")), None
    )
    if first is None or first.a is None or first.b is None:
        return "", "No metric was measured in both versions."
    if first.difference is None or first.low is None or first.high is None:
        return "", (
            f"B has {first.metric} {first.b:.4f} on {first.split}, A {first.a:.4f}; no user was "
            "measured in both, so how sure the difference is cannot be said."
        )
    spread = (
        f"{first.metric} on {first.split} goes from {first.a:.4f} to {first.b:.4f}: "
        f"{first.difference:+.4f}, between {first.low:+.4f} and {first.high:+.4f} with 95% "
        f"confidence over {first.users:,} users."
    )
    match first.verdict:
        case "better":
            return "good", f"B is better. {spread}"
        case "worse":
            return "bad", f"B is worse. {spread}"
        case _:
            return "", f"No clear difference. {spread}"
