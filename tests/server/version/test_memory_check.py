from pathlib import Path

import pytest

from gnnrec_registry import ModelStore
from gnnrec_server.errors import UnservableVersion
from gnnrec_server.index.approximate import IndexPlan
from gnnrec_server.version import loader, memory_check
from tests import made


def test_a_version_that_does_not_fit_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = made.publish(tmp_path, version="v1")
    (version.folder / "lightgcn" / "items.npy").write_bytes(b"")  # reading would say it is damaged
    monkeypatch.setattr(memory_check, "available", lambda: 100)
    with pytest.raises(UnservableVersion, match=r"needs about 0 MiB of memory, and 0 MiB are free"):
        loader.load(version)


def test_what_an_index_adds_is_counted(tmp_path: Path) -> None:
    version = made.publish(tmp_path, version="v1")
    assert memory_check.needed(version, IndexPlan("flat")) >= (30 + 5) * 4 * 4
    plan = IndexPlan("ivf")
    assert plan.extra_bytes(1_000_000, 64) == 72_000_000
    assert plan.extra_bytes(999, 64) == 0


def test_what_a_search_takes_while_it_is_made_is_counted(tmp_path: Path) -> None:
    """A look at a million items needs a number for each, and for each of several queries."""
    few = made.export(made.embeddings(3, 4), made.embeddings(9, 4))
    many = made.export(made.embeddings(3, 4), made.embeddings(20_000, 4))
    store = ModelStore(tmp_path, "toy")
    small, large = store.publish(few, version="v1"), store.publish(many, version="v2")
    files = sum(entry.size for entry in large.manifest.files.values())
    assert memory_check.needed(small, IndexPlan("flat")) < 1 << 20
    assert memory_check.needed(large, IndexPlan("flat")) > files + 100 * 20_000


def test_the_limit_of_a_container_counts_without_its_pages_of_files(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9 kB\nMemAvailable:       2000 kB\n")
    assert memory_check.available(tmp_path) == 2000 * 1024
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("max\n")
    assert memory_check.available(tmp_path) == 2000 * 1024
    (group / "memory.max").write_text("1000000\n")
    (group / "memory.current").write_text("700000\n")
    (group / "memory.stat").write_text("anon 400000\nfile 300000\n")
    assert memory_check.available(tmp_path) == 600_000
    assert memory_check.available(tmp_path / "nowhere") is None
