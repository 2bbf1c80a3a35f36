"""Options that several subcommands share, and the printing of JSON."""

import json
import math
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import typer

from gnnrec.cli.complete import complete_aliases, complete_models, complete_versions
from gnnrec.terminal.table import print_table as print_table

Registry = Annotated[
    str,
    typer.Option("--registry", help="The registry: a folder, or a URL such as s3://bucket/dir."),
]
Model = Annotated[
    str,
    typer.Option(
        "--model", help="The model's name in the registry.", autocompletion=complete_models
    ),
]


def version_argument(metavar: str) -> Any:
    """Return an argument that is a version's id."""
    return typer.Argument(metavar=metavar, help="A version's id.", autocompletion=complete_versions)


Version = Annotated[str, version_argument("VERSION")]
Alias = Annotated[str, typer.Option("--alias", help="The alias.", autocompletion=complete_aliases)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

FILTER = typer.Option(
    "--filter",
    metavar="ATTRIBUTE=CONDITION",
    help="Only such items: level=beginner,intermediate or hours=2..10, where an end may be open.",
)

REGISTRY = "registry-data"
ALIAS = "production"
ADDRESS = "127.0.0.1:50051"


def print_json(value: Any) -> None:
    """Print a value as one line of JSON; moments as ISO 8601."""
    print(json.dumps(value, ensure_ascii=False, default=datetime.isoformat))


def read_filters(texts: Sequence[str]) -> dict[str, Any]:
    """Return the conditions by attribute that `--filter` states; raises ValueError."""
    filters: dict[str, Any] = {}
    for text in texts:
        name, equals, condition = text.partition("=")
        if not (name and equals and condition):
            raise ValueError(
                f"--filter takes ATTRIBUTE=TEXT,TEXT or ATTRIBUTE=LEAST..GREATEST, not {text!r:.60}"
            )
        if name in filters:
            raise ValueError(f"--filter names {name!r} twice; state one condition for it")
        filters[name] = _condition(condition)
    return filters


def _condition(text: str) -> list[str] | tuple[float | None, float | None]:
    """Return a range if the text is one, such as 2..10, and a list of texts otherwise."""
    ends = text.split("..")
    if len(ends) == 2 and any(ends):
        try:
            low, high = (float(end) if end else None for end in ends)
        except ValueError:
            pass
        else:
            if all(end is None or math.isfinite(end) for end in (low, high)):
                return low, high
    return text.split(",")


def open_store(registry: str, model: str) -> Any:
    """Return the model's store; without a name, that of the only model there is."""
    from gnnrec_registry import ModelStore, RegistryError
    from gnnrec_registry.locations import models

    if not model:
        found = models(registry)
        if not found:
            raise RegistryError(
                f"no model in {registry}: it is empty, or no registry; name another with "
                "--registry; gnnrec train CONFIG --registry PLACE makes one"
            )
        if len(found) > 1:
            raise RegistryError(
                f"name the model with --model; models in {registry}: {', '.join(found)}"
            )
        model = found[0]
    return ModelStore(registry, model)
