"""Chooses the class for the store of a URL, and imports its driver only then."""

import fsspec

from gnnrec_registry.remote.failures import missing_driver
from gnnrec_registry.remote.objects import Objects


def open_objects(url: str) -> Objects:
    """Return the objects at a URL, or raise MissingDriver."""
    protocol = url.partition("://")[0].lower()
    try:
        fsspec.get_filesystem_class(protocol)
    except (ImportError, ValueError) as error:
        raise missing_driver(url, error) from None
    if protocol in ("s3", "s3a"):
        from gnnrec_registry.remote.s3 import S3Objects

        return S3Objects(url)
    if protocol in ("gs", "gcs"):
        from gnnrec_registry.remote.gcs import GcsObjects

        return GcsObjects(url)
    return Objects(url)
