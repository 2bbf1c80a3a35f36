"""Which class knows the store that a URL names."""

from registry.remote.gcs import GcsObjects
from registry.remote.objects import Objects
from registry.remote.s3 import S3Objects

_STORES: dict[str, type[Objects]] = {
    "s3": S3Objects,
    "s3a": S3Objects,
    "gs": GcsObjects,
    "gcs": GcsObjects,
}


def open_objects(url: str) -> Objects:
    """Return the objects at a URL, or raise MissingDriver."""
    return _STORES.get(url.partition("://")[0].lower(), Objects)(url)
