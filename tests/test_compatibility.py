"""`docs/compatibility.md` names tests and recorded flows that exist, and leaves nothing open."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "compatibility.md").read_text()
NAMED = re.compile(r"`([\w./-]+\.py)::(\w+)`")
FLOW = re.compile(r"`(compat/flows/[\w-]+\.json)`")
EXCUSE = re.compile(r"^(Partly|Does not apply|Later): ?\S.{15,}")


@cache
def defined_in(path: str) -> set[str]:
    """Return the names of a file's tests; none when there is no such file."""
    file = TESTS / path
    if not file.exists():
        return set()
    found = ast.walk(ast.parse(file.read_text()))
    return {node.name for node in found if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def rows(section: str) -> list[list[str]]:
    """Return the cells of every row of a section's table, without its head."""
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def upstream() -> list[tuple[str, int, list[list[str]]]]:
    """Return the sections that list upstream's tests: title, announced number, rows."""
    found = re.findall(r"^#{2,3} ([^\n]+?) \((\d+) tests\)\n(.*?)(?=^#)", PAGE, re.DOTALL | re.MULTILINE)
    return [(title, int(number), rows(text)) for title, number, text in found]


def test_every_named_test_exists():
    named = NAMED.findall(PAGE)
    assert len(named) > 200
    assert [f"{path}::{name}" for path, name in named if name not in defined_in(path)] == []


def test_every_flow_is_there_and_named():
    named = set(FLOW.findall(PAGE))
    assert named == {f"compat/flows/{path.name}" for path in (TESTS / "compat" / "flows").glob("*.json")}


def test_the_defined_in_upstream_are_all_there():
    sections = upstream()
    assert [title for title, _, _ in sections] == [
        "CLI",
        "Controller",
        "Deployer, scheduler",
        "Builds",
        "Health checks, host, volumes",
        "Databases, cluster, rest",
        "B. Upstream's controller unit tests",
        "C. Upstream's scheduler unit tests",
        "F. Upstream's host unit tests",
    ]
    for title, number, found in sections:
        names = [name for name, _ in found]
        assert (title, len(names), len(set(names))) == (title, number, number)


@pytest.mark.parametrize("row", [row for _, _, found in upstream() for row in found], ids=lambda row: row[0])
def test_a_row_has_a_proof_or_a_reason(row):
    name, here = row
    assert re.search(r"Test\w+|routes: \w+|gRPC: \w+|data( migrations)?: \w+", name), name
    assert NAMED.search(here) or FLOW.search(here) or EXCUSE.match(here), f"{name}: {here!r} proves nothing"
    if here.startswith("Partly"):
        assert NAMED.search(here), f"{name}: which part?"


def test_no_cell_is_empty():
    cells = [rows(section) for section in re.split(r"^#+ .*$", PAGE, flags=re.MULTILINE)]
    assert [row for table in cells for row in table if len(row) != 2 or not all(row)] == []
