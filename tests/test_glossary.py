"""GLOSSARY.md is up to date, and the words that it calls wrong are used nowhere, in prompts neither."""

import ast
import re
import runpy
from pathlib import Path
from typing import Final

import pytest

PROJECT: Final = Path(__file__).resolve().parents[1]
TEXT: Final = (PROJECT / "GLOSSARY.md").read_text(encoding="utf-8")
WORDS: Final = TEXT.split("\n## Plain English\n")[0]
PHRASES: Final = re.findall(r"`([^`]+)`", TEXT.split("\n## Plain English\n")[1].split("<!--")[0])
WRONG: Final = sorted(
    word.strip()
    for row in re.findall(r"^\|.*\|.*\|(.*)\|$", WORDS, re.MULTILINE)[2:]
    for word in row.split(",")
    if word.strip()
)
PROMPTS: Final = PROJECT / "strategies" / "llm" / "prompts"
PAGES: Final = sorted(
    {*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md"), *PROMPTS.glob("*.md")} - {PROJECT / "GLOSSARY.md"}
)
CODE: Final = re.compile(r"```.*?```|`[^`]*`|\]\([^)]*\)|<!--.*?-->", re.DOTALL)
PACKAGES: Final = (
    "features",
    "backtester",
    "strategies",
    "model_zoo",
    "calibration",
    "blofin_resources",
    "blofin_assets",
)


def prose(page: Path) -> str:
    return " ".join(CODE.sub(" ", page.read_text(encoding="utf-8")).split()).lower()


def parts(name: str) -> set[str]:
    """Return the words of an identifier or of a file's name."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def identifiers(path: Path) -> set[str]:
    names = {path.stem}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.Name):
            names.add(node.id)
    return names


def test_the_generated_part_is_up_to_date() -> None:
    module = runpy.run_path(str(PROJECT / "docs" / "glossary.py"))
    for page, made in ((PROJECT / "GLOSSARY.md", "generated"), (PROJECT / "docs" / "WAREHOUSE.md", "warehouse")):
        _, mark, below = page.read_text(encoding="utf-8").partition(module["MARK"])
        assert mark
        assert below == module[made](), "run: .venv/bin/python docs/glossary.py"


def test_the_words_are_sorted_and_each_is_defined_once() -> None:
    words = [row[0].strip().lower() for row in re.findall(r"^\| ([^|]+) \|([^|]+)\|[^|]*\|$", WORDS, re.MULTILINE)[2:]]
    assert len(words) > 40
    assert len(set(words)) == len(words)
    assert set(words) & set(WRONG) == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(PROJECT).as_posix())
def test_no_page_uses_a_wrong_word(page: Path) -> None:
    text = prose(page)
    assert [word for word in (*WRONG, *PHRASES) if re.search(rf"\b{re.escape(word)}\b", text)] == []


def test_no_name_of_the_code_is_a_wrong_word() -> None:
    banned = {word for word in WRONG if " " not in word}
    found = {
        f"{path.relative_to(PROJECT)}: {name}"
        for package in PACKAGES
        for path in (PROJECT / package).rglob("*.py")
        for name in identifiers(path)
        if parts(name) & banned
    }
    assert sorted(found) == []
