"""The pages in a real browser, from disk: on a phone and on a desktop, light and dark."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser

from gnnrec.comparison import compare
from gnnrec.pages.comparison import render_page
from gnnrec.pages.index import render_index
from gnnrec_registry import ModelStore
from gnnrec_training.report import build_report
from tests.browser import CHROMIUM, chromium, opened
from tests.gnnrec.measured import publish
from tests.gnnrec.test_comparison import HALVES, NDCG
from tests.training.report.reports import contents, world
from tests.training.report.test_tried import TRIALS, searched

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

NASTY = "<script>document.title = 'taken'</script><img src=http://localhost:9/x.png>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A report of a small graph with bad titles and of a large one, a comparison, an index."""
    root = tmp_path_factory.mktemp("pages")
    titles = [f"{NASTY}{row}" for row in range(30)]
    a = publish(root / "registry", "a", HALVES, NDCG, titles=titles)
    b = publish(root / "registry", "b", (HALVES[0], HALVES[1][::-1].copy()), NDCG / 2)
    store = ModelStore(root / "registry", "toy")
    store.aliases.promote("a", alias="production", why=NASTY)
    pairs = [(user, item) for user in range(6) for item in range(6) if user != item]
    small = contents(6, 6, pairs, titles=[f"{NASTY}{row}" for row in range(6)])
    index = root / "index.html"
    written = {
        root / "versions/small/report/index.html": build_report(small)["report/index.html"],
        root / "versions/large/report/index.html": build_report(world())["report/index.html"],
        root / "versions/searched/report/index.html": build_report(searched(TRIALS))[
            "report/index.html"
        ],
        root / "compare.html": render_page(compare(a, b)).encode(),
        index: render_index([store], index).encode(),
    }
    for path, content in written.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return dict(zip(("small", "large", "searched", "compare", "index"), written, strict=True))


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark")])
@pytest.mark.parametrize(
    ("name", "pictures"),
    [("small", 4), ("large", 9), ("searched", 10), ("compare", 2), ("index", 1)],
)
def test_a_page_is_whole_quiet_and_legible(
    browser: Browser,
    pages: dict[str, Path],
    name: str,
    pictures: int,
    width: int,
    scheme: Literal["light", "dark"],
) -> None:
    """No console message or request, no horizontal scrolling, visible pictures, WCAG AA colours."""
    with opened(browser, pages[name], width, scheme) as seen:
        assert seen.complaints == []
        assert "taken" not in seen.page.title()
        assert seen.widths() == (width, width)
        shown = seen.pictures()
        assert len(shown) == pictures
        assert all(min(width, 660) > box[0] > 300 and box[1] > 45 for box in shown)
        contrasts = seen.contrasts()
        assert len(contrasts) > 30
        assert [each for each in contrasts if each[1] < 4.5] == []
        if width == 390:  # axe checks the markup, which is the same at any size
            assert seen.violations() == []
        if name in ("small", "large", "searched"):
            assert seen.page.locator("#version").inner_text() == name
