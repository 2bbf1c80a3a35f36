"""The configuration of a training: its sections, and how a TOML file is read into them.

Imports addresses, errors and the registry's rule for names. The rest of the package and callers
import the names below from here, so that sections may move between the files of this room.
"""

from gnnrec_training.config.data import (
    AttributeConfig,
    Column,
    DataConfig,
    FeatureKind,
    FileFormat,
    ItemsConfig,
    NodeFeatureConfig,
    ReadOptions,
    UsersConfig,
    data_folder,
)
from gnnrec_training.config.models import (
    AlsConfig,
    CooccurrenceConfig,
    EaseConfig,
    FeaturesConfig,
    FitConfig,
    FusionConfig,
    HybridConfig,
    HybridFitConfig,
    LightGCNConfig,
    LoopConfig,
    NodeFitConfig,
    SageConfig,
    SpectralConfig,
)
from gnnrec_training.config.parse import load, resolve
from gnnrec_training.config.section import Fraction, Section
from gnnrec_training.config.sources import Database, File, MongoSource, Source, SqlSource, Text
from gnnrec_training.config.training import (
    Config,
    EvaluationConfig,
    Family,
    GraphConfig,
    SearchConfig,
    SplitConfig,
)

__all__ = [
    "AlsConfig",
    "AttributeConfig",
    "Column",
    "Config",
    "CooccurrenceConfig",
    "DataConfig",
    "Database",
    "EaseConfig",
    "EvaluationConfig",
    "Family",
    "FeatureKind",
    "FeaturesConfig",
    "File",
    "FileFormat",
    "FitConfig",
    "Fraction",
    "FusionConfig",
    "GraphConfig",
    "HybridConfig",
    "HybridFitConfig",
    "ItemsConfig",
    "LightGCNConfig",
    "LoopConfig",
    "MongoSource",
    "NodeFeatureConfig",
    "NodeFitConfig",
    "ReadOptions",
    "SageConfig",
    "SearchConfig",
    "Section",
    "Source",
    "SpectralConfig",
    "SplitConfig",
    "SqlSource",
    "Text",
    "UsersConfig",
    "data_folder",
    "load",
    "resolve",
]
