"""gnnrec.train and gnnrec train, started from another version."""

from pathlib import Path
from typing import Any

import pytest

from gnnrec import train
from gnnrec_registry import ModelStore
from gnnrec_registry.errors import NoSuchVersion
from gnnrec_training.data.samples import sample
from gnnrec_training.data.samples.courses import sample_courses
from gnnrec_training.errors import InvalidConfig
from tests.end_to_end.command import ok

DATA: dict[str, Any] = {
    "name": "courses",
    "data": {
        "interactions": "enrolments.csv", "user_column": "person_id", "item_column": "course_id",
    },
    "evaluation": {"k": [10]},
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    sample.write(sample_courses(60, 40, 900, 0), tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_next_day_starts_from_an_alias_with_its_models(folder: Path) -> None:
    lines = (folder / "enrolments.csv").read_text().splitlines()
    (folder / "enrolments.csv").write_text("\n".join(lines[:800]))
    shape = {"embedding_dim": 8, "num_layers": 1, "training": {"epochs": 8, "batch_size": 20}}
    first = train(DATA | {"lightgcn": shape}, progress=False)
    ModelStore("registry-data", "courses").aliases.promote(
        first.version, alias="production", why="test"
    )
    (folder / "enrolments.csv").write_text("\n".join(lines))
    second = train(DATA, start_from="production", progress=False)
    manifest = ModelStore("registry-data", "courses").open(second.version).manifest
    assert manifest.start is not None
    assert manifest.start.version == first.version
    assert manifest.config["lightgcn"]["embedding_dim"] == 8
    (folder / "courses.toml").write_text(
        'name = "courses"\n[data]\ninteractions = "enrolments.csv"\nuser_column = "person_id"\n'
        'item_column = "course_id"\n[evaluation]\nk = [10]\n'
    )
    said = ok("train", "courses.toml", "--registry", "registry-data", "--from", first.version)
    assert "published courses" in said
    newest = ModelStore("registry-data", "courses").versions()[0]
    assert newest.manifest.start == manifest.start  # type: ignore[union-attr]


def test_an_unknown_version_is_one_line_before_anything_is_trained(folder: Path) -> None:
    train(DATA | {"ease": {}}, progress=False)
    with pytest.raises(NoSuchVersion, match="no version and no alias 'old' of 'courses'") as error:
        train(DATA | {"ease": {}}, start_from="old", progress=False)
    assert "\n" not in str(error.value)
    assert len(ModelStore("registry-data", "courses").versions()) == 1


def test_a_search_and_a_version_to_start_from_are_one_too_many(folder: Path) -> None:
    version = train(DATA | {"ease": {}}, progress=False).version
    for asked in ({"search": {"minutes": 0}}, {}):
        minutes = None if asked else 1.0
        with pytest.raises(InvalidConfig, match=r"remove \[search\] to take over the models"):
            train(DATA | asked, start_from=version, minutes=minutes, progress=False)
