"""Where files are: local paths and patterns, and URLs that are downloaded to temporary copies."""

import glob
import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import fsspec

from gnnrec_training.addresses import Address, address, is_frame, is_url, shown
from gnnrec_training.data.reading.copies import Copy, is_gzipped, unpack
from gnnrec_training.data.reading.progress import ReadProgress
from gnnrec_training.errors import InvalidData


@dataclass(frozen=True)
class LocalFile:
    """A file on this machine, unpacked, that a reader can open."""

    path: Path
    name: str
    """What errors call it: the path or URL that the user gave, without passwords."""
    is_one_of_several: bool
    """Whether a pattern matched other files as well."""
    copy: Copy | None
    """The temporary copy that `path` is in, deleted with this; None for the file itself."""


def path_or_url(folder: str | Path, name: str | Path) -> str:
    """Return a file's path or URL; a relative one starts from the folder, a path or URL itself."""
    if is_url(str(name)) or is_frame(str(name)):
        return str(name)
    if is_url(str(folder)):
        return f"{str(folder).rstrip('/')}/{name}"
    return str(Path(folder) / name)


def local_files(location: str, progress: ReadProgress) -> Iterator[LocalFile]:
    """Yield the files that a path, pattern or URL names, in the order of their names.

    `location`: as path_or_url returns it. Gzipped and remote files are copied to temporary ones
    first, one at a time. Raises InvalidData for a file that does not exist or cannot be read.
    """
    if location.startswith("file://"):
        return _from_disk(unquote(urlsplit(address(location).url).path), progress)
    if is_url(location):
        return _from_remote(address(location), progress)
    return _from_disk(location, progress)


def _from_disk(pattern: str, progress: ReadProgress) -> Iterator[LocalFile]:
    paths = [pattern]
    several = not Path(pattern).exists() and glob.has_magic(pattern)
    if several:
        paths = sorted(path for path in glob.glob(pattern, recursive=True) if Path(path).is_file())
        if not paths:
            raise InvalidData(f"no file {pattern}")
        progress.set_part_sizes([Path(path).stat().st_size for path in paths])
    for path in paths:
        copy = None
        try:
            with open(path, "rb") as file:
                # by its first bytes: browsers unpack a file and keep the name that ends in .gz
                packed = is_gzipped(file.read(2))
                file.seek(0)
                if packed:
                    copy = unpack(file, packed, Path(path).stat().st_size, progress)
        except FileNotFoundError:
            raise InvalidData(f"no file {path}") from None
        except IsADirectoryError:
            raise InvalidData(
                f"{path} is a folder; name its files, such as {path.rstrip('/')}/*.parquet"
            ) from None
        except (OSError, EOFError, zlib.error) as error:
            raise InvalidData(f"{path} cannot be read: {_reason(error)}") from None
        yield LocalFile(copy.path if copy else Path(path), shown(path), several, copy)


def _from_remote(place: Address, progress: ReadProgress) -> Iterator[LocalFile]:
    files = _remote_files(place)
    progress.set_part_sizes([1] * len(files))
    for name, file_system, path in files:
        try:
            with file_system.open(path, "rb") as file:
                packed = is_gzipped(file.read(2))
            with file_system.open(path, "rb") as file:
                copy = unpack(file, packed, getattr(file, "size", None), progress)
        except FileNotFoundError:
            raise InvalidData(f"no file {name}") from None
        except Exception as error:
            # each of fsspec's file systems raises its own errors, which have no common base class
            raise InvalidData(f"{name} cannot be read: {place.clean(error)}") from None
        yield LocalFile(copy.path, name, len(files) > 1, copy)


def _remote_files(place: Address) -> list[tuple[str, Any, str]]:
    """Return the name to show, the file system and the path of each file that a URL names."""
    try:
        file_system, path = fsspec.core.url_to_fs(place.url)
        # in a web address a question mark is no wildcard: it begins the query
        magic = "[*[]" if place.shown.startswith("http") else "[*?[]"
        if not re.search(magic, path) or file_system.exists(path):
            return [(place.shown, file_system, path)]
        paths = sorted(file_system.glob(path))
    except Exception as error:
        raise InvalidData(f"{place.shown} cannot be read: {place.clean(error)}") from None
    if not paths:
        raise InvalidData(f"no file {place.shown}")
    return [(place.clean(file_system.unstrip_protocol(path)), file_system, path) for path in paths]


def _reason(error: Exception) -> str:
    """Return why a local file could not be read."""
    if isinstance(error, EOFError | zlib.error | gzip.BadGzipFile):
        return "it is cut off or damaged"
    return (isinstance(error, OSError) and error.strerror) or str(error)
