"""Train graph recommenders, publish them, serve them over gRPC. See README.md.

Each name is imported when it is first used. So the command prints its help without importing gRPC,
and a client of a server does not need the training packages.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gnnrec.client.answers import (
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
    from gnnrec.client.clients import AsyncClient, Client
    from gnnrec.client.connection import Tls
    from gnnrec.client.newcomers import NewItem, NewUser
    from gnnrec.client.queries import Query
    from gnnrec.errors import Error
    from gnnrec.training.notebook import Training, train

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
    "Alias": "gnnrec.client.answers",
    "AsyncClient": "gnnrec.client.clients",
    "Attribute": "gnnrec.client.answers",
    "Client": "gnnrec.client.clients",
    "Error": "gnnrec.errors",
    "LoadedVersion": "gnnrec.client.answers",
    "Metrics": "gnnrec.client.answers",
    "Model": "gnnrec.client.answers",
    "NewItem": "gnnrec.client.newcomers",
    "NewUser": "gnnrec.client.newcomers",
    "Query": "gnnrec.client.queries",
    "Recommendation": "gnnrec.client.answers",
    "Score": "gnnrec.client.answers",
    "Scores": "gnnrec.client.answers",
    "Tls": "gnnrec.client.connection",
    "TopK": "gnnrec.client.answers",
    "Training": "gnnrec.training.notebook",
    "Variant": "gnnrec.client.answers",
    "VersionStatus": "gnnrec.client.answers",
    "train": "gnnrec.training.notebook",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
