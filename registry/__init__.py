"""The on-disk registry: versions, manifests, aliases, history. See docs/registry-format.md."""

from registry.aliases import Aliases, Move
from registry.errors import RegistryError
from registry.export import Export, VariantExport
from registry.manifest import DataEntry, Manifest
from registry.store import ModelStore
from registry.version import Damaged, Version

__all__ = [
    "Aliases",
    "Damaged",
    "DataEntry",
    "Export",
    "Manifest",
    "ModelStore",
    "Move",
    "RegistryError",
    "VariantExport",
    "Version",
]
