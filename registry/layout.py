"""Where everything stands in a registry: names to paths and back.

<root>/<model>/versions/<version>/...     published, immutable
<root>/<model>/versions/.<...>            being published or deleted; no reader looks here
<root>/<model>/aliases/<alias>.json
<root>/<model>/history.jsonl
"""

import re
from pathlib import Path

from registry.errors import InvalidName, NoSuchModel

MANIFEST = "manifest.json"
USER_IDS = "users.ids"
ITEM_IDS = "items.ids"
ITEM_TITLES = "items.titles"
SEEN_INDPTR = "seen.indptr.npy"
SEEN_ITEMS = "seen.items.npy"
GOLDEN = "golden.json"
REPORT = "report/metrics.json"
REPORT_PAGE = "report/index.html"
USER_FEATURES = "features/users.npy"
ITEM_FEATURES = "features/items.npy"

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}")


def check_name(kind: str, name: str) -> str:
    """Return `name`, or raise InvalidName if it could not be a file name of its own.

    Names are 1 to 128 letters, digits, `_`, `.`, `+` and `-`, the first a letter, digit or `_`.
    """
    if not _NAME.fullmatch(name):
        raise InvalidName(
            f"{kind} {name!r} is not a name: use 1 to 128 letters, digits, '_', '.', '+', '-', "
            "starting with a letter, a digit or '_'"
        )
    return name


def is_name(name: str) -> bool:
    """Tell whether check_name would take a name."""
    return _NAME.fullmatch(name) is not None


class ModelLayout:
    """The paths of one model in a registry."""

    is_remote: bool = False
    """Whether the paths are keys of an object store, and not of files to look at."""

    def __init__(self, root: Path, model: str) -> None:
        self.root = root
        self.model = check_name("model", model)
        self.folder = root / model
        self.versions = self.folder / "versions"
        self.aliases = self.folder / "aliases"
        self.history = self.folder / "history.jsonl"
        self.lock = self.folder / ".lock"

    def require(self) -> None:
        """Raise NoSuchModel, saying what there is, unless the model exists."""
        if not self.root.is_dir():
            raise NoSuchModel(
                f"no registry at {self.root}; gnnrec train CONFIG --registry DIR makes one"
            )
        if not self.versions.is_dir():
            models = sorted(p.name for p in self.root.iterdir() if (p / "versions").is_dir())
            there = ", ".join(models) or "none yet"
            raise NoSuchModel(f"no model {self.model!r} in {self.root}; models there: {there}")

    def version(self, version: str) -> Path:
        """Return the folder of `version`."""
        return self.versions / check_name("version", version)

    def alias(self, alias: str) -> Path:
        """Return the file of `alias`."""
        return self.aliases / f"{check_name('alias', alias)}.json"

    def version_names(self) -> list[str]:
        """Return the names of all whole versions, sorted by name."""
        if not self.versions.is_dir():
            return []
        return sorted(
            path.name
            for path in self.versions.iterdir()
            if _NAME.fullmatch(path.name) and (path / MANIFEST).is_file()
        )

    def alias_names(self) -> list[str]:
        """Return the names of all aliases, sorted."""
        return sorted(
            path.stem for path in self.aliases.glob("*.json") if _NAME.fullmatch(path.stem)
        )


def users_array(variant: str) -> str:
    """Return the file of a variant's user embeddings, relative to the version."""
    return f"{check_name('variant', variant)}/users.npy"


def items_array(variant: str) -> str:
    """Return the file of a variant's item embeddings, relative to the version."""
    return f"{check_name('variant', variant)}/items.npy"


def fold_array(variant: str) -> str:
    """Return the file of what a variant's new users take from items, relative to the version."""
    return f"{check_name('variant', variant)}/fold.npy"
