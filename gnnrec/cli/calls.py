"""The subcommands that talk to a running server."""

import json as jsonlib
from typing import Annotated, Any

import typer

from gnnrec.cli import options
from gnnrec.client import Client, Error
from gnnrec.newcomers import NewItem, NewUser

Variant = Annotated[str, typer.Option(help="Which embeddings; the version's default if not set.")]
Wait = Annotated[
    float, typer.Option(metavar="SECONDS", min=0, help="Wait so long for a server that starts.")
]
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


def topk(
    user: Annotated[str, typer.Argument(metavar="[USER]", help="A user's id.")] = "",
    k: Annotated[int, typer.Option("-k", help="How many.")] = 10,
    item: Annotated[str, typer.Option(help="Similar to this item, in place of USER.")] = "",
    new_user: NewUserJson = "",
    new_item: NewItemJson = "",
    include_seen: Annotated[bool, typer.Option("--include-seen")] = False,
    exclude: Annotated[list[str], typer.Option(metavar="ITEM", help="Never this one.")] = [],  # noqa: B006 (Typer reads it)
    allow: Annotated[list[str], typer.Option(metavar="ITEM", help="Only such.")] = [],  # noqa: B006
    variant: Variant = "",
    address: options.Address = options.ADDRESS,
    wait: Wait = 0.0,
    json: options.Json = False,
) -> None:
    """Print the best items for a user, or those similar to an item, known or new."""
    if sum(map(bool, (user, item, new_user, new_item))) != 1:
        raise typer.BadParameter("name one of USER, --item, --new-user, --new-item")
    newcomer, new_thing = _new_user(new_user), _new_item(new_item)
    with _client(address, wait) as client:
        answer = client.top_k(
            user or None,
            item_id=item or None,
            new_user=newcomer,
            new_item=new_thing,
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
    if item or new_item:
        asked = f"similar to {item or 'a new item'}"
    else:
        asked = f"for {user or 'a new user'}"
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
    ids: Annotated[
        list[str], typer.Argument(metavar="[USER] ITEM...", help="A user's id, and items' ids.")
    ],
    new_user: NewUserJson = "",
    new_item: NewItemJson = "",
    variant: Variant = "",
    address: options.Address = options.ADDRESS,
    json: options.Json = False,
) -> None:
    """Print the scores of items for a user, or for a new user or item, without USER then."""
    if new_user and new_item:
        raise typer.BadParameter("name one of USER, --new-user, --new-item")
    user, items = (None, ids) if new_user or new_item else (ids[0], ids[1:])
    if not items:
        raise typer.BadParameter("name a USER and the ITEMs to score")
    newcomer, new_thing = _new_user(new_user), _new_item(new_item)
    with _client(address, 0) as client:
        answer = client.score(
            items, user_id=user, new_user=newcomer, new_item=new_thing, variant=variant
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
    options.print_table(
        ["item", "score"],
        [
            [entry.item_id, "unknown" if entry.score is None else f"{entry.score:.4f}"]
            for entry in answer.items
        ],
    )
    _warn_unknown(answer.unknown_item_ids)


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


def _new_user(text: str) -> NewUser | None:
    if not text:
        return None
    parts = _read("--new-user", text, ["item_ids", "features"])
    try:
        return NewUser(parts.get("item_ids", ()), parts.get("features", {}))
    except ValueError as error:
        raise _invalid(f"--new-user: {error}") from None


def _new_item(text: str) -> NewItem | None:
    if not text:
        return None
    parts = _read("--new-item", text, ["features"])
    try:
        return NewItem(parts.get("features", {}))
    except ValueError as error:
        raise _invalid(f"--new-item: {error}") from None


def _read(option: str, text: str, keys: list[str]) -> dict[str, Any]:
    """Return a JSON object of none but `keys`."""
    try:
        parts = jsonlib.loads(text)
    except ValueError as error:
        raise _invalid(f"{option} is not JSON: {error}") from None
    if not isinstance(parts, dict) or not set(parts) <= set(keys):
        raise _invalid(f"{option} takes a JSON object with {' and '.join(keys)}, not {text:.60}")
    return parts


def _invalid(problem: str) -> Error:
    return Error("INVALID_ARGUMENT", "", problem)


def _warn_unknown(item_ids: tuple[str, ...]) -> None:
    if item_ids:
        print(f"not in the catalogue: {', '.join(item_ids)}")


def add_to(app: typer.Typer) -> None:
    """Add these subcommands."""
    for command in (topk, score, status, health):
        app.command()(command)
