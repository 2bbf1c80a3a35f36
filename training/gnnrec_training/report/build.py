"""The files under report/ of a version, made from the results of a training."""

import itertools
from collections.abc import Callable
from typing import Any

from gnnrec_registry.files.layout import REPORT_PAGE
from gnnrec_registry.versions.manifest import Metrics
from gnnrec_training.report.bars import activity_bars, item_bars, metric_bars
from gnnrec_training.report.contents import Contents
from gnnrec_training.report.curves import loss_curve, validation_curve
from gnnrec_training.report.embedding_map import maps
from gnnrec_training.report.graph_pictures import graph_pictures
from gnnrec_training.report.page import Section, render_page
from gnnrec_training.report.people import sample_people
from gnnrec_training.report.pictures import SERIES, Picture
from gnnrec_training.report.popularity_bias import bias_picture, popularity_bias
from gnnrec_training.report.tried import tables, tried, words
from gnnrec_training.report.tried_picture import tried_picture

_LIST = 10


def build_report(
    contents: Contents, advance: Callable[[float], None] = lambda done: None
) -> dict[str, bytes]:
    """Return the files of the report by name: pictures as PNG and SVG, and the page.

    advance(done): how many of REPORT_STEPS are done
    """
    sections = []
    for done, make in enumerate(_SECTIONS, start=1):
        sections.append(make(contents))
        advance(done)
    sections = [section for section in sections if section.pictures or section.words]
    files = {
        f"report/{picture.name}.{form}": content
        for section in sections
        for picture in section.pictures
        for form, content in (("png", picture.png), ("svg", picture.svg))
    }
    served = contents.variants[contents.default_variant]
    people = sample_people(contents.dataset, contents.seen, served, contents.titles, _LIST)
    page = render_page(contents, sections, people, bias(contents))
    return files | {REPORT_PAGE: page.encode()}


def bias(contents: Contents) -> dict[str, Metrics]:
    """Return how much the lists of each model favour popular items; empty where not measured."""
    split = contents.split
    popularity = contents.popularity
    return {
        name: popularity_bias(shown[split], popularity)
        for name, shown in contents.measured.shown.items()
        if split in shown
    }


def _training(contents: Contents) -> Section:
    config = contents.config
    metric = f"ndcg@{config.evaluation.k[0]}"
    pictures = []
    for name, losses in contents.losses.items():
        if losses:
            pictures.append(loss_curve(name, losses))
        if validations := contents.validations.get(name):
            patience = getattr(config, name).training.patience
            curve = validation_curve(name, validations, metric, keeps_best=patience > 0)
            pictures.append(curve)
    said = "" if pictures else "Nothing was fitted in epochs: the model is a closed form."
    return Section("training", "Training", said, pictures)


def _quality(contents: Contents) -> Section:
    split = contents.split
    if not split:
        said = "Not measured: the split keeps nothing from training."
        return Section("quality", "Quality", said, [])
    k = contents.config.evaluation.k
    models: dict[str, Any] = contents.measured.metrics
    colours = _colours(contents)
    pictures: list[Picture] = [
        metric_bars(
            {name: splits[split] for name, splits in models.items()},
            colours, f"ndcg@{k[0]}", split,
        )
    ]  # fmt: skip
    slices = {name: contents.measured.slices[name] for name in colours}
    if slices[contents.default_variant][split]["by_activity"]:
        pictures.append(activity_bars(slices, colours, f"ndcg@{k[0]}", split))
    if slices[contents.default_variant][split]["by_popularity"]:
        pictures.append(item_bars(slices, colours, f"found@{max(k)}", split))
    return Section("quality", "Quality", _fitted_on(contents), pictures)


def _fitted_on(contents: Contents) -> str:
    """Say which fit the figures are of, and which one is published."""
    dataset = contents.dataset
    known, held_out = len(dataset.train), len(dataset.validation) + len(dataset.test)
    measured = f"All figures are of a fit on the {known:,} interactions of the training part."
    if contents.config.refit:
        return (
            f"{measured} What is published was fitted once more, on everything: the {held_out:,} "
            "interactions held out for these figures are in it."
        )
    return f"{measured} The same fit is published: refit is off."


def _search(contents: Contents) -> Section:
    search = tried(contents)
    if search is None:
        return Section("search", "", "", [])
    pictures = [tried_picture(search, _colours(contents))] if search.best else []
    return Section("search", "Search", words(search), pictures, tables=tables(search))


def _spread(contents: Contents) -> Section:
    verdict, k = contents.verdict, contents.config.evaluation.k[0]
    if verdict is None:
        return Section("spread", "", "", [])
    shown, split = contents.measured.shown, verdict.split
    names = [contents.default_variant, "popularity", verdict.best_baseline]
    lines = {name: shown[name][split] for name in dict.fromkeys(names) if name in shown}
    pictures = [bias_picture(lines, _colours(contents), contents.popularity, k)]
    return Section("spread", "Coverage and popularity bias", "", pictures)


def _colours(contents: Contents) -> dict[str, str]:
    """Return the colour that each variant has in every picture, the default one first."""
    names = dict.fromkeys([contents.default_variant, *contents.variants])
    return dict(zip(names, itertools.cycle(SERIES)))


def _data(contents: Contents) -> Section:
    dataset = contents.dataset
    served, labels = contents.variants[contents.default_variant], contents.titles
    pictures = [
        *maps(served.users, served.items, dataset.user_ids, labels, contents.popularity),
        *graph_pictures(contents.seen, dataset.user_ids, labels),
    ]
    said = f"The map is of the embeddings of {contents.default_variant}, the default variant."
    return Section("data", "Map and graph", said, pictures, packed=True)


_SECTIONS = (_quality, _spread, _search, _training, _data)
REPORT_STEPS = len(_SECTIONS) + 1
