"""The subcommands that talk to a running server."""

import json as jsonlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gnnrec.cli import options
from gnnrec.cli.connect import connected

if TYPE_CHECKING:
    from gnnrec.client.answers import Scores, TopK
    from gnnrec.client.clients import Client
    from gnnrec.client.newcomers import NewItem, NewUser

Variant = Annotated[str, typer.Option(help="Which embeddings; the version's default if not set.")]
Version = Annotated[str, typer.Option(help="The version that is to answer.")]
Alias = Annotated[str, typer.Option(help="The version that is to answer, by an alias for it.")]
NewUserJson = Annotated[
    str,
    typer.Option(
        metavar="JSON",
        help='In place of USER: {"item_ids": ["a", "b"], "features": {"age": 30}}, either alone, '
        'or {"item_ids": {"a": 2.5}} with weights.',
    ),
]
NewItemJson = Annotated[
    str, typer.Option(metavar="JSON", help='In place of USER: {"features": {"level": "first"}}.')
]


@connected
def topk(
    client: "Client",
    user: Annotated[str, typer.Argument(metavar="USER", help="A user's id.")] = "",
    k: Annotated[int, typer.Option("-k", help="How many.")] = 10,
    item: Annotated[str, typer.Option(help="Similar to this item, in place of USER.")] = "",
    new_user: NewUserJson = "",
    new_item: NewItemJson = "",
    include_seen: Annotated[bool, typer.Option("--include-seen")] = False,
    exclude: Annotated[list[str], typer.Option(metavar="ITEM", help="Never this one.")] = [],  # noqa: B006 (Typer reads it)
    allow: Annotated[list[str], typer.Option(metavar="ITEM", help="Only such.")] = [],  # noqa: B006
    filter: Annotated[list[str], options.FILTER] = [],  # noqa: B006
    variant: Variant = "",
    version: Version = "",
    alias: Alias = "",
    json: options.Json = False,
) -> None:
    """Print the best items for a user, or those similar to an item, known or new."""
    if sum(map(bool, (user, item, new_user, new_item))) != 1:
        raise typer.BadParameter("name one of USER, --item, --new-user, --new-item")
    answer = client.top_k(
        user or None,
        item_id=item or None,
        new_user=_new_user(new_user),
        new_item=_new_item(new_item),
        k=k,
        include_seen=include_seen,
        exclude_item_ids=exclude,
        allow_item_ids=allow,
        filters=options.read_filters(filter),
        with_probabilities=True,
        with_titles=True,
        variant=variant,
        version=version,
        alias=alias,
    )
    if json:
        _print_json(answer)
        return
    if item or new_item:
        asked = f"similar to {item or 'a new item'}"
    else:
        asked = f"for {user or 'a new user'}"
    print(f"{asked}, by {answer.variant} of {answer.version}:")
    _print_items(answer)


def _print_items(answer: "TopK") -> None:
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


@connected
def score(
    client: "Client",
    ids: Annotated[list[str], typer.Argument(metavar="ID", help="A user's id, and items' ids.")],
    new_user: NewUserJson = "",
    new_item: NewItemJson = "",
    variant: Variant = "",
    version: Version = "",
    alias: Alias = "",
    json: options.Json = False,
) -> None:
    """Print the scores of items for a user, or for a new user or item, without USER then."""
    if new_user and new_item:
        raise typer.BadParameter("name one of USER, --new-user, --new-item")
    user, items = (None, ids) if new_user or new_item else (ids[0], ids[1:])
    if not items:
        raise typer.BadParameter("name a USER and the ITEMs to score")
    answer = client.score(
        items,
        user_id=user,
        new_user=_new_user(new_user),
        new_item=_new_item(new_item),
        variant=variant,
        version=version,
        alias=alias,
    )
    if json:
        _print_json(answer)
        return
    options.print_table(
        ["item", "score"],
        [
            [entry.item_id, "unknown" if entry.score is None else f"{entry.score:.4f}"]
            for entry in answer.items
        ],
    )
    _warn_unknown(answer.unknown_item_ids)


@connected
def status(client: "Client", json: options.Json = False) -> None:
    """Print what a server serves and the state of each version."""
    model, states = client.get_model(), client.list_versions()
    if json:
        options.print_json(
            {"model": asdict(model), "versions": [asdict(state) for state in states]}
        )
        return
    print(f"{model.model}: {model.serving_version} by alias {model.alias}")
    options.print_table(
        ["version", "state", "aliases", "reason"],
        [[state.version, state.state, ", ".join(state.aliases), state.reason] for state in states],
    )
    if model.registry_problem:
        print(f"\nthe registry cannot be read now: {model.registry_problem}")


@connected
def health(
    client: "Client",
    service: Annotated[str, typer.Option(help="One service; all if not set.")] = "",
    json: options.Json = False,
) -> None:
    """Ask a server's health service; exit code 0 means serving, 1 not serving."""
    serving = client.health(service)
    if json:
        options.print_json({"serving": serving})
    else:
        print("serving" if serving else "not serving")
    raise typer.Exit(0 if serving else 1)


def _print_json(answer: "TopK | Scores") -> None:
    items = [entry._asdict() for entry in answer.items]
    options.print_json({**asdict(answer), "items": items})


def _new_user(text: str) -> "NewUser | None":
    from gnnrec.client.newcomers import NewUser

    if not text:
        return None
    parts = _read("--new-user", text, ["item_ids", "features"])
    try:
        return NewUser(parts.get("item_ids", ()), parts.get("features", {}))
    except ValueError as error:
        raise ValueError(f"--new-user: {error}") from None


def _new_item(text: str) -> "NewItem | None":
    from gnnrec.client.newcomers import NewItem

    if not text:
        return None
    parts = _read("--new-item", text, ["features"])
    try:
        return NewItem(parts.get("features", {}))
    except ValueError as error:
        raise ValueError(f"--new-item: {error}") from None


def _read(option: str, text: str, keys: list[str]) -> dict[str, Any]:
    """Return a JSON object of none but `keys`, or raise ValueError."""
    try:
        parts = jsonlib.loads(text)
    except ValueError as error:
        raise ValueError(f"{option} is not JSON: {error}") from None
    if not isinstance(parts, dict) or not set(parts) <= set(keys):
        raise ValueError(f"{option} takes a JSON object with {' and '.join(keys)}, not {text:.60}")
    return parts


def _warn_unknown(item_ids: tuple[str, ...]) -> None:
    if item_ids:
        print(f"not in the catalogue: {', '.join(item_ids)}")


def add_to(app: typer.Typer) -> None:
    """Add these subcommands."""
    for command in (topk, score, status, health):
        app.command()(command)
