"""The on-disk registry: versions, manifests, aliases, history. See docs/registry-format.md."""

from gnnrec_registry.aliases.aliases import Aliases
from gnnrec_registry.aliases.moves import Candidate, Guard, Move
from gnnrec_registry.errors import RegistryError
from gnnrec_registry.features.attributes import ItemAttribute
from gnnrec_registry.features.encoders import FeatureEncoder, NodeFeatures
from gnnrec_registry.scoring.lists import ItemLists
from gnnrec_registry.store import ModelStore
from gnnrec_registry.versions.export import Export, FeaturesExport, VariantExport
from gnnrec_registry.versions.manifest import (
    DataEntry,
    FitEntry,
    FitsEntry,
    FoldIn,
    Manifest,
    NodeModel,
    Segment,
    StartEntry,
    VerdictEntry,
)
from gnnrec_registry.versions.version import Damaged, Version

__all__ = [
    "Aliases",
    "Candidate",
    "Damaged",
    "DataEntry",
    "Export",
    "FeatureEncoder",
    "FeaturesExport",
    "FitEntry",
    "FitsEntry",
    "FoldIn",
    "Guard",
    "ItemAttribute",
    "ItemLists",
    "Manifest",
    "ModelStore",
    "Move",
    "NodeFeatures",
    "NodeModel",
    "RegistryError",
    "Segment",
    "StartEntry",
    "VariantExport",
    "VerdictEntry",
    "Version",
]
