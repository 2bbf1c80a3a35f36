import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from gnnrec_registry.files.json import Json
from gnnrec_training.config import Config
from gnnrec_training.report import Contents, build_report
from gnnrec_training.report.tried import Tried, tried
from gnnrec_training.report.tried_picture import tried_picture
from gnnrec_training.search.record import Trial
from tests.training.report.reports import contents, world

SVG = "{http://www.w3.org/2000/svg}"
WHY = "lightgcn: the simplest of 2 candidates, after 8 trials"

SHORT = Trial("models", "lightgcn", {"num_layers": 2}, "done", 0.41, 0.02, 3.0, [(2, 0.3)])
FULL = Trial("full", "lightgcn", {"num_layers": 2}, "done", 0.4, 0.02, 9.0)
TRIALS = [
    Trial("graph", "ease", {}, "done", 0.31, 0.02, 1.0),
    Trial("graph", "ease", {"disliked_weight": 0.25}, "done", 0.3, 0.02, 1.0),
    Trial("models", "ease", {"penalty": 12.3456}, "done", 0.2, 0.02, 2.0),
    Trial("models", "ease", {"penalty": 3.0}, "done", 0.35, 0.03, 2.0),
    Trial("models", "als", {"penalty": 1.0}, "failed", why="<b>no</b> inverse"),
    SHORT,
    Trial("models", "lightgcn", {"num_layers": 3}, "stopped", 0.1, None, 2.0, [(2, 0.1)]),
    FULL,
    Trial("models", "hybrid", {}, "left out", why="about 90 s for one trial, of 30 s for all"),
]


def record(trials: list[Trial], *, minutes: float = 0.5, out_of_time: bool = False) -> Json:
    return {
        "minutes": minutes,
        "out_of_time": out_of_time,
        "why": WHY,
        "trials": [trial.record() for trial in trials],
    }


def searched(trials: list[Trial], **of_the_search: Any) -> Contents:
    return replace(world(), search=record(trials, **of_the_search))


def told(made: Contents) -> Tried:
    search = tried(made)
    assert search is not None
    return search


def section(page: str) -> str:
    """Return the section about the search, without its pictures."""
    found = re.search(r'<section id="search">.*?</section>', page, re.DOTALL)
    assert found is not None
    return re.sub(r"<svg.*?</svg>", "", found[0], flags=re.DOTALL)


def cells(html: str, name: str) -> list[str]:
    """Return the first row of a name."""
    found = re.search(rf'<tr[^>]*><th scope="row">{name}</th>(.*?)</tr>', html)
    assert found is not None, name
    return re.findall(r"<td[^>]*>(.*?)</td>", found[1])


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return build_report(searched(TRIALS))


@pytest.fixture(scope="module")
def html(files: dict[str, bytes]) -> str:
    return section(files["report/index.html"].decode())


def test_without_a_search_the_report_has_no_word_of_it() -> None:
    files = build_report(world())
    assert "report/search.png" not in files
    assert 'id="search"' not in files["report/index.html"].decode()


def test_the_best_of_each_kind_stands_in_a_table(html: str) -> None:
    assert cells(html, "graph") == ["0.3100", "0.0200", "2", "2.0", "the defaults"]
    assert cells(html, "ease") == ["0.3500", "0.0300", "2", "4.0", "penalty 3"]
    assert cells(html, "lightgcn") == ["0.4000", "0.0200", "3", "14.0", "num_layers 2"]
    assert cells(html, "all") == ["", "", "9", "20.0", ""]
    assert re.findall(r'<tr class="chosen"><th scope="row">(\w+)<', html) == ["lightgcn", "8"]


def test_every_trial_stands_in_a_closed_table_with_its_state(html: str) -> None:
    assert "<details><summary>All 9 trials, in their order</summary>" in html
    assert cells(html, "1")[:2] == ["graph, by ease", "0.3100"]
    assert cells(html, "3")[-2:] == ["done", "penalty 12.3"]
    assert cells(html, "5")[-2] == "failed: &lt;b&gt;no&lt;/b&gt; inverse"
    assert cells(html, "7")[-2:] == ["stopped after 2 epochs", "num_layers 3"]
    assert cells(html, "8")[0] == "lightgcn, in full"
    assert cells(html, "9")[-2:] == ["left out: about 90 s for one trial, of 30 s for all", "-"]


def test_a_kind_that_none_was_measured_of_says_why(html: str) -> None:
    assert cells(html, "hybrid")[-1].startswith("none measured: left out: about 90 s")
    assert cells(html, "als")[:3] == ["-", "-", "1"]
    assert "<b>" not in html


@pytest.mark.parametrize(
    ("minutes", "out_of_time", "said"),
    [
        (0.5, True, "The clock ended it before its plan: it had 0.5 minutes"),
        (0.5, False, "It had 0.5 minutes and went through its whole plan; trials took 20 s."),
        (0.0, False, "Each kind of model was tried once, without a limit of time; that took 20 s."),
    ],
)
def test_the_section_says_what_was_chosen_and_whether_time_was_enough(
    minutes: float, out_of_time: bool, said: str
) -> None:
    made = searched(TRIALS, minutes=minutes, out_of_time=out_of_time)
    words = section(build_report(made)["report/index.html"].decode())
    assert f"The search chose {WHY}." in words
    assert said in words
    assert "Scores are NDCG@10 on the validation part" in words


def test_the_picture_names_kinds_and_states_in_text(files: dict[str, bytes]) -> None:
    drawn = ElementTree.fromstring(files["report/search.svg"])
    texts = {"".join(node.itertext()) for node in drawn.iter(f"{SVG}text")}
    assert {"graph", "ease", "als", "lightgcn", "hybrid", "ended early", "failed", "left out",
            "best so far", "chosen", "NDCG@10 on validation"} <= texts  # fmt: skip
    assert files["report/search.png"].startswith(b"\x89PNG")


def test_the_picture_is_described_in_words(files: dict[str, bytes]) -> None:
    page = files["report/index.html"].decode()
    assert '<svg role="img" aria-label="What the search tried"' in page
    found = re.search(r"<figcaption>(9 trials .*?)</figcaption>", page)
    assert found is not None
    for part in (
        "with one standard error: lightgcn 0.4000, ease 0.3500, graph 0.3100.",
        "The ring marks what was chosen, lightgcn.",
        "1 ended early and is hollow.",
        "1 failed.",
        "1 was left out for want of time.",
        "2 with less than 0.2050 stand below the dotted line.",
    ):
        assert part in found[1]


def test_a_full_training_stands_for_its_kind_whatever_shorter_ones_scored() -> None:
    best = told(searched(TRIALS)).best["lightgcn"]
    assert (best.stage, best.score) == ("full", 0.4)


def test_the_chosen_graph_is_the_configured_one_and_not_the_best() -> None:
    made = searched(TRIALS)
    graph = made.config.graph.model_copy(update={"disliked_weight": 0.25, "as_of": 1.0})
    made = replace(made, config=made.config.model_copy(update={"graph": graph}))
    assert told(made).best["graph"].settings == {"disliked_weight": 0.25}


def test_the_chosen_fusion_is_the_one_with_the_served_weights() -> None:
    """The simplest is served, not the best."""
    few, many = {"ease": 1.0, "als": 0.5}, {"ease": 1.0, "als": 0.5, "spectral": 0.2}
    trials = [
        Trial("models", "ease", {}, "done", 0.35, 0.03, 2.0),
        Trial("fusion", "fused", few, "done", 0.36, 0.03),
        Trial("fusion", "fused", many, "done", 0.37, 0.03),
    ]
    made = searched(trials)
    values = made.config.model_dump(exclude_unset=True) | {
        "ease": {}, "als": {}, "fusion": {"weights": few}, "serve": "fused",
    }  # fmt: skip
    config = Config.model_validate(values)
    chosen = told(replace(made, config=config, default_variant="fused")).chosen
    assert chosen is not None
    assert chosen.settings == few


@pytest.mark.parametrize("score", [0.0, 0.4])
def test_a_single_trial_without_seconds_is_a_picture(score: float) -> None:
    trials = [Trial("full", "lightgcn", {}, "done", score, 0.0)]
    assert tried_picture(told(searched(trials)), {}).png.startswith(b"\x89PNG")


def test_a_search_without_any_score_has_a_table_and_no_picture() -> None:
    files = build_report(searched(TRIALS[-1:]))
    assert "report/search.svg" not in files
    assert cells(section(files["report/index.html"].decode()), "hybrid")[0] == "-"


def test_settings_with_html_stand_as_text() -> None:
    nasty = Trial("models", "ease", {"<i>": "<script>alert(1)</script>"}, "done", 0.1, 0.0, 1.0)
    html = section(build_report(searched([nasty]))["report/index.html"].decode())
    assert cells(html, "1")[-1] == "&lt;i&gt; &lt;script&gt;alert(1)&lt;/script&gt;"


def test_three_hundred_trials_add_less_than_200_kb_to_the_page() -> None:
    drawn = np.random.default_rng(5)
    training = {"loss": "softmax", "temperature": 0.123456, "learning_rate": 0.0123456,
                "candidate_exponent": 0.5, "negatives": 4096}  # fmt: skip
    trials = [
        replace(
            SHORT,
            settings={"embedding_dim": 64, "norm_exponent": float(exponent), "training": training},
            score=float(score),
        )
        for exponent, score in drawn.random((300, 2))
    ]
    without = len(build_report(world())["report/index.html"])
    files = build_report(searched(trials))
    assert "All 300 trials" in files["report/index.html"].decode()
    assert len(files["report/index.html"]) - without < 200_000


@pytest.mark.parametrize(
    ("refit", "said"), [(True, "was fitted once more, on everything"), (False, "refit is off")]
)
def test_the_report_says_which_fit_its_figures_are_of(refit: bool, said: str) -> None:
    made = world()
    made = replace(made, config=made.config.model_copy(update={"refit": refit}))
    page = build_report(made)["report/index.html"].decode()
    known = len(made.dataset.train)
    assert f"a fit on the {known:,} interactions of the training part." in page
    assert said in page


def test_without_a_held_out_part_no_other_fit_is_spoken_of() -> None:
    page = build_report(contents(3, 4, [(0, 0), (1, 1), (2, 2)]))["report/index.html"].decode()
    assert "Not measured: the split keeps nothing" in page
    assert "once more" not in page


def test_popularity_bias_is_drawn_beside_popularity_and_the_best_baseline() -> None:
    made = world()
    assert made.verdict is not None
    drawn = ElementTree.fromstring(build_report(made)["report/popularity.svg"])
    texts = {"".join(node.itertext()) for node in drawn.iter(f"{SVG}text")}
    assert {"lightgcn", "popularity", made.verdict.best_baseline, "training data"} <= texts
