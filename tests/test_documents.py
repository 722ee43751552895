"""What the documents name exists: paths, file names, dotted modules, links, anchors."""

import re
from importlib import import_module
from pathlib import Path
from typing import Final

import pytest

from blofin_resources.warehouse.description import table_columns

PROJECT: Final = Path(__file__).resolve().parents[1]
PACKAGES: Final = (
    "features",
    "backtester",
    "strategies",
    "model_zoo",
    "calibration",
    "blofin_resources",
    "blofin_assets",
)
FOLDERS: Final = (
    *PACKAGES, "benchmarks", "deploy", "docs", "examples", "notebooks", "tests", "warehouse", ".github", ".ci",
)  # fmt: skip
PAGES: Final = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", ".github/**/*.md", *(f"{folder}/**/*.md" for folder in PACKAGES))
    for page in PROJECT.glob(pattern)
)
SOURCES: Final = sorted(page for folder in PACKAGES for page in (PROJECT / folder).rglob("*.py"))

MADE_LATER: Final = re.compile(r"warehouse/(data|models|reports|\.dagster|catalog\.sqlite|NNN)|warehouse/schema/NNN")
"""What a pass writes, and names that stand for one of many."""

OF_READERS: Final = frozenset({"band_fade.py", "my_feature.py", "my_features.py"})
"""Files that a page asks its reader to write."""

OF_THE_TOY: Final = frozenset({"blofin_resources.market.toy"})
"""Modules that the pages on extending write as an example."""

PATH: Final = re.compile(rf"(?<![\w/.-])(?:{'|'.join(map(re.escape, FOLDERS))})/[\w*./{{}},-]*")
FILE: Final = re.compile(r"(?<![\w/.*<-])[\w-]+\.(?:py|sql|j2|md|toml|service|example|ya?ml)\b(?!/)")
DOTTED: Final = re.compile(rf"(?<![\w/.-])(?:{'|'.join(PACKAGES)})(?:\.[A-Za-z_]\w*)+")
LINK: Final = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
CODE: Final = re.compile(r"```.*?```|`[^`]+`", re.DOTALL)
FENCE: Final = re.compile(r"^ *(`{3,})(.*?)^ *\1", re.MULTILINE | re.DOTALL)


def name_of(page: Path) -> str:
    return page.relative_to(PROJECT).as_posix()


def alternatives(path: str) -> list[str]:
    """Return `a/{b,c}.md` as `a/b.md` and `a/c.md`."""
    found = re.search(r"\{([^}]*)\}", path)
    if found is None:
        return [path]
    return [
        end for part in found.group(1).split(",") for end in alternatives(path.replace(found.group(0), part.strip(), 1))
    ]


def exists(path: str) -> bool:
    query = PROJECT / "warehouse" / "queries" / f"{path}.sql"
    return bool(MADE_LATER.match(path)) or query.is_file() or any(True for _ in PROJECT.glob(path.rstrip("/.")))


def resolves(name: str) -> bool:
    """Tell whether a dotted name is a module, something in one, or a table."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            thing = import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            if not hasattr(thing, part):
                return is_table(parts)
            thing = getattr(thing, part)
        return True
    return False


def is_table(parts: list[str]) -> bool:
    try:
        return bool(table_columns(".".join(parts[:2])))
    except LookupError:
        return parts[0] == "features" and bool(re.fullmatch(r"features_(1m|5m|60m)", parts[1]))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_path_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = {end for path in PATH.findall(text) for end in alternatives(path)}
    assert sorted(path for path in named if not exists(path)) == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_file_that_a_page_names_alone_exists(page: Path) -> None:
    files = {path.name for folder in FOLDERS for path in (PROJECT / folder).rglob("*")}
    files |= {path.name for path in PROJECT.iterdir()} | {"config.json", "metadata.json"} | OF_READERS
    named = {name for code in CODE.findall(page.read_text(encoding="utf-8")) for name in FILE.findall(code)}
    assert sorted(named - files) == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_module_that_a_page_names_exists(page: Path) -> None:
    named = set(DOTTED.findall(page.read_text(encoding="utf-8"))) - OF_THE_TOY
    endings = (".py", ".md", ".sql")
    assert sorted(name for name in named if not name.endswith(endings) and not resolves(name)) == []


@pytest.mark.parametrize("source", SOURCES, ids=name_of)
def test_each_path_and_module_that_the_code_names_exists(source: Path) -> None:
    text = source.read_text(encoding="utf-8")
    quoted = re.findall(r"`[^`\n]+`", text)  # in docstrings and comments
    modules = {name for code in quoted for name in DOTTED.findall(code) if not name.endswith("_")}
    paths = {end for path in PATH.findall(text) for end in alternatives(path.rstrip(","))}
    endings = (".py", ".md", ".sql", ".html")
    lost = [name for name in modules if not name.endswith(endings) and not resolves(name)]
    assert sorted([*lost, *(path for path in paths if not exists(path))]) == []


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ +(.+?)\s*$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", heading.lower().strip())) for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_link_inside_the_repository_leads_somewhere(page: Path) -> None:
    lost = []
    for link in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []


def test_the_pages_are_those_of_the_repository() -> None:
    names = {name_of(page) for page in PAGES}
    assert {"README.md", "SECURITY.md", "strategies/llm/prompts/design.md", ".github/pull_request_template.md"} <= names
    assert len(names) > 20
