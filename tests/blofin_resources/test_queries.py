"""Queries: one of more than two lines is a file, and each file is asked by the room that it is named after."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from blofin_resources.queries import query

PROJECT = Path(__file__).resolve().parents[2]
PACKAGES = ("backtester", "blofin_assets", "blofin_resources", "calibration", "features", "model_zoo", "strategies")
BEGINS = re.compile(r"\s*(SELECT|WITH|INSERT|DELETE|UPDATE)\b")
MOST_LINES = 2

MODULES = [path for package in PACKAGES for path in sorted((PROJECT / package).rglob("*.py"))]
FILES = sorted((PROJECT / "warehouse" / "queries").rglob("*.sql"))


def long_sql(source: str) -> Iterator[int]:
    """Yield the first line of each string that holds a query of more than two lines."""
    tree = ast.parse(source)
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        first = node.values[0] if isinstance(node, ast.JoinedStr) and node.values else node
        if id(node) in parts or not isinstance(node, ast.Constant | ast.JoinedStr):
            continue
        text = first.value if isinstance(first, ast.Constant) else None
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        if isinstance(text, str) and BEGINS.match(text) and lines > MOST_LINES:
            yield node.lineno


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('A = "SELECT 1"', []),
        ('A = (\n    "SELECT a "\n    "FROM b"\n)', []),
        ('A = (\n    "SELECT a "\n    "FROM b "\n    "WHERE c"\n)', [2]),
        ('A = (\n    f"SELECT {a} "\n    f"FROM {b} "\n    "WHERE c"\n)', [2]),
        ('A = """\nWITH a AS (SELECT 1)\nSELECT * FROM a"""', [1]),
        ('A = """Select who is asked.\n\nAnd more.\n"""', []),
    ],
)
def test_the_search_finds_long_queries(source: str, found: list[int]) -> None:
    assert list(long_sql(source)) == found


def test_no_module_holds_a_query_of_more_than_two_lines() -> None:
    assert len(MODULES) > len(PACKAGES)
    found = [
        f"{path.relative_to(PROJECT)}:{line}" for path in MODULES for line in long_sql(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def asked(path: Path) -> list[re.Pattern[str]]:
    """Return the names of queries that a module asks for; a placeholder of an f-string is any name."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "query":
            name = node.args[0]
            parts = name.values if isinstance(name, ast.JoinedStr) else [name]
            texts = (re.escape(str(part.value)) if isinstance(part, ast.Constant) else r"\w+" for part in parts)
            names.append(re.compile("".join(texts)))
    return names


def test_each_file_is_asked_by_the_room_that_it_is_named_after_and_says_what_it_answers() -> None:
    assert FILES
    names = [(path.relative_to(PROJECT).parts[1].removesuffix(".py"), name) for path in MODULES for name in asked(path)]
    for path in FILES:
        room, full = path.parent.name, f"{path.parent.name}/{path.stem}"
        assert any(asks == room and name.fullmatch(full) for asks, name in names), path
        assert path.read_text(encoding="utf-8").startswith("-- "), path


def test_a_query_is_the_text_of_its_file() -> None:
    for path in FILES:
        assert query(f"{path.parent.name}/{path.stem}") == path.read_text(encoding="utf-8")
    with pytest.raises(FileNotFoundError):
        query("warehouse/absent")
