"""gnnrec serve and token."""

import atexit
import os
import signal
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gnnrec.cli import options

if TYPE_CHECKING:
    from gnnrec_server.settings import Settings


class Index(Enum):
    """The kinds of index."""

    AUTO = "auto"
    FLAT = "flat"
    IVF = "ivf"
    HNSW = "hnsw"


class Front(Enum):
    """What can speak HTTP/2."""

    AUTO = "auto"
    GRPCIO = "grpcio"
    NATIVE = "native"


def serve(
    registry: options.Registry = options.REGISTRY,
    model: options.Model = "",
    alias: options.Alias = options.ALIAS,
    address: Annotated[
        str, typer.Option(help="HOST:PORT, [IPV6]:PORT or unix:PATH to answer on.")
    ] = options.ADDRESS,
    metrics_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the Prometheus metrics.")
    ] = 9464,
    metrics_host: Annotated[
        str, typer.Option(help="Their host; that of the address, or 127.0.0.1, if not set.")
    ] = "",
    health_port: Annotated[
        int,
        typer.Option(
            min=0, max=65535, help="A port where health answers alone, whatever the load; 0: none."
        ),
    ] = 0,
    poll_interval: Annotated[float, typer.Option(min=0.05, help="Seconds between looks.")] = 1.0,
    aliases: Annotated[
        str, typer.Option(help="More aliases to answer for, such as canary,shadow; * for all.")
    ] = "",
    keep: Annotated[
        int, typer.Option(min=1, help="Versions of the alias to keep loaded, the last served.")
    ] = 1,
    load_timeout: Annotated[
        float, typer.Option(min=0, help="Seconds a version may take to load; 0: no limit.")
    ] = 600.0,
    workers: Annotated[int, typer.Option(min=1, help="Processes that answer on the port.")] = 1,
    index: Annotated[
        Index, typer.Option(help="flat is exact; auto: flat up to 200,000 items, ivf above.")
    ] = Index.FLAT,
    recall: Annotated[
        float, typer.Option(min=0.5, max=1, help="Of the 100 best, the share an index must find.")
    ] = 0.99,
    max_k: Annotated[int, typer.Option(min=1, help="The largest k.")] = 1000,
    max_list: Annotated[int, typer.Option(min=1, help="The longest list in a query.")] = 10_000,
    max_batch: Annotated[int, typer.Option(min=1, help="The most queries in a batch.")] = 256,
    max_filters: Annotated[int, typer.Option(min=1, help="The most filters in a query.")] = 32,
    drain: Annotated[
        float,
        typer.Option(min=0, help="Seconds to go on answering after SIGTERM."),
    ] = 1.0,
    grace: Annotated[float, typer.Option(min=0, help="Seconds to finish requests then.")] = 10.0,
    max_neighbours: Annotated[
        int, typer.Option(min=1, help="Users of an item that sage looks at for a new user.")
    ] = 32,
    require_gpu: Annotated[
        bool, typer.Option("--require-gpu", help="Refuse models that end on the CPU.")
    ] = False,
    reflection: Annotated[bool, typer.Option(help="Offer gRPC reflection.")] = True,
    max_message_bytes: Annotated[
        int, typer.Option(min=1024, help="The largest request and the largest answer.")
    ] = 4 * 1024 * 1024,
    max_concurrent: Annotated[
        int, typer.Option(min=1, help="Requests in the server at a time; more are refused.")
    ] = 256,
    max_unread_bytes: Annotated[
        int, typer.Option(min=65_536, help="Answers on their way, unread; more are refused.")
    ] = 64 * 1024 * 1024,
    unread_timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds until a connection that does not read is ended.")
    ] = 20.0,
    max_streams: Annotated[
        int, typer.Option(min=1, help="Open streams, such as watches of health; more are refused.")
    ] = 1000,
    front: Annotated[
        Front,
        typer.Option(
            help="What speaks HTTP/2: grpcio; native, pygrpc-native, which is faster; auto, "
            "native where it is installed and keeps all that is asked for."
        ),
    ] = Front.AUTO,
    max_pending: Annotated[
        int, typer.Option(min=0, help="Requests not yet taken in; gRPC cancels more. 0: no limit.")
    ] = 0,
    max_queue_ms: Annotated[
        float, typer.Option(min=0, help="Milliseconds a request may wait; 0: to its deadline.")
    ] = 500,
    answer_cache: Annotated[
        float, typer.Option(min=0, help="MiB of ready answers to keep for hot requests; 0: none.")
    ] = 32.0,
    max_connection_age: Annotated[
        float, typer.Option(min=0, help="Seconds until a connection is closed; 0: never.")
    ] = 0.0,
    max_connection_age_grace: Annotated[
        float, typer.Option(min=0, help="Seconds for the requests of such a connection to end.")
    ] = 30.0,
    tls_cert: Annotated[
        Path | None, typer.Option(help="PEM certificate chain; read again when it changes.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its key, PEM, unencrypted.")] = None,
    tls_client_ca: Annotated[
        Path | None, typer.Option(help="PEM authority; clients must have a certificate of it.")
    ] = None,
    tokens_file: Annotated[
        Path | None, typer.Option(help="Digests of bearer tokens, as gnnrec token makes them.")
    ] = None,
    log_format: Annotated[str, typer.Option(help="text or json.")] = "text",
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Serve the version that an alias names, and follow the alias."""
    _exit_on_signals()
    from gnnrec_server.index.approximate import IndexPlan
    from gnnrec_server.query.queries import Limits
    from gnnrec_server.rpc.tls import TlsFiles
    from gnnrec_server.settings import Settings
    from gnnrec_server.telemetry import logs

    logs.configure(log_level, log_format)
    store = options.open_store(registry, model)
    settings = Settings(
        registry=registry,
        model=store.layout.model,
        alias=alias,
        address=address,
        metrics_port=metrics_port,
        metrics_host=metrics_host,
        health_port=health_port or None,
        poll_interval_s=poll_interval,
        served_aliases=tuple(name.strip() for name in aliases.split(",") if name.strip()),
        keep=keep,
        load_timeout_s=load_timeout,
        workers=workers,
        drain_s=drain,
        grace_s=grace,
        reflection=reflection,
        max_message_bytes=max_message_bytes,
        max_concurrent=max_concurrent,
        max_unread_bytes=max_unread_bytes,
        unread_timeout_s=unread_timeout,
        max_streams=max_streams,
        front=front.value,
        max_pending=max_pending,
        max_queue_s=max_queue_ms / 1000,
        cache_bytes=int(answer_cache * 2**20),
        max_connection_age_s=max_connection_age,
        max_connection_age_grace_s=max_connection_age_grace,
        tls=TlsFiles.of(tls_cert, tls_key, tls_client_ca),
        tokens_file=tokens_file,
        index=IndexPlan(index.value, recall),
        max_neighbours=max_neighbours,
        require_gpu=require_gpu,
        log=(log_level, log_format),
        limits=Limits(k=max_k, list_length=max_list, batch_size=max_batch, filters=max_filters),
    )
    _run(settings)


def _exit_on_signals() -> None:
    """Let SIGTERM and SIGINT end the process at once, until the server handles them itself.

    The imports before that take a second. The first process of a container has no default handler,
    so without this it would ignore a signal that comes meanwhile. No work has begun yet that a
    sudden end could harm.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: os._exit(0))
    # a server that runs looks at the aliases on SIGHUP; one that starts does so anyway
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _run(settings: "Settings") -> None:
    """Serve until the server is told to stop, then end the process without waiting for threads."""
    from gnnrec_server.main import serve as run
    from gnnrec_server.process import threads

    try:
        run(settings, lambda line: print(line, flush=True))
    except Exception:
        atexit.register(threads.end_process, 2)  # after the error has been printed
        raise
    threads.end_process(0)


def token(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who is to have it.")] = "",
    json: options.Json = False,
) -> None:
    """Make a bearer token: it is for the caller, its line for the server's --tokens-file."""
    from gnnrec_server.rpc import tokens

    made, line = tokens.make(name)
    if json:
        options.print_json({"token": made, "line": line})
        return
    print(f"token  {made}")
    print(f"line   {line}")


def add_to(app: typer.Typer) -> None:
    """Add these subcommands."""
    app.command()(serve)
    app.command()(token)
