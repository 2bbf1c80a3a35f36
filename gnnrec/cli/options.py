"""Options that several subcommands share, and how they print."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

Registry = Annotated[Path, typer.Option("--registry", help="The registry's folder.")]
Model = Annotated[str, typer.Option("--model", help="The model's name in the registry.")]
Alias = Annotated[str, typer.Option("--alias", help="The alias.")]
Address = Annotated[str, typer.Option("--address", help="HOST:PORT of the server.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

REGISTRY = Path("registry-data")
ALIAS = "production"
ADDRESS = "127.0.0.1:50051"


def print_json(value: Any) -> None:
    """Print a value as one line of JSON."""
    print(json.dumps(value, ensure_ascii=False))


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print aligned columns."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for line in lines:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        )


def open_store(registry: Path, model: str) -> Any:
    """Return the model's store; without a name, that of the only model there is."""
    from registry import ModelStore, RegistryError

    if not model:
        found = sorted(path.parent.name for path in registry.glob("*/versions"))
        if len(found) != 1:
            there = ", ".join(found) or "none yet"
            raise RegistryError(f"name the model with --model; models in {registry}: {there}")
        model = found[0]
    return ModelStore(registry, model)
