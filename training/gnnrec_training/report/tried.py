"""What a search for the models tried, read from its record, as words and as tables."""

from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from gnnrec_registry.files.json import Json
from gnnrec_registry.pages.html import count, number
from gnnrec_training.report.contents import Contents
from gnnrec_training.report.page import Row, Table, flat
from gnnrec_training.report.pictures import short

_KINDS = {"graph": "graph", "fusion": "fused"}
"""What a trial of a stage is called that is not for one kind of model."""
_REASON = 160


@dataclass(frozen=True)
class Trial:
    """A trial of the record, with the time at which it ended."""

    stage: str
    model: str
    settings: dict[str, Any]
    state: str
    """done, stopped, failed or left out."""
    score: float | None
    error: float | None
    seconds: float
    ended_s: float
    """The seconds of all trials up to the end of this one."""
    epochs: int
    """How far a trial that was stopped had come."""
    why: str

    @property
    def kind(self) -> str:
        """The kind of model; "graph" and "fused" for trials that are not about one kind."""
        return _KINDS.get(self.stage, self.model)

    @property
    def name(self) -> str:
        """The kind, and what is particular about the trial."""
        special = {"graph": f"graph, by {self.model}", "full": f"{self.model}, in full"}
        return special.get(self.stage, self.kind)

    @property
    def said(self) -> str:
        """The state, with the reason if there is one."""
        if self.state == "stopped":
            return f"stopped after {self.epochs} epochs" if self.epochs else "stopped"
        return f"{self.state}: {short(self.why, _REASON)}" if self.why else self.state


@dataclass(frozen=True)
class Tried:
    """A search for the models, and what it chose."""

    minutes: float
    """The time that it had; 0 for no limit, where each kind of model is tried once."""
    out_of_time: bool
    """Whether the clock ended it before its plan did."""
    why: str
    metric: str
    """What the scores are, on the validation part."""
    trials: list[Trial]
    graph: dict[str, Any]
    """What the chosen graph has beside its defaults."""
    served: str
    weights: dict[str, float]
    """Of the models that the chosen fusion joins; empty if none is served."""

    @property
    def kinds(self) -> dict[str, list[Trial]]:
        """The trials of each kind, in the order of the search."""
        found: dict[str, list[Trial]] = {}
        for trial in self.trials:
            found.setdefault(trial.kind, []).append(trial)
        return found

    @property
    def seconds(self) -> float:
        """How long all trials took."""
        return sum(trial.seconds for trial in self.trials)

    @property
    def best(self) -> dict[str, Trial]:
        """What came of each kind: its best trial, none for a kind that none was measured of.

        Of a kind that is trained in full after shorter trials, the full training; of graphs and
        fusions the chosen one.
        """
        found = {}
        for kind, trials in self.kinds.items():
            done = [trial for trial in trials if trial.state == "done" and trial.score is not None]
            if done:
                found[kind] = max(done, key=self._place)
        return found

    @property
    def chosen(self) -> Trial | None:
        """The trial of what is served."""
        return self.best.get(self.served)

    def _place(self, trial: Trial) -> tuple[bool, float]:
        """Return the sort key by which the last of a kind is what came of it."""
        wanted = {
            "graph": _without_moment(trial.settings) == self.graph,
            "fusion": trial.settings == self.weights,
            "full": True,
        }
        return wanted.get(trial.stage, False), trial.score or 0.0


def tried(contents: Contents) -> Tried | None:
    """Return what the search of a training tried; None if there was none."""
    record = contents.search
    if record is None:
        return None
    config = contents.config
    ended = accumulate(entry["seconds"] for entry in record["trials"])
    fusion = config.fusion
    return Tried(
        minutes=record["minutes"],
        out_of_time=record["out_of_time"],
        why=record["why"],
        metric=f"NDCG@{min(max(config.evaluation.k), len(contents.dataset.item_ids))}",
        trials=[_trial(*pair) for pair in zip(record["trials"], ended, strict=True)],
        graph=_without_moment(config.graph.model_dump(exclude_defaults=True)),
        served=contents.default_variant,
        weights={} if fusion is None else dict(fusion.weights),
    )


def words(search: Tried) -> str:
    """Say what was chosen and why, how long it took, and whether time was enough."""
    took = f"{search.seconds:,.0f} s"
    if search.minutes == 0:
        time = f"Each kind of model was tried once, without a limit of time; that took {took}."
    elif search.out_of_time:
        time = (
            f"The clock ended it before its plan: it had {search.minutes:g} minutes, and with more "
            "it would try more."
        )
    else:
        time = (
            f"It had {search.minutes:g} minutes and went through its whole plan; trials took "
            f"{took}."
        )
    return (
        f"The search chose {search.why}. {time} Scores are {search.metric} on the validation "
        "part: the search never looks at the test part."
    )


def tables(search: Tried) -> list[Table]:
    """Return the best trial of each kind, and all trials."""
    return [_best(search), _all(search)]


def _best(search: Tried) -> Table:
    chosen = search.chosen
    rows = []
    for kind, trials in search.kinds.items():
        trial = search.best.get(kind)
        took = [count(len(trials)), _seconds(sum(trial.seconds for trial in trials))]
        if trial is None:
            states = dict.fromkeys(trial.said for trial in trials)
            rows.append(Row(kind, ["-", "-", *took, "none measured: " + "; ".join(states)]))
        else:
            said = [number(trial.score), number(trial.error), *took, _settings(trial)]
            rows.append(Row(kind, said, trial is chosen))
    total = ["", "", count(len(search.trials)), _seconds(search.seconds), ""]
    return Table(
        "The best trial of each kind, and how many there were",
        ["kind", search.metric, "error", "trials", "seconds of all", "settings of the best"],
        [*rows, Row("all", total)],
        texts=("settings of the best",),
    )


def _all(search: Tried) -> Table:
    chosen = search.chosen
    return Table(
        f"All {len(search.trials):,} trials, in their order",
        ["trial", "kind", search.metric, "error", "seconds", "state", "settings"],
        [
            Row(
                f"{place}",
                [
                    trial.name,
                    number(trial.score),
                    number(trial.error),
                    _seconds(trial.seconds),
                    trial.said,
                    _settings(trial),
                ],
                trial is chosen,
            )
            for place, trial in enumerate(search.trials, start=1)
        ],
        texts=("kind", "state", "settings"),
    )


def _seconds(seconds: float) -> str:
    return f"{seconds:,.1f}"


def _settings(trial: Trial) -> str:
    """Return the settings of a trial as a text, without the names of their sections."""
    if not trial.settings:
        return "-" if trial.state == "left out" else "the defaults"
    return ", ".join(
        f"{name.rpartition('.')[2]} {text}" for name, text in flat(_rounded(trial.settings)).items()
    )


def _rounded(value: Any) -> Any:
    """Return settings with numbers as they are shown."""
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    return f"{value:.3g}" if isinstance(value, float) else value


def _without_moment(graph: dict[str, Any]) -> dict[str, Any]:
    """Return a graph's settings without the moment that ages count from: no trial varies it."""
    return {name: value for name, value in graph.items() if name != "as_of"}


def _trial(entry: Json, ended_s: float) -> Trial:
    on_the_way = entry["on_the_way"]
    return Trial(
        stage=entry["stage"],
        model=entry["model"],
        settings=entry["settings"],
        state=entry["state"],
        score=entry["score"],
        error=entry["error"],
        seconds=entry["seconds"],
        ended_s=ended_s,
        epochs=on_the_way[-1][0] if on_the_way else 0,
        why=entry["why"],
    )
