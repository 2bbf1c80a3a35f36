"""Which storage a registry's location needs: a local folder, or a URL of an object store."""

import re
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from gnnrec_registry.files.layout import models as local_models
from gnnrec_registry.remote.failures import missing_driver
from gnnrec_registry.storage.local import LocalStorage
from gnnrec_registry.storage.protocol import Storage

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")


def open_storage(root: Path | str, model: str) -> Storage:
    """Return the storage of a model in a folder, or at a URL that fsspec knows."""
    place = _place(root)
    if isinstance(place, Path):
        return LocalStorage(place, model)
    _need_fsspec(place)
    # imported here, for fsspec is needed only for a URL
    from gnnrec_registry.remote.storage import RemoteStorage

    return RemoteStorage(place, model)


def models(root: Path | str) -> list[str]:
    """Return the names of the models in a registry, sorted."""
    place = _place(root)
    if isinstance(place, Path):
        return local_models(place)
    _need_fsspec(place)
    from gnnrec_registry.remote.storage import remote_models

    return remote_models(place)


def _need_fsspec(url: str) -> None:
    if find_spec("fsspec") is None:
        raise missing_driver(url, "fsspec is missing")


def _place(root: Path | str) -> Path | str:
    """Return a Path for a local folder or a file: URL, and any other URL as it is."""
    found = None if isinstance(root, Path) else _URL.match(root)
    if found is None:
        return Path(root)
    if found[1].lower() in ("file", "local"):
        return Path(url2pathname(urlsplit(str(root)).path))
    return str(root)
