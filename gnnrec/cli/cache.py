"""gnnrec cache."""

from typing import Annotated

import typer

from gnnrec.cli import options


def cache(
    keep_gb: Annotated[
        float | None, typer.Option(min=0, help="Delete what was used longest ago, down to this.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Show what was downloaded from registries at URLs, and make room."""
    from gnnrec_registry.remote.cache import Cache

    found = Cache.from_environment()
    freed = 0 if keep_gb is None else found.shrink(int(keep_gb * 1e9))
    usage = found.usage()
    if json:
        options.print_json(
            {
                "folder": str(found.folder),
                "files": usage.files,
                "bytes": usage.size,
                "limit_bytes": found.limit,
                "freed_bytes": freed,
            }
        )
        return
    if keep_gb is not None:
        print(f"freed {freed / 1e6:.1f} MB")
    print(
        f"{usage.files} files, {usage.size / 1e6:.1f} MB in {found.folder}, "
        f"of {found.limit / 1e9:g} GB at most"
    )


def add_to(app: typer.Typer) -> None:
    """Add this subcommand."""
    app.command()(cache)
