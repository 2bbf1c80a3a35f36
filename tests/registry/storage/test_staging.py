"""Publishers, prunes and readers of one folder at the same time."""

import fcntl
import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import pytest

from gnnrec_registry import Damaged, ModelStore
from gnnrec_registry.errors import NoSuchVersion, RegistryError
from gnnrec_registry.storage.local import LocalStorage
from gnnrec_registry.storage.staging import locked_folder, sweep_folders
from tests import made

Work = Callable[[Path, int], None]


def stage(root: Path, _: int) -> None:
    """Make a staging folder and write into it, as a publisher does."""
    with LocalStorage(root, "toy").staging() as folder:
        (folder / "file").write_text("")


def sweep(root: Path, _: int) -> None:
    LocalStorage(root, "toy").sweep()


def publish(root: Path, number: int) -> None:
    made.publish(root, version=f"{os.getpid()}-{number}", seed=number)


def prune(root: Path, _: int) -> None:
    ModelStore(root, "toy").prune(3)


def list_versions(root: Path, _: int) -> None:
    for version in ModelStore(root, "toy").versions():
        assert not isinstance(version, Damaged), version


def verify(root: Path, _: int) -> None:
    """Verify every version that can be opened: it is whole, or deleted meanwhile."""
    store = ModelStore(root, "toy")
    for name in store.layout.version_names():
        try:
            store.open(name).verify()
        except NoSuchVersion:
            continue


def repeat(work: Work, root: Path, rounds: int, problems: "Queue[list[str]]") -> None:
    found = []
    for number in range(rounds):
        try:
            work(root, number)
        except (RegistryError, OSError, AssertionError) as error:
            found.append(f"{work.__name__}: {type(error).__name__}: {error}")
    problems.put(found)


def at_once(root: Path, *works: tuple[Work, int]) -> list[str]:
    """Run each function repeatedly in its own process; return the errors."""
    context = multiprocessing.get_context("spawn")
    problems: Queue[list[str]] = context.Queue()
    processes = [
        context.Process(target=repeat, args=(work, root, rounds, problems))
        for work, rounds in works
    ]
    for process in processes:
        process.start()
    found = [problem for _ in processes for problem in problems.get(timeout=120)]
    for process in processes:
        process.join()
    return found


def test_publishers_and_prunes_never_sweep_each_others_folders(in_memory: Path) -> None:
    (in_memory / "toy" / "versions").mkdir(parents=True)
    assert at_once(in_memory, (stage, 400), (stage, 400), (stage, 400), (sweep, 400)) == []
    assert list((in_memory / "toy" / "versions").iterdir()) == []


def test_a_folder_is_read_while_it_is_published_to_and_pruned(in_memory: Path) -> None:
    for number in range(4):
        made.publish(in_memory, version=f"v{number}", seed=number)
    ModelStore(in_memory, "toy").aliases.promote("v0", alias="production")
    found = at_once(
        in_memory, (publish, 15), (prune, 40), (prune, 40), (list_versions, 40), (verify, 15)
    )
    # a prune may delete a version right after its publish, which raises NoSuchVersion
    assert [problem for problem in found if "NoSuchVersion" not in problem] == []
    ModelStore(in_memory, "toy").open("v0").verify()


@pytest.mark.parametrize("before", ["open", "flock"])
def test_a_folder_swept_before_it_is_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    """The folder is swept right after it is made, or right before it is locked."""
    module = os if before == "open" else fcntl
    real = getattr(module, before)
    swept: list[Path] = []

    def sweep_first(*arguments: Any, **options: Any) -> Any:
        if not swept:
            swept.extend(tmp_path.iterdir())
            sweep_folders(tmp_path)
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(module, before, sweep_first)
        with locked_folder(tmp_path) as folder:
            assert len(swept) == 1
            assert folder not in swept
            sweep_folders(tmp_path)
            (folder / "file").write_text("mine")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_folder_of_a_publisher_stops_no_sweep(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".staging-a")
    (tmp_path / ".staging-b").write_text("")
    (tmp_path / "kept").mkdir()
    (tmp_path / ".staging-c").symlink_to(tmp_path / "kept")
    (tmp_path / ".staging-d").mkdir()
    sweep_folders(tmp_path)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [".staging-a", ".staging-b", ".staging-c", "kept"]


def test_a_version_deleted_by_hand_stops_no_prune(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        made.publish(tmp_path, version=name)
    store = ModelStore(tmp_path, "toy")
    real = os.rename

    def delete_first(source: Path, to: Path) -> None:
        if Path(source).name == "b":
            real(source, tmp_path / "away")
        real(source, to)

    monkeypatch.setattr(os, "rename", delete_first)
    assert store.prune(1) == ["a"]
    assert store.layout.version_names() == ["c"]
