import hashlib
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnnrec_registry import Damaged, ModelStore, RegistryError
from gnnrec_registry.errors import VersionCorrupt
from gnnrec_registry.files.json import canonical_json
from tests import made


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("registry")
    made.publish(root, version="v1")
    return root


def copy(whole: Path, to: Path) -> ModelStore:
    shutil.copytree(whole, to / "registry")
    return ModelStore(to / "registry", "toy")


def check(store: ModelStore) -> None:
    store.open("v1").verify()


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "grow"])
def test_damage_to_any_file_is_found_and_the_file_named(
    whole: Path, tmp_path: Path, damage: str
) -> None:
    names = [path.relative_to(whole) for path in files(whole / "toy" / "versions")]
    assert len(names) == 10
    for number, name in enumerate(names):
        store = copy(whole, tmp_path / str(number))
        path = tmp_path / str(number) / "registry" / name
        content = path.read_bytes()
        if damage == "remove":
            path.unlink()
        elif damage == "flip":
            half = len(content) // 2
            path.write_bytes(content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :])
        else:
            path.write_bytes(content[:-1] if damage == "cut" else content + b" ")
        with pytest.raises(RegistryError) as caught:
            check(store)
        relative = name.relative_to("toy/versions/v1").as_posix()
        expected = (
            "no version 'v1'" if (damage, relative) == ("remove", "manifest.json") else relative
        )
        assert expected in str(caught.value)


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_no_single_bit_of_the_manifest_can_change_unseen(whole: Path, data: st.DataObject) -> None:
    path = whole / "toy" / "versions" / "v1" / "manifest.json"
    content = path.read_bytes()
    place = data.draw(st.integers(0, len(content) * 8 - 1))
    flipped = bytearray(content)
    flipped[place // 8] ^= 1 << (place % 8)
    try:
        path.write_bytes(flipped)
        with pytest.raises(VersionCorrupt):
            check(ModelStore(whole, "toy"))
    finally:
        path.write_bytes(content)


def test_a_file_of_another_version_is_found(tmp_path: Path) -> None:
    made.publish(tmp_path, version="v1")
    made.publish(tmp_path, version="v2", seed=7)
    versions = tmp_path / "toy" / "versions"
    shutil.copy(versions / "v2/lightgcn/items.npy", versions / "v1/lightgcn/items.npy")
    with pytest.raises(VersionCorrupt, match=r"lightgcn/items\.npy has another sha256"):
        check(ModelStore(tmp_path, "toy"))
    shutil.copy(versions / "v2/manifest.json", versions / "v1/manifest.json")
    with pytest.raises(VersionCorrupt, match=r"manifest\.json is of 'v2'"):
        check(ModelStore(tmp_path, "toy"))


def test_a_later_format_is_refused_by_its_number(tmp_path: Path) -> None:
    path = made.publish(tmp_path, version="v1").folder / "manifest.json"
    raw = json.loads(path.read_bytes()) | {"format": 2}
    del raw["manifest_sha256"]
    checksum = hashlib.sha256(canonical_json(raw)).hexdigest()
    path.write_bytes(canonical_json(raw | {"manifest_sha256": checksum}))
    with pytest.raises(VersionCorrupt, match="has format 2; this program reads 1"):
        check(ModelStore(tmp_path, "toy"))


def test_a_damaged_version_is_listed_beside_the_whole_ones(tmp_path: Path) -> None:
    made.publish(tmp_path, version="v1")
    made.publish(tmp_path, version="v2").folder.joinpath("manifest.json").write_bytes(b"{")
    whole, damaged = ModelStore(tmp_path, "toy").versions()
    assert whole.name == "v1"
    assert isinstance(damaged, Damaged)
    assert damaged.name == "v2"
