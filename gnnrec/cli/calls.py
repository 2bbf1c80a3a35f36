"""The subcommands that talk to a running server."""

from typing import Annotated

import typer

from gnnrec.cli import options
from gnnrec.client import Client

Variant = Annotated[str, typer.Option(help="Which embeddings; the version's default if not set.")]
Wait = Annotated[
    float, typer.Option(metavar="SECONDS", min=0, help="Wait so long for a server that starts.")
]


def topk(
    user: Annotated[str, typer.Argument(metavar="USER", help="A user's id.")] = "",
    k: Annotated[int, typer.Option("-k", help="How many.")] = 10,
    item: Annotated[str, typer.Option(help="Similar to this item, in place of USER.")] = "",
    include_seen: Annotated[bool, typer.Option("--include-seen")] = False,
    exclude: Annotated[list[str], typer.Option(metavar="ITEM", help="Never this one.")] = [],  # noqa: B006 (Typer reads it)
    allow: Annotated[list[str], typer.Option(metavar="ITEM", help="Only such.")] = [],  # noqa: B006
    variant: Variant = "",
    address: options.Address = options.ADDRESS,
    wait: Wait = 0.0,
    json: options.Json = False,
) -> None:
    """Print the best items for a user, or those similar to an item."""
    if bool(user) == bool(item):
        raise typer.BadParameter("name a USER or --item ITEM")
    with _client(address, wait) as client:
        answer = client.top_k(
            None if item else user,
            item_id=item or None,
            k=k,
            include_seen=include_seen,
            exclude_item_ids=exclude,
            allow_item_ids=allow,
            with_probabilities=True,
            with_titles=True,
            variant=variant,
        )
    if json:
        options.print_json(
            {
                "version": answer.version,
                "variant": answer.variant,
                "items": [entry._asdict() for entry in answer.items],
                "unknown_item_ids": answer.unknown_item_ids,
            }
        )
        return
    asked = f"similar to {item}" if item else f"for {user}"
    print(f"{asked}, by {answer.variant} of {answer.version}:")
    options.print_table(
        ["", "item", "score", "share", "title"],
        [
            [
                str(place),
                entry.item_id,
                f"{entry.score:.4f}",
                f"{entry.probability:.1%}",
                entry.title or "",
            ]
            for place, entry in enumerate(answer.items, start=1)
        ],
    )
    _warn_unknown(answer.unknown_item_ids)


def score(
    user: Annotated[str, typer.Argument(metavar="USER", help="A user's id.")],
    items: Annotated[list[str], typer.Argument(metavar="ITEM...", help="Items' ids.")],
    variant: Variant = "",
    address: options.Address = options.ADDRESS,
    json: options.Json = False,
) -> None:
    """Print the scores of items for a user."""
    with _client(address, 0) as client:
        answer = client.score(items, user_id=user, variant=variant)
    if json:
        options.print_json(
            {
                "version": answer.version,
                "variant": answer.variant,
                "items": [entry._asdict() for entry in answer.items],
            }
        )
        return
    options.print_table(
        ["item", "score"],
        [
            [entry.item_id, "unknown" if entry.score is None else f"{entry.score:.4f}"]
            for entry in answer.items
        ],
    )


def status(address: options.Address = options.ADDRESS, json: options.Json = False) -> None:
    """Print what a server serves and the state of each version."""
    with _client(address, 0) as client:
        model, states = client.model(), client.versions()
    if json:
        options.print_json({"model": model, "versions": states})
        return
    print(f"{model['model']}: {model['serving_version']} by alias {model['alias']}")
    options.print_table(
        ["version", "state", "aliases", "reason"],
        [
            [
                state["version"],
                state["state"].removeprefix("VERSION_STATE_").lower(),
                ", ".join(state.get("aliases", [])),
                state.get("reason", ""),
            ]
            for state in states
        ],
    )


def health(
    address: options.Address = options.ADDRESS,
    service: Annotated[str, typer.Option(help="One service; all if not set.")] = "",
) -> None:
    """Ask a server's health service; exit code 0 means serving, 1 not serving."""
    with _client(address, 0) as client:
        serving = client.healthy(service)
    print("serving" if serving else "not serving")
    raise typer.Exit(0 if serving else 1)


def _client(address: str, wait: float) -> Client:
    return Client(address, timeout_s=wait or 5.0, wait=wait > 0)


def _warn_unknown(item_ids: tuple[str, ...]) -> None:
    if item_ids:
        print(f"not in the catalogue: {', '.join(item_ids)}")


def add_to(app: typer.Typer) -> None:
    """Add these subcommands."""
    for command in (topk, score, status, health):
        app.command()(command)
