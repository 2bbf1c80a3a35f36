"""The options that all subcommands which call a server share, and the client made from them."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gnnrec.cli import options

if TYPE_CHECKING:
    from gnnrec.client.clients import Client

_TIMEOUT_S = 5.0


def connect(
    address: Annotated[
        str,
        typer.Option(help="HOST[:PORT] or unix:PATH of the server, or IP:PORT,IP:PORT of several."),
    ] = options.ADDRESS,
    wait: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0, help="Wait so long for a server that starts."),
    ] = 0.0,
    tls: Annotated[bool, typer.Option("--tls", help="Use TLS and the system's roots.")] = False,
    tls_ca: Annotated[
        Path | None, typer.Option(help="Use TLS and trust the roots of this PEM file.")
    ] = None,
    tls_server_name: Annotated[
        str, typer.Option(help="The name in the server's certificate, if not the host's.")
    ] = "",
    client_cert: Annotated[
        Path | None, typer.Option(help="PEM file of a certificate, for mutual TLS.")
    ] = None,
    client_key: Annotated[Path | None, typer.Option(help="PEM file of its key.")] = None,
    token: Annotated[
        str, typer.Option(help="A bearer token; better set as GNNREC_TOKEN, where none sees it.")
    ] = "",
    allow_insecure_token: Annotated[
        bool, typer.Option("--allow-insecure-token", help="Send the token without TLS too.")
    ] = False,
) -> "Client":
    """Return a client; raises ValueError for options that do not fit together."""
    from gnnrec.client.clients import Client
    from gnnrec.client.connection import Tls

    files = (tls_ca, client_cert, client_key)
    with_tls = tls or any(files) or bool(tls_server_name)
    addresses = [address] if address.startswith("unix:") else address.split(",")
    return Client(
        addresses[0] if len(addresses) == 1 else addresses,
        timeout_s=wait or _TIMEOUT_S,
        wait_for_ready=wait > 0,
        tls=Tls(*files, server_name=tls_server_name) if with_tls else None,
        token=token.strip(),
        allow_insecure_token=allow_insecure_token,
    )


def connected(command: Callable[..., None]) -> Callable[..., None]:
    """Give a subcommand the options of `connect` in place of its first parameter, the client."""
    _, *own = inspect.signature(command).parameters.values()
    shared = inspect.signature(connect).parameters

    def run(**given: Any) -> None:
        from gnnrec.errors import Error

        reach = {name: given.pop(name) for name in shared}
        try:
            with connect(**reach) as client:
                command(client, **given)
        except ValueError as error:  # an invalid request or option
            raise Error("INVALID_ARGUMENT", "", str(error)) from None

    run.__signature__ = inspect.Signature([*own, *shared.values()])  # type: ignore[attr-defined]
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__annotations__ = {}
    return run
