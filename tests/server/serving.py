"""A table of what is served, for tests without a rollout."""

from gnnrec_server.query.routing import Resident, Serving
from gnnrec_server.version.snapshot import Snapshot


def serving_only(snapshot: Snapshot, alias: str = "production") -> Serving:
    """Return the table of a server that has one version under one alias."""
    return Serving(alias, {alias: snapshot.version}, {snapshot.version: Resident(snapshot)})
