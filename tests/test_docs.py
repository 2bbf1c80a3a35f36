"""The words beside the code: links lead somewhere, and the picture and the pages are complete."""

import ast
import re
import textwrap
import tomllib
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.tracked import ROOT, tracked

PAGES = tracked("*.md")
DECISIONS = ROOT / "docs" / "decisions"

BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
FENCE = re.compile(r"^( *)(`{3,}|~{3,}).*?^\1\2", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(<?([^()\s>]+)>?(?: \"[^\"]*\")?\)")
HEADING = re.compile(r"^#+ +(.+?) *#*$", re.MULTILINE)


def prose(page: Path) -> str:
    """Return a page without its blocks of code, where brackets are no links."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """Return what a link to a heading of the page may say behind the #, as GitHub makes it."""
    names = []
    for heading in HEADING.findall(prose(page)):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        names.append(re.sub(r"[^\w\- ]", "", text).replace(" ", "-"))
    return set(names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_to_a_file_of_the_project(page: Path) -> None:
    files = set(tracked("*"))
    folders = {parent for path in files for parent in path.parents}
    for link in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = unquote(link).partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target in files | folders, f"{page.relative_to(ROOT)}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.relative_to(ROOT)}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_examples_can_be_read_by_what_they_are_for(page: Path) -> None:
    for _, language, block in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "toml":
            tomllib.loads(textwrap.dedent(block))
        if language == "python":
            ast.parse(textwrap.dedent(block))


def test_the_index_of_decisions_names_every_page() -> None:
    linked = set(LINK.findall(prose(DECISIONS / "README.md")))
    pages = {path.name for path in tracked("docs/decisions/*.md")} - {"README.md"}
    assert pages
    assert pages <= linked


@pytest.mark.parametrize(
    "page",
    [path for path in tracked("docs/decisions/*.md") if path.name != "README.md"],
    ids=lambda page: page.stem,
)
def test_a_decision_has_a_context_and_consequences(page: Path) -> None:
    headings = HEADING.findall(prose(page))
    assert len(re.findall(r"^# ", prose(page), re.MULTILINE)) == 1
    assert [name for name in headings[1:] if name in ("Context", "Decision", "Consequences")] == [
        "Context",
        "Decision",
        "Consequences",
    ]


def test_every_page_of_the_docs_is_linked_from_another() -> None:
    linked = {
        (page.parent / link.partition("#")[0]).resolve()
        for page in PAGES
        for link in LINK.findall(prose(page))
        if not re.match(r"[a-z]+:|#", link)
    }
    assert set(tracked("docs/*.md")) <= linked


@pytest.mark.parametrize("package", ["gnnrec_protos", "gnnrec_registry"])
def test_the_architecture_names_the_packages(package: str) -> None:
    assert package in (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("package", ["server/gnnrec_server", "training/gnnrec_training"])
def test_the_architecture_says_what_each_room_is_for(package: str) -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert package in text
    rooms = {
        path.parent.name
        for path in tracked(f"{package}/*/__init__.py")
        if path.parent.parent == ROOT / package
    }
    assert {room for room in rooms if f"| `{room}" not in text} == set()
