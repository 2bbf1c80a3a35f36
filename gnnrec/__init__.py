"""Train graph recommenders, publish them, serve them over gRPC. See README.md.

What it offers is imported when it is asked for: the command prints its help without gRPC, and who
only calls a server needs none of what trains.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gnnrec.answers import (
        Alias,
        Attribute,
        LoadedVersion,
        Metrics,
        Model,
        Recommendation,
        Score,
        Scores,
        TopK,
        Variant,
        VersionStatus,
    )
    from gnnrec.client import AsyncClient, Client
    from gnnrec.connection import Tls
    from gnnrec.errors import Error
    from gnnrec.newcomers import NewItem, NewUser
    from gnnrec.notebook import Training, train
    from gnnrec.queries import Query

__all__ = [
    "Alias",
    "AsyncClient",
    "Attribute",
    "Client",
    "Error",
    "LoadedVersion",
    "Metrics",
    "Model",
    "NewItem",
    "NewUser",
    "Query",
    "Recommendation",
    "Score",
    "Scores",
    "Tls",
    "TopK",
    "Training",
    "Variant",
    "VersionStatus",
    "train",
]

_HOMES = {
    "Alias": "gnnrec.answers",
    "AsyncClient": "gnnrec.client",
    "Attribute": "gnnrec.answers",
    "Client": "gnnrec.client",
    "Error": "gnnrec.errors",
    "LoadedVersion": "gnnrec.answers",
    "Metrics": "gnnrec.answers",
    "Model": "gnnrec.answers",
    "NewItem": "gnnrec.newcomers",
    "NewUser": "gnnrec.newcomers",
    "Query": "gnnrec.queries",
    "Recommendation": "gnnrec.answers",
    "Score": "gnnrec.answers",
    "Scores": "gnnrec.answers",
    "Tls": "gnnrec.connection",
    "TopK": "gnnrec.answers",
    "Training": "gnnrec.notebook",
    "Variant": "gnnrec.answers",
    "VersionStatus": "gnnrec.answers",
    "train": "gnnrec.notebook",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
