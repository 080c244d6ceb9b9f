"""The layout as a test: which package may know which, and only through its door."""

import ast
import sys
from pathlib import Path

import pytest

import flynn_aio

SRC = Path(flynn_aio.__file__).parent

MAY_IMPORT: dict[str, set[str]] = {
    "model": set(),
    "store": {"model"},
    "engine": {"model"},
    "logs": {"model", "engine"},
    "discoverd": {"model", "store"},
    "scheduler": {"model", "store", "engine", "discoverd"},
    "router": {"model", "store", "discoverd"},
    "providers": {"model", "discoverd"},
    "receive": {"model", "store", "engine"},
    "images": {"model", "store", "engine"},
    "controller": {"model", "store", "engine", "logs", "discoverd", "providers", "images"},
    "cli": {"model"},
}
COMMON = {"audit", "errors", "clock", "watch", "settings"}
THIRD_PARTY: dict[str, set[str]] = {
    "model": {"msgspec"},
    "store": {"msgspec", "sqlite_utils"},
    "engine": {"msgspec", "podman", "requests", "h11"},  # requests: the errors of podman come through it
    "logs": {"msgspec"},
    "discoverd": {"msgspec", "h11"},
    "scheduler": {"msgspec"},
    "router": {"msgspec", "h2", "hpack", "hyperframe"},
    "providers": {"msgspec", "h11"},
    "receive": {"msgspec", "yaml"},
    "images": set(),
    "controller": {"msgspec", "hypercorn", "h11"},
    "cli": set(),
}
"""Beside Trio and the standard library. Only shells name Trio; `model` and `cli` do without it, the latter
because its start-up time is a promise."""


def imported_names(path: Path) -> list[str]:
    """Return what a module imports, relative imports made absolute, wherever in the file they stand."""
    names = []
    module = ["flynn_aio", *path.relative_to(SRC).with_suffix("").parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.append(node.module or "")
        elif isinstance(node, ast.ImportFrom):
            package = module[: len(module) - node.level]
            if node.module:
                names.append(".".join([*package, node.module]))
            else:
                names += [".".join([*package, alias.name]) for alias in node.names]
    return names


def modules() -> list[Path]:
    return sorted(path for path in SRC.rglob("*.py") if path.relative_to(SRC).parts[0] in MAY_IMPORT)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SRC)))
def test_imports_follow_the_layout(path):
    package = path.relative_to(SRC).parts[0]
    for name in imported_names(path):
        top, *rest = name.split(".")
        if top != "flynn_aio" or not rest or rest[0] == package:
            continue
        other, *inside = rest
        assert other in MAY_IMPORT[package] | COMMON, f"{package} reaches into {other}"
        assert not inside, f"{package} goes past the door of {other}: {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SRC)))
def test_libraries_stay_where_they_belong(path):
    package = path.relative_to(SRC).parts[0]
    allowed = THIRD_PARTY[package] | {"trio", "flynn_aio"} | sys.stdlib_module_names
    foreign = {name.split(".")[0] for name in imported_names(path)} - allowed
    assert not foreign, f"{package} imports {sorted(foreign)}"


def test_nobody_imports_the_appliance():
    for path in sorted(SRC.rglob("*.py")):
        if path in {SRC / "up.py", SRC / "appliance.py"}:  # `up` is the process around it
            continue
        assert "flynn_aio.appliance" not in imported_names(path), path
