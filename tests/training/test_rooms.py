import ast
from pathlib import Path

import pytest

import gnnrec_training

ROOT = Path(gnnrec_training.__file__).parent

# A room may import those before it, but not beside it: what each one names is all it may import.
MAY = {
    "config": set(),
    "data": {"config"},
    "graph": {"config", "data"},
    "models": {"config", "data", "graph"},
    "losses": {"graph"},
    "evaluation": {"config", "data", "graph", "models"},
    "fitting": {"config", "data", "graph", "models", "losses", "evaluation"},
    "report": {"config", "data", "graph", "evaluation"},
    "export": {"config", "data", "graph", "models", "evaluation", "fitting", "report"},
    "search": {
        "config",
        "data",
        "graph",
        "models",
        "losses",
        "evaluation",
        "fitting",
        "report",
        "export",
    },
}


def rooms_imported(path: Path) -> set[str]:
    """Return the rooms that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    parts = [name.split(".") for name in names if name.startswith("gnnrec_training.")]
    return {part[1] for part in parts} & set(MAY)


def test_every_room_is_known_and_says_what_it_is_for() -> None:
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} == set(MAY)
    for room in MAY:
        assert ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text())), room


@pytest.mark.parametrize("room", MAY)
def test_imports_between_rooms_point_one_way(room: str) -> None:
    for path in (ROOT / room).rglob("*.py"):
        assert rooms_imported(path) <= MAY[room] | {room}, path


@pytest.mark.parametrize("module", ["errors", "reporter", "seeds"])
def test_what_every_room_may_import_imports_no_room(module: str) -> None:
    assert not rooms_imported(ROOT / f"{module}.py")
