import re
from pathlib import Path
from urllib.parse import unquote

from gnnrec.pages.index import render_index
from gnnrec_registry import ModelStore
from tests import made
from tests.gnnrec.measured import publish
from tests.gnnrec.test_comparison import HALVES, NDCG


def test_the_index_lists_versions_aliases_history_and_the_metric(tmp_path: Path) -> None:
    for name, factor in (("v1", 0.5), ("v2", 0.7), ("v3", 0.6)):
        publish(tmp_path, name, HALVES, NDCG * factor)
    store = ModelStore(tmp_path, "toy")
    store.aliases.promote("v1", alias="production", who="ann", why="<b>first</b>")
    store.aliases.promote("v3", alias="production", who="bob", why="more data")
    broken = tmp_path / "toy/versions/v4"
    broken.mkdir()
    (broken / "manifest.json").write_text("{}")
    page = render_index([store], tmp_path / "index.html")
    links = re.findall(r'<a href="([^"#]+)">(v\d)</a>', page)
    assert [name for _, name in links] == ["v3", "v2", "v1"]
    assert all((tmp_path / unquote(link)).is_file() for link, _ in links)
    assert "altered after publishing" in page
    assert "<b>first" not in page
    assert page.index("more data") < page.index("&lt;b&gt;first")
    assert page.count("<circle") == 3
    assert "<title>v2: 0.3500</title>" in page
    assert re.search(r'class="chosen"><th scope="row" class="id"><a href="[^"]+">v3</a>', page)


def test_a_model_without_versions_or_metrics_has_a_page(tmp_path: Path) -> None:
    made.publish(tmp_path, version="only")
    (tmp_path / "empty/versions").mkdir(parents=True)
    stores = [ModelStore(tmp_path, "empty"), ModelStore(tmp_path, "toy")]
    page = render_index(stores, tmp_path / "elsewhere" / "index.html")
    assert "none yet" in page
    assert "<svg" not in page
    assert "No alias has moved yet" in page


def test_a_trial_stands_beside_what_its_alias_names(tmp_path: Path) -> None:
    """The ticks of the charts are round numbers too."""
    for name in ("v1", "v2"):
        publish(tmp_path, name, HALVES, NDCG)
    store = ModelStore(tmp_path, "toy")
    store.aliases.promote("v1", alias="production")
    store.aliases.try_out("v2", alias="production", percent=5, why="is it good?", forced=True)
    page = render_index([store], tmp_path / "index.html")
    assert 'names <span class="id">v1</span> and tries <span class="id">v2 (5%)</span>' in page
    assert "promote (forced)" in page
    assert re.findall(r'fill="var\(--muted\)">(0\.[\d.]+)</text>', page) == ["0.00", "0.25", "0.50"]
