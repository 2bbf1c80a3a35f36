"""The keys of a registry's objects: the paths that they would have in a local folder."""

from pathlib import Path

from gnnrec_registry.errors import NoSuchModel
from gnnrec_registry.files.layout import MANIFEST, ModelLayout, is_name
from gnnrec_registry.remote.objects import Entry, Objects


class RemoteLayout(ModelLayout):
    """The keys of one model: its paths are relative to the URL and name objects, not files."""

    is_remote = True

    def __init__(self, objects: Objects, model: str) -> None:
        super().__init__(Path(), model)
        self._objects = objects

    def require(self) -> None:
        """Raise NoSuchModel, saying what there is, unless the model exists."""
        if self._objects.folders(self.versions.as_posix()):
            return
        models = [name for name in self._objects.folders() if is_name(name)]
        there = ", ".join(models) or "none yet; gnnrec train CONFIG --registry URL makes one"
        raise NoSuchModel(f"no model {self.model!r} in {self._objects.url}; models there: {there}")

    def version_names(self) -> list[str]:
        """Return the names of all whole versions, sorted by name."""
        return sorted(
            name
            for name, keys in self.version_keys().items()
            if f"{self.version(name).as_posix()}/{MANIFEST}" in keys
        )

    def version_keys(self) -> dict[str, dict[str, Entry]]:
        """Return the objects of every version by its name, incomplete versions included."""
        prefix = f"{self.versions.as_posix()}/"
        found: dict[str, dict[str, Entry]] = {}
        for key, entry in self._objects.entries(prefix).items():
            name = key.removeprefix(prefix).partition("/")[0]
            if is_name(name):
                found.setdefault(name, {})[key] = entry
        return found

    def alias_names(self) -> list[str]:
        """Return the names of all aliases, sorted."""
        paths = [Path(key) for key in self._objects.entries(self.aliases.as_posix())]
        return sorted(
            path.stem
            for path in paths
            if path.parent == self.aliases and path.suffix == ".json" and is_name(path.stem)
        )
