"""Shell completion of versions, aliases and models; an unreadable registry gives none."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from gnnrec_registry import ModelStore


def complete_versions(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the versions of the given model, or of all models."""
    return _offer(ctx, incomplete, lambda store: store.layout.version_names())


def complete_aliases(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the aliases of the given model, or of all models."""
    return _offer(ctx, incomplete, lambda store: store.layout.alias_names())


def complete_models(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the models of the registry."""
    return _offer(ctx, incomplete, lambda store: [store.layout.model], all_models=True)


def _offer(
    ctx: typer.Context,
    incomplete: str,
    names: "Callable[[ModelStore], list[str]]",
    *,
    all_models: bool = False,
) -> list[str]:
    """Return the names that begin with the typed text; none after an error."""
    from gnnrec_registry import ModelStore
    from gnnrec_registry.locations import models

    registry = _given(ctx, "registry") or "registry-data"
    model = "" if all_models else _given(ctx, "model")
    try:
        stores = [ModelStore(registry, name) for name in models(registry) if model in ("", name)]
        return [name for store in stores for name in names(store) if name.startswith(incomplete)]
    except Exception:
        return []


def _given(ctx: typer.Context, option: str) -> str:
    given: Any = ctx.params.get(option) or os.environ.get(f"GNNREC_{option.upper()}")
    return str(given or "")
