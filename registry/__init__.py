"""The on-disk registry: versions, manifests, aliases, history. See docs/registry-format.md."""

from registry.aliases import Aliases
from registry.attributes import ItemAttribute
from registry.errors import RegistryError
from registry.export import Export, FeaturesExport, VariantExport
from registry.features import FeatureEncoder, NodeFeatures
from registry.manifest import DataEntry, FoldIn, Manifest, NodeModel, Segment
from registry.moves import Candidate, Guard, Move
from registry.store import ModelStore
from registry.version import Damaged, Version

__all__ = [
    "Aliases",
    "Candidate",
    "Damaged",
    "DataEntry",
    "Export",
    "FeatureEncoder",
    "FeaturesExport",
    "FoldIn",
    "Guard",
    "ItemAttribute",
    "Manifest",
    "ModelStore",
    "Move",
    "NodeFeatures",
    "NodeModel",
    "RegistryError",
    "Segment",
    "VariantExport",
    "Version",
]
