"""Train graph recommenders, publish them, serve them over gRPC. See README.md."""

from gnnrec.client import Client, Error, Recommendation, Score
from gnnrec.newcomers import NewItem, NewUser

__all__ = ["Client", "Error", "NewItem", "NewUser", "Recommendation", "Score"]
