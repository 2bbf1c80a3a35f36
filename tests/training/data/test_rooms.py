"""The rooms of data/ import each other in one direction, so that each can be read by itself."""

import ast

import pytest

from tests.tracked import ROOT, tracked

DATA = ROOT / "training/gnnrec_training/data"

# What each room may import of data/; "" is data/ itself.
MAY: dict[str, set[str]] = {
    "tables": set(),
    "samples": set(),
    "reading": {"tables"},
    "": {"reading", "tables"},
    "discovery": {"", "reading", "tables"},
}


@pytest.mark.parametrize("room", MAY)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    files = [path for path in tracked(f"{DATA.relative_to(ROOT)}/*.py")]
    rooms = {path.parent.relative_to(DATA).as_posix().removeprefix(".") for path in files}
    assert rooms == set(MAY)
    for path in files:
        if path.parent == DATA / room:
            for node in ast.walk(ast.parse(path.read_text())):
                module = getattr(node, "module", None) or ""
                if module.startswith("gnnrec_training.data"):
                    first = f"{module}.".split(".")[2]
                    imported = first if (DATA / first).is_dir() else ""
                    assert imported in MAY[room] | {room}, f"{path} imports {module}"
