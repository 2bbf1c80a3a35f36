"""Train graph recommenders, publish them, serve them over gRPC. See README.md."""

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
    "Variant",
    "VersionStatus",
]
