import ast
from functools import cache
from pathlib import Path

import pytest

from tests.tracked import ROOT

# The rooms of each package, from those that import no other upwards, and what each may import.
REGISTRY = {
    "files": set(),
    "features": {"files"},
    "scoring": {"files"},
    "versions": {"files", "features", "scoring"},
    "aliases": {"files", "versions"},
    "storage": {"files", "versions", "aliases"},
    "remote": {"files", "versions", "aliases", "storage"},
    "pages": set(),
}
GNNREC = {
    "client": set(),
    "terminal": set(),
    "comparison": set(),
    "pages": {"comparison"},
    "training": {"terminal"},
    "cli": {"client", "terminal", "comparison", "pages", "training"},
}
PACKAGES = {ROOT / "registry" / "gnnrec_registry": REGISTRY, ROOT / "gnnrec": GNNREC}
ROOMS = [
    pytest.param(package, room, rooms[room], id=f"{package.name}.{room}")
    for package, rooms in PACKAGES.items()
    for room in rooms
]


@cache
def modules_imported(path: Path) -> set[str]:
    """Return the dotted names that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def rooms_imported(path: Path, package: Path) -> set[str]:
    """Return the modules and rooms at the top of the package that a file imports."""
    start = f"{package.name}."
    return {
        name.removeprefix(start).partition(".")[0]
        for name in modules_imported(path)
        if name.startswith(start)
    }


@pytest.mark.parametrize(("package", "room", "may_import"), ROOMS)
def test_imports_between_rooms_point_one_way(
    package: Path, room: str, may_import: set[str]
) -> None:
    modules = {path.stem for path in package.glob("*.py")} - {"errors", "__init__"}
    others = (modules | PACKAGES[package].keys()) - may_import - {room}
    for path in (package / room).rglob("*.py"):
        assert not rooms_imported(path, package) & others, path


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_every_room_is_known_and_says_what_it_is_for(package: Path) -> None:
    found = {path.parent.name: path for path in package.glob("*/__init__.py")}
    assert found.keys() == PACKAGES[package].keys()
    for path in found.values():
        assert ast.get_docstring(ast.parse(path.read_text())), path


def imports_module(path: Path, module: str) -> bool:
    """Tell whether a file imports a module, or a name from it."""
    return any(
        name == module or name.rpartition(".")[0] == module for name in modules_imported(path)
    )


def test_modules_of_a_registry_import_each_other_in_no_circle() -> None:
    root = ROOT / "registry"
    paths = {
        ".".join(path.relative_to(root).with_suffix("").parts): path
        for path in (root / "gnnrec_registry").rglob("*.py")
        if path.name != "__init__.py"
    }
    graph = {
        name: {module for module in paths if imports_module(path, module)} - {name}
        for name, path in paths.items()
    }
    while graph:
        leaves = {name for name, needed in graph.items() if not needed & graph.keys()}
        assert leaves, f"a circle of imports is among {sorted(graph)}"
        graph = {name: needed for name, needed in graph.items() if name not in leaves}
