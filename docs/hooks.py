"""Hooks of the documentation site: pages that are made, and the menu.

Belongs here: what `mkdocs.yml` cannot say. Pages of the repository's root are read from there, so that GitHub and the
site show one text; the reference has a page for each folder of the packages.
"""

import posixpath
import re
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT: Final = Path(__file__).resolve().parents[1]
ROOT_PAGES: Final = ("ARCHITECTURE.md", "GLOSSARY.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
PACKAGES: Final = ("features", "backtester", "strategies", "model_zoo", "blofin_resources", "blofin_assets")
LINK: Final = re.compile(r"\[([^\]]*)\]\(([^)\s#]+)(#[^)]*)?\)")


def on_config(config: MkDocsConfig) -> None:
    """Set the menu: pages by folder, in the order of their names."""

    def pages(folder: str) -> list[str]:
        return sorted(
            path.relative_to(config.docs_dir).as_posix() for path in Path(config.docs_dir, folder).glob("*.md")
        )

    measured = [name for name in ("BENCHMARKS.md",) if Path(config.docs_dir, name).exists()]  # `make bench` writes it
    config.nav = [
        "index.md",
        "how_it_works.md",
        {"Tutorials": pages("tutorials")},
        {"Guides": pages("guides")},
        {"Extending": pages("extending")},
        {"Reference": ["reference/index.md", "WAREHOUSE.md", *measured, *(f"reference/{room}.md" for room in rooms())]},
        {"Project": [page for page in ROOT_PAGES if (ROOT / page).exists()]},
    ]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the root and of the reference."""
    for page in ROOT_PAGES:
        if (ROOT / page).exists():
            files.append(File.generated(config, page, content=(ROOT / page).read_text(encoding="utf-8")))
    for room, modules in rooms().items():
        text = "\n\n".join([f"# {room}", *(f"::: {module}" for module in modules)])
        files.append(File.generated(config, f"reference/{room}.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead links between root and `docs` to where the site has the page; name files that it does not have."""
    uri = page.file.src_uri
    at_root = uri in ROOT_PAGES

    def moved(link: re.Match[str]) -> str:
        text, path, anchor = link.group(1), link.group(2), link.group(3) or ""
        if ":" in path:
            return link.group(0)
        target = posixpath.normpath(posixpath.join("" if at_root else f"docs/{posixpath.dirname(uri)}", path))
        inside = target.removeprefix("docs/")
        if inside == target and target not in ROOT_PAGES:
            return text if target in text else f"{text} (`{target}`)"
        return f"[{text}]({posixpath.relpath(inside, posixpath.dirname(uri) or '.')}{anchor})"

    return LINK.sub(moved, markdown)


def rooms() -> dict[str, list[str]]:
    """Return the public modules of every folder of the packages, by the folder's dotted name."""
    found: dict[str, list[str]] = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if "library" in parts[:2] and parts[0] == "strategies":
                continue  # a strategy is read as its file
            if path.name == "__init__.py":
                found.setdefault(".".join(parts[:-1]), []).insert(0, ".".join(parts[:-1]))
            elif not path.name.startswith("_"):
                found.setdefault(".".join(parts[:-1]), []).append(".".join(parts))
    return dict(sorted(found.items()))
