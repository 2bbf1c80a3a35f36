import errno
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import pytest

from gnnrec_registry import ModelStore
from gnnrec_registry.errors import (
    CannotWrite,
    InvalidExport,
    InvalidName,
    NoSuchModel,
    NoSuchVersion,
    VersionExists,
)
from gnnrec_registry.files.arrays import Embeddings
from tests import made


def test_a_published_version_reads_back_as_it_was_given(tmp_path: Path) -> None:
    """Ids with spaces and in any script, arrays and titles read back as they were written."""
    users, items = made.embeddings(2, 3), made.embeddings(3, 3, seed=1)
    ids = ["plain", "two words", "Žluťoučký 猫 \u2028 line"]
    store = ModelStore(tmp_path, "toy")
    version = store.publish(
        made.export(users, items, [[2, 0], []], item_ids=ids, titles=["", "T", "t\tt"])
    )
    opened = store.open(version.name)
    np.testing.assert_array_equal(opened.embeddings("lightgcn")[0], users)
    np.testing.assert_array_equal(opened.embeddings("lightgcn")[1], items)
    assert opened.item_ids == ids
    assert opened.item_titles == ["", "T", "t\tt"]
    assert [array.tolist() for array in opened.seen] == [[0, 2, 2], [0, 2]]
    opened.verify()


def test_embeddings_are_mapped_and_read_only(tmp_path: Path) -> None:
    users, _ = made.publish(tmp_path).embeddings("lightgcn")
    assert isinstance(users, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        users[0, 0] = 1


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_embeddings_never_publish(tmp_path: Path, bad: float) -> None:
    """The error names the file and the row, and nothing is left behind."""
    items = made.embeddings(4, 3)
    items[2, 1] = bad
    with pytest.raises(InvalidExport, match=r"lightgcn/items\.npy: row 2 holds NaN"):
        ModelStore(tmp_path, "toy").publish(made.export(made.embeddings(2, 3), items))
    assert list((tmp_path / "toy" / "versions").iterdir()) == []


def wide(count: int) -> Embeddings:
    return made.embeddings(count, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"item_ids": ["a", "a", "b"]}, "an id stands twice"),
        ({"item_ids": ["a", "", "b"]}, "row 1: ''"),
        ({"item_ids": ["a", "x\ny", "b"]}, r"row 1: 'x\\ny'"),
        ({"item_ids": ["a", "\udc80", "b"]}, "not valid Unicode"),
        ({"item_ids": ["a", "b"]}, "do not fit"),
        ({"titles": ["one"]}, "1 titles for 3 items"),
        ({"seen": [[0]]}, "not a CSR matrix"),
    ],
)
def test_an_export_that_breaks_the_format_is_refused(
    tmp_path: Path, change: dict[str, list[str]], message: str
) -> None:
    with pytest.raises(InvalidExport, match=message):
        ModelStore(tmp_path, "toy").publish(made.export(wide(2), wide(3), **change))  # type: ignore[arg-type]
    assert not list(tmp_path.glob("toy/versions/*"))


def test_a_version_is_never_published_twice(tmp_path: Path) -> None:
    first = made.publish(tmp_path, version="v1")
    before = (first.folder / "manifest.json").read_bytes()
    with pytest.raises(VersionExists, match="'v1'"):
        made.publish(tmp_path, seed=5, version="v1")
    assert (first.folder / "manifest.json").read_bytes() == before


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a\\b", "a\nb", "x" * 129, "é", "-v"])
def test_unsafe_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidName):
        made.publish(tmp_path, version=name)
    with pytest.raises(InvalidName):
        ModelStore(tmp_path, "toy").open(name)


def test_default_names_say_when_and_sort_newest_first(tmp_path: Path) -> None:
    names = [made.publish(tmp_path, seed=seed).name for seed in range(3)]
    listed = [version.name for version in ModelStore(tmp_path, "toy").versions()]
    assert listed == names[::-1]


def test_equal_contents_published_at_once_are_versions_of_their_own(tmp_path: Path) -> None:
    names = [made.publish(tmp_path).name for _ in range(3)]
    assert len(set(names)) == 3
    assert len({name.partition("-")[2] for name in names}) == 1
    listed = [version.name for version in ModelStore(tmp_path, "toy").versions()]
    assert listed == names[::-1]


def test_missing_things_are_named(tmp_path: Path) -> None:
    with pytest.raises(NoSuchModel, match="no registry at"):
        ModelStore(tmp_path / "none", "toy").open("v1")
    made.publish(tmp_path)
    with pytest.raises(NoSuchModel, match="models there: toy"):
        ModelStore(tmp_path, "other").open("v1")
    with pytest.raises(NoSuchVersion, match="gnnrec versions --model toy"):
        ModelStore(tmp_path, "toy").open("v1")
    assert not (tmp_path / "none").exists()


def test_a_disk_error_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write fails with the error of a full disk."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(CannotWrite, match="No space left"):
        made.publish(tmp_path)
    assert list((tmp_path / "toy" / "versions").iterdir()) == []


def test_a_full_disk_is_said_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """On a file system of four megabytes, mounted for one process only."""
    alone = ["unshare", "--user", "--map-root-user", "--mount"]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], check=False).returncode:
        pytest.skip("no file system can be mounted here")
    run = subprocess.run(
        [*alone, sys.executable, "-m", "tests.registry.storage.filling", str(tmp_path)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    *refused, last = told["publish"]
    assert last == "published"
    assert len(refused) > 1
    for line in refused:
        assert line == (
            f"the version cannot be written to {tmp_path}/toy/versions: No space left on device; "
            "nothing of it is left there"
        )
    assert "No space left" in told["promote"]
    assert told["named"] == ["v1", "v1"]


def _publish_and_hang(root: Path, ready: Event) -> None:
    """Publish up to just before the rename, then wait to be killed."""

    def hang(*_: object) -> None:
        ready.set()
        signal.pause()

    os.rename = hang  # type: ignore[assignment]
    made.publish(root)


def test_a_killed_publisher_leaves_no_version_and_is_swept_up(tmp_path: Path) -> None:
    """SIGKILL before the rename: readers see nothing, the next publish removes the leftovers."""
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_publish_and_hang, args=(tmp_path, ready))
    process.start()
    assert ready.wait(60)
    store = ModelStore(tmp_path, "toy")
    made.publish(tmp_path, version="while-it-lives")
    assert len(list(store.layout.versions.glob(".staging-*"))) == 1, "a living one is left alone"
    process.kill()
    process.join()
    assert [version.name for version in store.versions()] == ["while-it-lives"]
    made.publish(tmp_path, version="after")
    assert sorted(path.name for path in store.layout.versions.iterdir()) == [
        "after",
        "while-it-lives",
    ]
