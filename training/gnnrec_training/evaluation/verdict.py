"""Whether what is served is worth serving: the served variant beside every simple baseline."""

from collections.abc import Mapping
from dataclasses import dataclass

from gnnrec_registry.files.json import Json
from gnnrec_registry.pages.html import number, signed
from gnnrec_training.config import Config
from gnnrec_training.evaluation.intervals import Mean, mean_of, paired_difference
from gnnrec_training.evaluation.measurement import Measured, judged_by
from gnnrec_training.evaluation.seen import Split

_NO_BAR = "random"
"""The baseline that nobody would serve."""


@dataclass(frozen=True)
class Row:
    """A model's NDCG and recall, by the name of the metric, and what the served variant has more.

    `more` is that variant's metric minus this model's, paired by user; 0 for the variant itself.
    """

    model: str
    metrics: Mapping[str, Mean]
    more: Mapping[str, Mean]


@dataclass(frozen=True)
class Verdict:
    """The served variant and the baselines on the part that is judged by."""

    sentence: str
    rows: tuple[Row, ...]
    """The served variant, then the baselines, the best first."""
    split: Split
    beats_baselines: bool
    """Whether its NDCG is above the best baseline's, or no less by more than the noise."""
    clearly: bool
    """Whether it is above by more than the noise."""
    best_baseline: str

    def table(self) -> list[list[str]]:
        """Return the rows as texts, the header first."""
        metrics = list(self.rows[0].metrics)
        header = [f"on {self.split}"]
        for metric in metrics:
            header += [metric, "error", "served has more"]
        lines = [header]
        for place, row in enumerate(self.rows):
            line = [row.model]
            for metric in metrics:
                mean, more = row.metrics[metric], row.more[metric]
                line += [number(mean.value), number(mean.standard_error)]
                line.append(f"{signed(more.low)} to {signed(more.high)}" if place else "")
            lines.append(line)
        return lines

    def record(self) -> Json:
        """Return it as JSON values."""
        return {
            "sentence": self.sentence,
            "split": self.split,
            "beats_baselines": self.beats_baselines,
            "baseline": self.best_baseline,
            "rows": [
                {
                    "model": row.model,
                    "metrics": {name: _record(mean) for name, mean in row.metrics.items()},
                    "served_has_more": {name: _record(mean) for name, mean in row.more.items()},
                }
                for row in self.rows
            ],
        }


def judge(
    config: Config, measured: Measured, served: str, *, chosen_by_search: bool = False
) -> Verdict | None:
    """Compare the served variant with every baseline on test, else on validation.

    Models that are no variants of the configuration are baselines, all but the random one. The best
    one has the highest NDCG. Returns None where nothing was measured.
    """
    split: Split | None = next(
        (part for part in ("test", "validation") if part in measured.per_user[served]), None
    )
    if split is None:
        return None
    ndcg, _ = judged_by(config)
    names = [name for name in measured.per_user if name not in (*config.variants, _NO_BAR)]
    baselines = sorted(
        (_row(measured, name, served, split) for name in names),
        key=lambda row: -row.metrics[ndcg].value,
    )
    best, ours = baselines[0], _row(measured, served, served, split)
    more = best.more[ndcg]
    who = _served(config, served, chosen_by_search=chosen_by_search)
    return Verdict(
        sentence=f"{who}: {_beside(ours, best, ndcg, split)}.",
        rows=(ours, *baselines),
        split=split,
        beats_baselines=more.high >= 0,
        clearly=more.low > 0,
        best_baseline=best.model,
    )


def _row(measured: Measured, name: str, served: str, split: Split) -> Row:
    values, ours = measured.per_user[name][split], measured.per_user[served][split]
    unknown = measured.unknown_users[split]
    return Row(
        name,
        {metric: mean_of(values[metric], unknown) for metric in values},
        {metric: paired_difference(ours[metric], values[metric], unknown) for metric in values},
    )


def _served(config: Config, served: str, *, chosen_by_search: bool) -> str:
    """Say what is served, and by whose choice if there was any."""
    if chosen_by_search:
        return f"{served} is served, as the search chose"
    if config.serve is not None:
        return f"{served} is served, as configured"
    if len(config.variants) == 1:
        return f"{served} is served"
    return f"{served} is served, the best of {len(config.variants)} on validation"


def _beside(ours: Row, best: Row, metric: str, split: Split) -> str:
    """Say how the served variant stands beside the best baseline."""
    value, theirs, more = ours.metrics[metric].value, best.metrics[metric].value, best.more[metric]
    measured = f"{metric.upper()} {number(value)} on {split}"
    them = f"the best baseline, {best.model} {number(theirs)}"
    difference, low, high = (_change(part, theirs) for part in (more.value, more.low, more.high))
    interval = f"95% interval {low} to {high}"
    if more.low > 0:
        return f"{measured}, {difference.lstrip('+')} above {them} ({interval})"
    if more.high >= 0:
        return (
            f"{measured}, no worse than {them}: the difference of {difference} is within the "
            f"noise ({interval})"
        )
    below = difference.lstrip("-")
    return f"{measured}, {below} below {them} ({interval}); it is not promoted unless forced"


def _change(difference: float, of: float) -> str:
    """Return a difference as a signed share of the baseline's metric, or as it is if that is 0."""
    if of == 0:
        return signed(difference)
    share = difference / of
    return f"{share:+.0%}" if abs(share) >= 0.1 else f"{share:+.1%}"


def _record(mean: Mean) -> Json:
    return {
        "mean": mean.value,
        "standard_error": mean.standard_error,
        "low": mean.low,
        "high": mean.high,
    }
