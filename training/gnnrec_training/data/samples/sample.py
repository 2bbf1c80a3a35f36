"""A made-up data set: its tables, the configuration that trains on them, and how to write both."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

CONFIG = "gnnrec.toml"
"""The name of the configuration's file."""


@dataclass(frozen=True)
class Sample:
    """Tables by the name of their CSV file, and the text of the training configuration."""

    tables: Mapping[str, pl.DataFrame]
    config: str


def write(sample: Sample, folder: Path) -> list[Path]:
    """Write a sample into a folder and return its files; the same sample makes the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in sample.tables]
    for path, table in zip(paths, sample.tables.values(), strict=True):
        table.write_csv(path, float_precision=4)
    config = folder / CONFIG
    config.write_text(sample.config, encoding="utf-8")
    return [*paths, config]
