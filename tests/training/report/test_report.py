import re
import struct
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from gnnrec_registry import ModelStore, Version
from gnnrec_training.config import load
from gnnrec_training.data.samples import sample, toy_graphs
from gnnrec_training.graph.sparse import by_user
from gnnrec_training.report import build_report
from gnnrec_training.report.embedding_map import project
from gnnrec_training.report.graph_pictures import neighbourhood
from gnnrec_training.report.page import render_page
from gnnrec_training.report.people import sample_people
from gnnrec_training.report.popularity_bias import gini, popularity_bias
from gnnrec_training.reporter import Silent
from gnnrec_training.train import train
from tests.training.report.reports import contents, world

SVG = "{http://www.w3.org/2000/svg}"


class Elements(HTMLParser):
    """The elements of a page and what scripts it holds."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]


def texts(svg: bytes) -> list[str]:
    """Return what is written in a picture; it must be well-formed XML."""
    return ["".join(node.itertext()) for node in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def trained(name: str, folder: Path) -> Version:
    sample.write(toy_graphs.toy_graph(name), folder / "data")
    config = load(folder / "data" / sample.CONFIG)
    store = ModelStore(folder / "registry", config.name)
    return train(config, folder / "data", store, Silent()).version


@pytest.mark.parametrize(("name", "users", "items", "edges"), [("a", 5, 6, 7), ("b", 5, 8, 12)])
def test_a_toy_has_the_classic_pictures(
    name: str, users: int, items: int, edges: int, tmp_path: Path
) -> None:
    """The two-sided graph, the loss curve and the labelled map, each as PNG and as SVG."""
    version = trained(name, tmp_path)
    version.verify()
    for picture in ("graph", "loss-lightgcn", "map"):
        png = version.read(f"report/{picture}.png")
        assert png.startswith(b"\x89PNG")
        assert min(struct.unpack(">II", png[16:24])) > 200
    graph = texts(version.read("report/graph.svg"))
    assert sorted(graph) == sorted([*version.user_ids, *version.item_ids])
    assert (len(version.user_ids), len(version.item_ids)) == (users, items)
    drawn = ElementTree.fromstring(version.read("report/graph.svg"))
    lines = [path for path in drawn.iter(f"{SVG}path") if "stroke: #8a95a3" in str(path.attrib)]
    assert len(lines) == edges
    assert {"U0", "U4", "I0", "I5", "users", "items"} <= set(texts(version.read("report/map.svg")))
    assert {"epoch", "loss"} <= set(texts(version.read("report/loss-lightgcn.svg")))
    page = version.read("report/index.html").decode()
    assert Elements(page).tags.count("figure") == 3
    assert "not measured" in page


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """The report of a small world."""
    return build_report(world())


def test_the_page_tells_what_it_should(files: dict[str, bytes]) -> None:
    page = files["report/index.html"].decode()
    for heading in ("Quality", "Coverage and popularity bias", "Training", "Map and graph",
                    "Sample people", "What the numbers mean", "How it was made"):  # fmt: skip
        assert f"<h2>{heading}</h2>" in page
    for name in ("random", "popularity", "item-knn", "spectral-64", "lightgcn"):
        assert f'<th scope="row">{name}</th>' in page
    assert "The served variant beside the baselines" in page
    assert page.count('<article class="person">') == 10
    assert "1/log2(rank + 1)" in page
    assert re.search(r"fingerprint</dt><dd class=\"id\">[0-9a-f]{64}<", page)
    assert "lightgcn.embedding_dim" in page
    pictures = {name.removeprefix("report/").partition(".")[0] for name in files}
    assert {"metrics", "activity", "rarity", "popularity", "loss-lightgcn", "validation-lightgcn",
            "map", "degrees", "neighbourhood"} <= pictures  # fmt: skip
    # nothing is fetched, and colours follow the theme of the reader
    assert not re.search(r"(src|href)=\"(?!#|data:)", page)
    assert "var(--users)" in page
    assert "#1f5fa8" not in page.partition("<body>")[2]
    assert b"#1f5fa8" in files["report/metrics.svg"]


def test_the_same_contents_make_the_same_files(files: dict[str, bytes]) -> None:
    assert build_report(world()) == files


NASTY = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</svg></figure>",
    "$\\frac{1}{$ & $x^$",
    "映画 🎬 \u202e end",
    "line\nbreak\ttab",
]


def test_titles_with_html_stand_as_text() -> None:
    pairs = [(user, item) for user in range(6) for item in range(6) if user != item]
    made = contents(6, 6, pairs, titles=NASTY, user_ids=[f"<b>{row}</b>" for row in range(6)])
    files = build_report(made)
    page = Elements(files["report/index.html"].decode())
    assert page.tags.count("script") == 1
    assert not {"img", "b"} & set(page.tags)
    assert "onerror" not in page.attributes
    assert page.tags.count("svg") == page.tags.count("figure")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in files["report/index.html"].decode()
    assert "<script>alert(1)</script>" in texts(files["report/graph.svg"])
    assert any("映画" in text for text in texts(files["report/graph.svg"]))


def test_a_thousand_labels_become_a_few() -> None:
    pairs = [(row, item) for row in range(500) for item in (row, (row + 1) % 500)]
    titles = [f"A title of some length, number {row}" for row in range(500)]
    files = build_report(contents(500, 500, pairs, titles=titles))
    assert 3 <= len(texts(files["report/map.svg"])) <= 20
    assert "report/graph.svg" not in files
    assert len(texts(files["report/neighbourhood.svg"])) <= 30
    assert sum(map(len, files.values())) < 1_500_000


def test_one_user_and_one_item_have_a_report_of_a_closed_form() -> None:
    files = build_report(replace(contents(1, 1, [(0, 0)], k=1), losses={}, validations={}))
    page = files["report/index.html"].decode()
    assert "nothing: they had every item" in page
    assert "Nothing was fitted in epochs" in page
    assert texts(files["report/graph.svg"]) == ["U0", "I0"]


def test_constant_embeddings_are_one_point_and_the_page_says_so() -> None:
    same = np.full((4, 4), 0.1, np.float32), np.full((5, 4), 0.1, np.float32)
    files = build_report(contents(4, 5, [(0, 0), (1, 1), (2, 2), (3, 3)], [(0, 1)], halves=same))
    assert "All embeddings are equal" in files["report/index.html"].decode()


def test_the_map_is_the_projection_on_the_principal_components() -> None:
    """Beside a singular value decomposition of all rows together."""
    generator = np.random.default_rng(3)
    rows = (generator.standard_normal((300, 12)) * 2.0 ** -np.arange(12)).astype(np.float32)
    theirs, them, shares = project(rows[:100], rows[100:])
    points = np.concatenate([theirs, them])
    _, values, right = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    expected = (rows - rows.mean(0)) @ right[:2].T
    np.testing.assert_allclose(np.abs(points), np.abs(expected), atol=1e-4)
    np.testing.assert_allclose(shares, values[:2] ** 2 / (values**2).sum(), atol=1e-6)


def test_people_get_what_they_have_not_had_with_shares_that_sum_to_one() -> None:
    made = world()
    dataset = made.dataset
    seen = by_user(dataset.known, len(dataset.user_ids))
    titles = [f"T{row}" for row in range(len(dataset.item_ids))]
    people = sample_people(dataset, seen, made.variants["lightgcn"], titles, 10)
    assert len(people) == 10
    activity = [len(person.had) + person.more for person in people]
    assert activity == sorted(activity)
    for person in people:
        row = dataset.user_ids.index(person.user_id)
        had = {titles[item] for item in dataset.train.item_rows[dataset.train.user_rows == row]}
        wanted = {titles[item] for item in dataset.test.item_rows[dataset.test.user_rows == row]}
        assert set(person.had) <= had
        assert len(person.had) + person.more == len(had)
        assert not had & {item.title for item in person.gets}
        assert sum(item.probability for item in person.gets) == pytest.approx(1)
        assert all(item.held_out == (item.title in wanted) for item in person.gets)


def test_popularity_bias_of_known_lists() -> None:
    popularity = np.array([100, 1, 1, 1, 1, 1, 1, 1, 1, 1])
    only_head = np.array([50, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    assert popularity_bias(only_head, popularity) == {
        "head_share": 1.0, "mean_popularity": 100.0, "gini": pytest.approx(0.9)
    }  # fmt: skip
    even = np.full(10, 5)
    assert popularity_bias(even, popularity)["head_share"] == pytest.approx(0.1)
    assert gini(even) == pytest.approx(0)
    assert gini(np.zeros(3, np.int64)) == 0


def test_a_neighbourhood_is_small_and_connected_to_its_centre() -> None:
    made = world()
    seen = by_user(made.dataset.known, 90)
    centre, users, items = neighbourhood(seen, 120)
    assert centre in users
    assert len(users) <= 9
    assert len(items) <= 14
    assert set(seen.columns[seen.indptr[centre] : seen.indptr[centre + 1]]) & set(items)


@pytest.mark.parametrize(
    ("ours", "tone", "said"),
    [
        (1.0, "verdict good", "above the best baseline"),
        (None, "verdict ", "no worse than the best baseline"),
        (0.0, "verdict bad", "it is not promoted unless forced"),
    ],
)
def test_the_page_begins_with_the_verdict(ours: float | None, tone: str, said: str) -> None:
    """Where everybody gets the best list, what the best baseline gives, or nothing."""
    made = world()
    per_user = made.measured.per_user
    metrics = made.measured.metrics
    names = set(metrics) - {"lightgcn", "random"}
    best = max(sorted(names), key=lambda name: metrics[name]["test"]["ndcg@10"])
    for metric, values in per_user[best]["test"].items():
        per_user["lightgcn"]["test"][metric] = (
            values if ours is None else np.full_like(values, ours)
        )
    page = render_page(made, [], [], {})
    found = re.search(r'<p class="(verdict [^"]*)">([^<]*)</p>', page)
    assert found is not None
    assert found[1] == tone
    assert said in found[2]
