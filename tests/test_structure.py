"""The house: layers that hold, no circle, no name that stands for two things."""

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

PACKAGE = Path(__file__).parents[1] / "batchlinks"
MODULES = sorted(PACKAGE.rglob("*.py"))


def test_imports_go_down_the_layers_only() -> None:
    """`[tool.importlinter]` in pyproject.toml: layers, and only one package each that knows SQL, HTTP, Dask, fsspec."""
    lint = Path(sys.executable).with_name("lint-imports")

    ended = subprocess.run([lint, "--no-cache"], capture_output=True, text=True, check=False, cwd=PACKAGE.parent)

    assert ended.returncode == 0, ended.stdout[-4000:]


def test_no_file_imports_itself_by_way_of_others() -> None:
    """Imports inside functions and for the type checker included."""
    graph = grimp.build_graph("batchlinks")

    circles = [
        sorted((file, imported))
        for file in graph.modules
        for imported in graph.find_modules_directly_imported_by(file)
        if graph.chain_exists(importer=imported, imported=file)
    ]

    assert circles == []


def test_every_room_stands_in_the_layers() -> None:
    contract = (PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8")

    missing = [name for name in _rooms() if f"batchlinks.{name}" not in contract]

    assert missing == []


def test_nobody_inside_goes_through_the_front_door() -> None:
    offenders = [
        path.name
        for path in MODULES
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.ImportFrom) and node.module == "batchlinks" and not _names_rooms(node)
    ]

    assert offenders == []


@pytest.mark.parametrize("kind", ["file", "class"])
def test_no_name_stands_for_two_things(kind: str) -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for path in MODULES:
        where = str(path.relative_to(PACKAGE))
        for name in [path.name] if kind == "file" else _classes(path):
            homes[name.lstrip("_")].append(where)
    homes.pop("__init__.py", None)
    homes.pop("init__.py", None)

    twice = {name: places for name, places in homes.items() if len(places) > 1}

    assert twice == {}


def _rooms() -> Iterator[str]:
    for path in PACKAGE.iterdir():
        if path.is_dir() and (path / "__init__.py").exists():
            yield path.name
        elif path.suffix == ".py" and not path.name.startswith("__init__"):
            yield path.stem


def _names_rooms(node: ast.ImportFrom) -> bool:
    rooms = set(_rooms())
    return all(alias.name in rooms for alias in node.names)


def _classes(path: Path) -> list[str]:
    return [node.name for node in _tree(path).body if isinstance(node, ast.ClassDef)]


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))
