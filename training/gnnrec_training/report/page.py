"""The page of the report: its words and tables, filled into the template."""

from dataclasses import dataclass, field
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from gnnrec_registry.pages.html import count, metric_place, number, render
from gnnrec_registry.versions.manifest import Metrics
from gnnrec_training.evaluation.ranking import MEANINGS, PROTOCOL
from gnnrec_training.report.contents import Contents
from gnnrec_training.report.people import Person
from gnnrec_training.report.pictures import Picture
from gnnrec_training.report.popularity_bias import BIAS_MEANINGS

_TEMPLATE = Path(__file__).parent / "templates" / "report.html"

# The page reads the version's name from its own address: the name depends on the files, and the
# page is one of them.
_SCRIPT = """
const folders = decodeURI(location.pathname).split("/");
if (folders.at(-4) === "versions") {
  document.getElementById("version").textContent = folders.at(-3);
  document.title += " " + folders.at(-3);
}
"""


@dataclass(frozen=True)
class Row:
    """A line of a table: a name and its cells."""

    name: str
    cells: list[str]
    chosen: bool = False


@dataclass(frozen=True)
class Table:
    """A table with a title."""

    title: str
    header: list[str]
    rows: list[Row]
    texts: tuple[str, ...] = ()
    """The columns that hold words, which may take several lines; all others hold numbers."""


@dataclass(frozen=True)
class Section:
    """A part of the page: words, then pictures, then tables."""

    id: str
    title: str
    words: str
    pictures: list[Picture]
    packed: bool = False
    """Whether the pictures are packed closely, whatever their heights, instead of in rows."""
    tables: list[Table] = field(default_factory=list)


def render_page(
    contents: Contents,
    sections: list[Section],
    people: list[Person],
    bias: dict[str, Metrics],
) -> str:
    """Return the page as HTML."""
    dataset, config = contents.dataset, contents.config
    split = contents.split
    k = config.evaluation.k[0]
    tone, verdict = _judged(contents)
    tables = {
        "quality": [
            *_beside_baselines(contents),
            *(_metrics(contents, part) for part in ("test", "validation")),
            *_slices(contents, split),
        ],
        "spread": [_bias(contents, bias, split)] if split else [],
    }
    return render(
        _TEMPLATE,
        script=_SCRIPT,
        model=config.name,
        default=contents.default_variant,
        tone=tone,
        verdict=verdict,
        tiles=_tiles(contents, split, k),
        sections=[
            (section, [t for t in tables.get(section.id, section.tables) if t.rows])
            for section in sections
        ],
        people=people,
        part="test" if len(dataset.test) else "validation" if len(dataset.validation) else "",
        protocol=PROTOCOL,
        definitions=MEANINGS | BIAS_MEANINGS,
        data=_data(contents),
        config=flat(config.model_dump(mode="json", exclude_none=True)),
    )


def _judged(contents: Contents) -> tuple[str, str]:
    """Return "good", "bad" or "" for the default variant beside the baselines, and the verdict."""
    verdict = contents.verdict
    if verdict is None:
        served = contents.default_variant
        return "", f"{served} was not measured: the split keeps nothing from training."
    if not verdict.beats_baselines:
        return "bad", verdict.sentence
    return "good" if verdict.clearly else "", verdict.sentence


def _beside_baselines(contents: Contents) -> list[Table]:
    if contents.verdict is None:
        return []
    header, *lines = contents.verdict.table()
    return [
        Table(
            "The served variant beside the baselines, with 95% intervals over users",
            header,
            [Row(name, cells, place == 0) for place, (name, *cells) in enumerate(lines)],
        )
    ]


def _tiles(contents: Contents, split: str, k: int) -> list[tuple[str, str]]:
    dataset = contents.dataset
    tiles = []
    if split:
        ours = contents.measured.metrics[contents.default_variant][split]
        tiles = [
            (number(ours[f"{name}@{k}"]), f"{label}@{k}, {split}")
            for name, label in (("ndcg", "NDCG"), ("recall", "Recall"), ("coverage", "Coverage"))
        ]
    return [
        *tiles,
        (count(len(dataset.user_ids)), "users"),
        (count(len(dataset.item_ids)), "items"),
        (count(sum(contents.as_split.counts().values())), "interactions"),
    ]


def _metrics(contents: Contents, split: str) -> Table:
    models = contents.measured.metrics
    measured = {name: splits[split] for name, splits in models.items() if split in splits}
    names = list(next(iter(measured.values()))) if measured else []
    order = sorted(names, key=metric_place)
    return Table(
        f"All metrics on the {split} part",
        ["model", *order],
        [
            Row(name, [number(metrics[key]) for key in order], name == contents.default_variant)
            for name, metrics in measured.items()
        ],
    )


def _slices(contents: Contents, split: str) -> list[Table]:
    if not split:
        return []
    k = contents.config.evaluation.k
    ours = contents.measured.slices[contents.default_variant][split]
    wanted = [f"ndcg@{k[0]}", f"recall@{k[0]}"]
    found = f"found@{max(k)}"
    name = contents.default_variant
    return [
        Table(
            f"{name} by how active users are",
            ["known interactions", "users", *wanted],
            [
                Row(
                    row["users_with"].removesuffix(" interactions"),
                    [count(row["users"]), *(number(row["metrics"][key]) for key in wanted)],
                )
                for row in ours["by_activity"]
            ],
        ),
        Table(
            f"{name} by how popular items are",
            ["users of the item", "items", "held out", found],
            [
                Row(
                    row["items_with"].removesuffix(" users"),
                    [count(row["items"]), count(row["held_out"]), number(row[found])],
                )
                for row in ours["by_popularity"]
            ],
        ),
    ]


def _bias(contents: Contents, bias: dict[str, Metrics], split: str) -> Table:
    k = contents.config.evaluation.k[0]
    models = contents.measured.metrics
    return Table(
        f"Lists of {k} for the {split} part's users",
        ["model", f"coverage@{k}", "head share", "mean popularity", "gini"],
        [
            Row(
                name,
                [
                    f"{models[name][split][f'coverage@{k}']:.1%}",
                    f"{values['head_share']:.1%}",
                    f"{values['mean_popularity']:,.1f}",
                    f"{values['gini']:.3f}",
                ],
                name == contents.default_variant,
            )
            for name, values in bias.items()
        ],
    )


def _data(contents: Contents) -> dict[str, str]:
    dataset = contents.dataset
    return {
        "data set": dataset.name,
        "fingerprint": contents.as_split.fingerprint(),
        "users": count(len(dataset.user_ids)),
        "items": count(len(dataset.item_ids)),
        **{
            f"{part} interactions": count(size) for part, size in contents.as_split.counts().items()
        },
        **{name: installed(name) for name in ("gnnrec", "torch", "numpy")},
    }


def flat(value: Any, name: str = "") -> dict[str, str]:
    """Return a configuration as a flat table: a text for each key, such as lightgcn.init."""
    if isinstance(value, dict) and value:
        return {
            key: text
            for part, inner in value.items()
            for key, text in flat(inner, f"{name}.{part}" if name else part).items()
        }
    if isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        return {
            key: text
            for place, inner in enumerate(value)
            for key, text in flat(inner, f"{name}[{place}]").items()
        }
    return {name: ", ".join(map(str, value)) if isinstance(value, list) else str(value)}
