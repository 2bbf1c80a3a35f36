from collections.abc import Callable
from pathlib import Path

import pytest

from gnnrec_server.errors import CannotStart
from gnnrec_server.process.files import WatchedFiles


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / name for name in ("cert", "key")]
    for path in paths:
        path.write_text("1")
    return paths


def pair(files: list[Path]) -> Callable[[], list[str]]:
    return lambda: [path.read_text() for path in files]


def test_files_are_read_again_when_one_of_them_changes(files: list[Path]) -> None:
    held = WatchedFiles("it", files, pair(files))
    assert held.value == ["1", "1"]
    files[1].write_text("22")
    held.look()
    assert held.value == ["1", "22"]


def test_files_that_do_not_change_are_not_read(files: list[Path]) -> None:
    reads: list[int] = []
    held = WatchedFiles("it", files, lambda: reads.append(1))
    held.look()
    held.look()
    assert len(reads) == 1


def test_files_that_only_became_readable_are_read(files: list[Path]) -> None:
    """Only the permissions have changed since they could not be read."""
    is_readable = True

    def read() -> list[str]:
        if not is_readable:
            raise CannotStart("permission denied")
        return pair(files)()

    held = WatchedFiles("it", files, read)
    files[0].write_text("new")
    is_readable = False
    held.look()
    assert held.value == ["1", "1"]
    is_readable = True
    files[0].chmod(0o600)
    held.look()
    assert held.value == ["new", "1"]


def test_a_file_that_is_replaced_while_it_is_read_is_not_taken_half_new(files: list[Path]) -> None:
    """The key came after the certificate was read: both are read again at the next look."""
    held = WatchedFiles("it", files, pair(files))
    late = True

    def read() -> list[str]:
        nonlocal late
        found = [files[0].read_text()]
        if late:
            files[0].write_text("new")
            files[1].write_text("new")
            late = False
        return [*found, files[1].read_text()]

    held._read = read
    files[1].write_text("22")
    held.look()
    assert held.value == ["1", "1"], "old certificate and new key do not fit"
    held.look()
    assert held.value == ["new", "new"]


def test_files_that_cannot_be_used_leave_what_was_read_until_they_change(
    files: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    def read() -> list[str]:
        if files[0].read_text() == "bad":
            raise CannotStart("it is bad")
        return pair(files)()

    held = WatchedFiles("it", files, read)
    files[0].write_text("bad")
    held.look()
    held.look()
    assert held.value == ["1", "1"]
    assert [each for each in caplog.messages if "it is bad" in each] == [
        "the new it cannot be used, the old stay: it is bad"
    ]
    files[0].write_text("good")
    held.look()
    assert held.value == ["good", "1"]
