"""gnnrec report and compare: pages to look at, and the same in the terminal."""

import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gnnrec.cli import options

if TYPE_CHECKING:
    from gnnrec.comparison import Comparison
    from gnnrec_registry import Version

Open = Annotated[bool, typer.Option("--open", help="Open it in a browser.")]


def report(
    version: options.Version = "",
    index: Annotated[
        bool, typer.Option("--index", help="In place of VERSION: a page of the whole registry.")
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where to put the page; --index: REGISTRY/index.html."),
    ] = None,
    open_: Open = False,
    registry: options.Registry = options.REGISTRY,
    model: options.Model = "",
    json: options.Json = False,
) -> None:
    """Say where a version's report is, or make a page of the registry's versions and aliases."""
    if bool(version) == index:
        raise typer.BadParameter("name a VERSION, or --index")
    page = (
        _write_index(registry, model, html) if index else _page_of(version, registry, model, html)
    )
    if json:
        options.print_json({"version": version or None, "page": str(page)})
    else:
        print(page)
    if open_:
        _open(page)


def compare(
    a: Annotated[str, options.version_argument("A")],
    b: Annotated[str, options.version_argument("B")],
    k: Annotated[int, typer.Option("-k", min=1, help="The length of the lists compared.")] = 10,
    variant: Annotated[
        str, typer.Option(help="Which embeddings of both; each one's default if not set.")
    ] = "",
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the comparison as a page.")
    ] = None,
    open_: Open = False,
    registry: options.Registry = options.REGISTRY,
    model: options.Model = "",
    json: options.Json = False,
) -> None:
    """Compare two versions: metrics with intervals, answers, items, configuration, data."""
    from gnnrec.comparison import compare as run
    from gnnrec.terminal.progress import Progress

    if open_ and html is None:
        raise typer.BadParameter("--open needs --html FILE, the page that it opens")
    store = options.open_store(registry, model)
    versions = store.open(a), store.open(b)
    with Progress() as progress:
        progress.start("comparing", 1)
        found = run(*versions, k=k, variant=variant, advance=progress.advance)
    if html is not None:
        from gnnrec.pages.comparison import render_page
        from gnnrec_registry.files.durable import replace

        replace(html, render_page(found).encode())
    if json:
        options.print_json(found.as_json() | ({} if html is None else {"page": str(html)}))
    else:
        _print(found)
        if html is not None:
            print(f"\n{html}")
    if open_ and html is not None:
        _open(html)


def _page_of(version: str, registry: str, model: str, html: Path | None) -> Path:
    from gnnrec.terminal.progress import Progress
    from gnnrec_registry import RegistryError
    from gnnrec_registry.files.durable import replace
    from gnnrec_registry.files.layout import REPORT_PAGE

    opened: Version = options.open_store(registry, model).open(version)
    if REPORT_PAGE not in opened.manifest.files:
        raise RegistryError(
            f"version {version!r} has no report page: it was published without one; its numbers "
            f"are in: gnnrec show {version}"
        )
    if html is not None:
        replace(html, opened.read(REPORT_PAGE))
        return html
    with Progress() as progress:
        progress.start("fetching the report", 1)
        return opened.folder_of(REPORT_PAGE, progress.advance) / Path(REPORT_PAGE).name


def _write_index(registry: str, model: str, html: Path | None) -> Path:
    from gnnrec.pages.index import render_index
    from gnnrec_registry import ModelStore, RegistryError
    from gnnrec_registry.files.durable import replace
    from gnnrec_registry.locations import models

    names = [model] if model else models(registry)
    if not names:
        raise RegistryError(f"no model in {registry}; gnnrec train CONFIG --registry DIR makes one")
    stores = [ModelStore(registry, name) for name in names]
    if html is None and stores[0].layout.is_remote:
        raise RegistryError("a registry at a URL takes no page; say where it goes: --html FILE")
    page = html or stores[0].layout.root / "index.html"
    replace(page, render_index(stores, page).encode())
    return page


def _open(page: Path) -> None:
    from gnnrec.errors import Error

    address = page.absolute().as_uri()  # not what a link leads to: a cache's names mean nothing
    if not webbrowser.open(address):
        raise Error("UNAVAILABLE", "", f"no browser could be started; open {address} yourself")


def _print(found: "Comparison") -> None:
    from gnnrec.pages.comparison import verdict

    print(f"A  {found.a.version}, {found.a.variant}")
    print(f"B  {found.b.version}, {found.b.variant}")
    print(verdict(found)[1])
    if not found.same_data:
        print("The data differ: what was held out of the users may differ too.")
    _print_metrics(found)
    _print_answers(found)
    print()
    _print_facts(found)


def _print_metrics(found: "Comparison") -> None:
    from gnnrec_registry.pages.html import number, signed

    for split in dict.fromkeys(metric.split for metric in found.metrics):
        print(f"\n{split} part, with the 95% interval of B - A:")
        options.print_table(
            ["metric", "A", "B", "B - A", "low", "high", "B is"],
            [
                [
                    metric.metric,
                    *map(number, (metric.a, metric.b)),
                    *map(signed, (metric.difference, metric.low, metric.high)),
                    metric.verdict or "-",
                ]
                for metric in found.metrics
                if metric.split == split
            ],
        )


def _print_answers(found: "Comparison") -> None:
    if found.answers is None:
        print("\nThe versions share no user, so their answers cannot be compared.")
        return
    overlap = found.answers.overlap
    print(f"\noverlap@{overlap.k} of the answers to {overlap.users:,} users: {overlap.mean:.1%}")
    shifts = [*found.answers.winners[:5], *found.answers.losers[:5]]
    if shifts:
        options.print_table(
            ["item", "lists of A", "of B", "change", "title"],
            [
                [shift.item_id, f"{shift.a}", f"{shift.b}", f"{shift.change:+d}", shift.title]
                for shift in shifts
            ],
        )


def _print_facts(found: "Comparison") -> None:
    from gnnrec.comparison.facts import is_metric

    facts = {key: pair for key, pair in found.differences.items() if not is_metric(key)}
    if facts:
        options.print_table(
            ["what", "A", "B"], [[key, *map(_text, pair)] for key, pair in facts.items()]
        )
    else:
        print("configuration, data and libraries are the same")


def _text(value: object) -> str:
    return "-" if value is None else str(value)


def add_to(app: typer.Typer) -> None:
    """Add these subcommands."""
    app.command()(report)
    app.command()(compare)
