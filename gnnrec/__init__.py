"""Train graph recommenders, publish them, serve them over gRPC. See README.md."""

from gnnrec.client import Client, Error, Recommendation, Score

__all__ = ["Client", "Error", "Recommendation", "Score"]
