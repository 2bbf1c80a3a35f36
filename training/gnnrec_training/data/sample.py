"""A made data set: tables and the configuration that trains on them, and how it is written."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

CONFIG = "gnnrec.toml"


@dataclass(frozen=True)
class Sample:
    """Tables by file name, and the text of a training configuration beside them."""

    tables: Mapping[str, pl.DataFrame]
    config: str


def write(sample: Sample, folder: Path) -> list[Path]:
    """Write a sample and return its files; the same sample makes the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in sample.tables]
    for path, table in zip(paths, sample.tables.values(), strict=True):
        table.write_csv(path, float_precision=4)
    config = folder / CONFIG
    config.write_text(sample.config, encoding="utf-8")
    return [*paths, config]
