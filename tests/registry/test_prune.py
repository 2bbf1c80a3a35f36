from pathlib import Path

from gnnrec_registry import ModelStore
from tests import made


def test_prune_keeps_the_newest_the_named_and_what_a_rollback_needs(tmp_path: Path) -> None:
    store = ModelStore(tmp_path, "toy")
    for name in "abcdef":
        made.publish(tmp_path, version=name)
    store.aliases.promote("a", alias="production")
    store.aliases.promote("b", alias="production")
    store.aliases.promote("c", alias="canary")
    assert store.prune(1, dry_run=True) == ["e", "d"]
    assert len(store.versions()) == 6
    assert store.prune(1) == ["e", "d"]
    assert [version.name for version in store.versions()] == ["f", "c", "b", "a"]
    assert store.aliases.rollback(alias="production").version == "a"
    assert sorted(path.name for path in store.layout.versions.iterdir()) == ["a", "b", "c", "f"]


def test_a_mapped_array_outlives_its_version(tmp_path: Path) -> None:
    """So a server may go on answering from a version that was pruned."""
    version = made.publish(tmp_path)
    users, _ = version.embeddings("lightgcn")
    before = users.tolist()
    assert ModelStore(tmp_path, "toy").prune(0) == [version.name]
    assert users.tolist() == before
