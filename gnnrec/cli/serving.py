"""gnnrec serve."""

import logging
from typing import Annotated

import typer

from gnnrec.cli import options


def serve(
    registry: options.Registry = options.REGISTRY,
    model: options.Model = "",
    alias: options.Alias = options.ALIAS,
    address: Annotated[str, typer.Option(help="HOST:PORT to answer on.")] = options.ADDRESS,
    metrics_port: Annotated[int, typer.Option(help="Port of the Prometheus metrics.")] = 9464,
    poll_interval: Annotated[float, typer.Option(min=0.05, help="Seconds between looks.")] = 1.0,
    max_k: Annotated[int, typer.Option(min=1, help="The largest k.")] = 1000,
    drain: Annotated[
        float,
        typer.Option(min=0, help="Seconds to go on answering after SIGTERM."),
    ] = 0.0,
    grace: Annotated[float, typer.Option(min=0, help="Seconds to finish requests then.")] = 10.0,
    max_neighbours: Annotated[
        int, typer.Option(min=1, help="Users of an item that sage looks at for a new user.")
    ] = 32,
    require_gpu: Annotated[
        bool, typer.Option("--require-gpu", help="Refuse models that end on the CPU.")
    ] = False,
    reflection: Annotated[bool, typer.Option(help="Offer gRPC reflection.")] = True,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Serve the version that an alias names, and follow the alias."""
    from server.app import serve as run
    from server.errors import CannotStart
    from server.queries import Limits
    from server.settings import Settings

    level = logging.getLevelNamesMapping().get(log_level.upper())
    if level is None:
        raise CannotStart(f"log level {log_level!r} is unknown; use debug, info, warning or error")
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(message)s")
    store = options.open_store(registry, model)
    settings = Settings(
        registry=registry,
        model=store.layout.model,
        alias=alias,
        address=address,
        metrics_port=metrics_port,
        poll_interval_s=poll_interval,
        drain_s=drain,
        grace_s=grace,
        reflection=reflection,
        max_neighbours=max_neighbours,
        require_gpu=require_gpu,
        limits=Limits(k=max_k),
    )
    run(settings, lambda line: print(line, flush=True))


def add_to(app: typer.Typer) -> None:
    """Add this subcommand."""
    app.command()(serve)
