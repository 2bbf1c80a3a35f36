"""A real Chromium, which opens pages from disk; tests skip where there is none."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

WIDTHS = (390, 1280)

# Of every text that is seen: what it says, and how far its colour stands off its background.
_CONTRASTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const known = new Map();
  const rgba = colour => {
    if (known.has(colour)) return known.get(colour);
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    known.set(colour, [...canvas.getImageData(0, 0, 1, 1).data]);
    return known.get(colour);
  };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(v => v / 255).map(
      v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * x + .7152 * y + .0722 * z;
  };
  const ground = node => {
    for (; node; node = node.parentElement) {
      const colour = rgba(getComputedStyle(node).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !node.getClientRects().length) continue;
    if (["SCRIPT", "STYLE"].includes(node.tagName)) continue;
    const style = getComputedStyle(node);
    const text = rgba(node.namespaceURI.endsWith("svg") ? style.fill : style.color);
    const [a, b] = [light(text), light(ground(node))].sort((x, y) => y - x);
    found.push([walker.currentNode.data.trim(), (a + .05) / (b + .05)]);
  }
  return found;
}"""


@dataclass
class Seen:
    """A page as the browser sees it, and what it complained of or asked the network for."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def note(self, url: str, own: str) -> None:
        """Complain of a request for anything but the page itself."""
        if not url.startswith(("data:", own)):
            self.complaints.append(f"request: {url}")

    def contrasts(self) -> list[tuple[str, float]]:
        """Return every visible text with its contrast, those in pictures included."""
        return [(text, ratio) for text, ratio in self.page.evaluate(_CONTRASTS)]

    def violations(self) -> list[str]:
        """Return what axe-core finds against WCAG 2 A and AA."""
        source = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
        self.page.evaluate(source)
        found: list[dict[str, Any]] = self.page.evaluate(
            "() => axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa']}).then(r => r.violations)"
        )
        return [f"{one['id']}: {one['nodes'][0]['html']:.200}" for one in found]

    def widths(self) -> tuple[int, int]:
        """Return how wide the content is, and how wide the window."""
        content, window = self.page.evaluate(
            "() => [document.documentElement.scrollWidth, innerWidth]"
        )
        return content, window

    def pictures(self) -> list[tuple[float, float]]:
        """Return the width and height of every picture that is in view or can be scrolled to."""
        return [
            (box["width"], box["height"])
            for svg in self.page.locator("figure svg").all()
            if (box := svg.bounding_box()) is not None
        ]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: Browser, path: Path, width: int, scheme: Literal["light", "dark"]
) -> Iterator[Seen]:
    """Open a file in a window of a width; what is not a file or data is noted as a complaint."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, device_scale_factor=1
    )
    page = context.new_page()
    seen = Seen(page)
    page.on("console", lambda message: seen.complaints.append(message.text))
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    page.on("request", lambda request: seen.note(request.url, path.as_uri()))
    page.goto(path.as_uri())
    yield seen
    context.close()
