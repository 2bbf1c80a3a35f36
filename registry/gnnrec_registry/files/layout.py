"""The paths of a registry: from names of models, versions and aliases to paths, and back.

<root>/<model>/versions/<version>/...     published, immutable
<root>/<model>/versions/.<...>            being published or deleted; no reader looks here
<root>/<model>/aliases/<alias>.json
<root>/<model>/history.jsonl
<root>/<model>/history.damaged            lines of the history that could not be read, set aside
"""

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from gnnrec_registry.errors import InvalidName, NoSuchModel, NotPermitted
from gnnrec_registry.files import reading

MANIFEST = "manifest.json"
MANIFEST_KEPT = "manifest.pruning.json"
"""A copy of the manifest, kept while a prune of an object store decides whether to delete."""
USER_IDS = "users.ids"
ITEM_IDS = "items.ids"
ITEM_TITLES = "items.titles"
SEEN_INDPTR = "seen.indptr.npy"
SEEN_ITEMS = "seen.items.npy"
SEEN_LIKED = "seen.liked.npy"
GOLDEN = "golden.json"
REPORT = "report/metrics.json"
REPORT_PAGE = "report/index.html"
USER_FEATURES = "features/users.npy"
ITEM_FEATURES = "features/items.npy"
FOLDERS = frozenset({"attributes", "features", "report"})
"""The folders of a version that hold something else than a variant."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}")


def check_name(kind: str, name: str) -> str:
    """Return `name`, or raise InvalidName if it is not safe as a file name.

    Names are 1 to 128 letters, digits, `_`, `.`, `+` and `-`, the first a letter, digit or `_`.
    """
    if not _NAME.fullmatch(name):
        raise InvalidName(
            f"{kind} {name!r} is not a name: use 1 to 128 letters, digits, '_', '.', '+', '-', "
            "starting with a letter, a digit or '_'"
        )
    return name


def is_name(name: str) -> bool:
    """Tell whether check_name would accept a name."""
    return _NAME.fullmatch(name) is not None


def _must_be_name(text: str) -> str:
    if not is_name(text):
        raise ValueError(f"{text!a:.60} is not a name")
    return text


Name = Annotated[str, AfterValidator(_must_be_name)]
"""The type of a name (of a model, version, alias or variant) in a JSON file."""


class ModelLayout:
    """The paths of one model in a registry."""

    is_remote: bool = False
    """Whether the paths are keys of an object store and not local files."""

    def __init__(self, root: Path, model: str) -> None:
        self.root = root
        self.model = check_name("model", model)
        self.folder = root / model
        self.versions = self.folder / "versions"
        self.aliases = self.folder / "aliases"
        self.history = self.folder / "history.jsonl"
        self.history_damaged = self.folder / "history.damaged"
        self.lock = self.folder / ".lock"

    def require(self) -> None:
        """Raise NoSuchModel, which lists the models there are, or NotPermitted unless it exists."""
        if not reading.is_folder(self.root):
            raise NoSuchModel(
                f"no registry at {self.root}; gnnrec train CONFIG --registry DIR makes one"
            )
        if not reading.is_folder(self.versions):
            there = ", ".join(models(self.root)) or "none yet"
            raise NoSuchModel(f"no model {self.model!r} in {self.root}; models there: {there}")

    def version(self, version: str) -> Path:
        """Return the folder of `version`."""
        return self.versions / check_name("version", version)

    def alias(self, alias: str) -> Path:
        """Return the file of `alias`."""
        return self.aliases / f"{check_name('alias', alias)}.json"

    def version_names(self) -> list[str]:
        """Return the names of all published versions, sorted; unreadable ones are included."""
        return [name for name in reading.names(self.versions) if self._is_version(name)]

    def alias_names(self) -> list[str]:
        """Return the names of all aliases, sorted."""
        files = [name for name in reading.names(self.aliases) if name.endswith(".json")]
        return sorted(filter(is_name, (name.removesuffix(".json") for name in files)))

    def _is_version(self, name: str) -> bool:
        try:
            return is_name(name) and reading.is_file(self.versions / name / MANIFEST)
        except NotPermitted:
            return True  # opening it reports that it may not be read


def models(root: Path) -> list[str]:
    """Return the names of the models in a folder, sorted.

    An unreadable folder, such as lost+found at the root of a disk, is skipped. If nothing else is
    there, NotPermitted is raised.
    """
    found: list[str] = []
    closed: NotPermitted | None = None
    for name in filter(is_name, reading.names(root)):
        try:
            found += [name] if reading.is_folder(root / name / "versions") else []
        except NotPermitted as error:
            closed = error
    if closed is not None and not found:
        raise closed
    return found


def users_array(variant: str) -> str:
    """Return the file of a variant's user embeddings, relative to the version."""
    return f"{check_name('variant', variant)}/users.npy"


def items_array(variant: str) -> str:
    """Return the file of a variant's item embeddings, relative to the version."""
    return f"{check_name('variant', variant)}/items.npy"


def fold_array(variant: str) -> str:
    """Return the file of a variant's fold-in vectors of items, relative to the version."""
    return f"{check_name('variant', variant)}/fold.npy"


def lists_array(variant: str, part: str) -> str:
    """Return a file of a variant's item lists: part `indptr`, `items` or `weights`."""
    return f"{check_name('variant', variant)}/lists.{part}.npy"


def model_file(variant: str, kind: str) -> str:
    """Return the file of a variant's ONNX model, relative to the version."""
    return f"{check_name('variant', variant)}/{kind}.onnx"
