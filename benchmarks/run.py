"""Every benchmark, one table: `make bench` prints it and writes docs/BENCHMARKS.md.

Belongs here: running `bench_*.py`, each in a process of its own, and the table of their rows with machine and versions.
Does not belong here: measuring. ``python benchmarks/run.py features books`` runs some alone and writes no page.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parent
PAGE: Final = HERE.parent / "docs" / "BENCHMARKS.md"
NAMED: Final = ("polars", "numpy", "numba", "duckdb", "dagster", "lightgbm", "torch")
"""Libraries on which the figures depend."""
PEERS: Final = ("vectorbt", "TA-Lib", "pandas", "ta", "scipy")
"""Programs that are compared, where they are installed or on PYTHONPATH."""

INTRODUCTION: Final = """# Benchmarks

Written by `make bench`: do not edit. Figures are of one machine; ratios to a peer, measured in the same run on the same
data, hold elsewhere, too. A ratio of 5 says that the peer took five times as long. How each is measured stands at the
top of its file in `benchmarks/`.

Peers are no dependencies. To compare with them, put them elsewhere on the path:
`pip install --target peers vectorbt==1.2.0 pandas ta` and `PYTHONPATH=peers make bench`.
"""


def rows_of(script: Path) -> list[dict[str, Any]]:
    """Run one benchmark, its own lines going to the terminal, and return its rows; a failure is a row as well."""
    print(f"== {script.name}", flush=True)
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
        began = time.perf_counter()
        done = subprocess.run(  # noqa: S603 - our own script
            [sys.executable, str(script)], env={**os.environ, "BENCH_ROWS": file.name}, check=False
        )
        took = time.perf_counter() - began
        rows = [json.loads(line) for line in Path(file.name).read_text(encoding="utf-8").splitlines()]
    if done.returncode:
        rows.append({"name": f"{script.name} failed: exit code {done.returncode}", "figure": took, "unit": "s"})
    return [{"script": script.stem.removeprefix("bench_"), **row} for row in rows]


def shown(figure: float) -> str:
    """Return a figure with four digits, a large one in full."""
    return f"{figure:,.0f}" if abs(figure) >= 10_000 else f"{figure:.4g}"  # noqa: PLR2004 - more digits than four


def table(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return rows as text: benchmark, what, figure, held against, peer, ratio."""
    return [
        [
            row["script"], row["name"], f"{shown(row['figure'])} {row['unit']}".strip(), row.get("limit") or "",
            row.get("peer") or "", "" if row.get("ratio") is None else f"{row['ratio']:,.3g}",
        ]
        for row in rows
    ]  # fmt: skip


HEAD: Final = ("benchmark", "what", "figure", "held against", "peer", "ratio")


def machine() -> str:
    """Return processor, cores, memory and system in a line."""
    described = Path("/proc/cpuinfo")
    lines = described.read_text(encoding="utf-8").splitlines() if described.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return (
        f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, {memory:.0f} GB, {platform.system()}"
    )


def versions(names: Sequence[str]) -> str:
    """Return libraries with their versions; those that are absent are said to be."""
    told = []
    for name in names:
        try:
            told.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            told.append(f"{name} (not installed)")
    return ", ".join(told)


def page(rows: Sequence[Mapping[str, Any]], day: datetime) -> str:
    """Return the page: introduction, machine, versions, table."""
    cells = [[cell.replace("|", "\\|") for cell in each] for each in table(rows)]
    body = "\n".join("| " + " | ".join(each) + " |" for each in [list(HEAD), ["---"] * len(HEAD), *cells])
    return (
        f"{INTRODUCTION}\n{day:%Y-%m-%d} on {machine()}; Python {platform.python_version()}, {versions(NAMED)}. Peers: "
        f"{versions(PEERS)}.\n\n{body}\n"
    )


def main() -> None:
    chosen = [HERE / f"bench_{name}.py" for name in sys.argv[1:]] or sorted(HERE.glob("bench_*.py"))
    lacking = [path.stem.removeprefix("bench_") for path in chosen if not path.exists()]
    if lacking:
        there = ", ".join(path.stem.removeprefix("bench_") for path in sorted(HERE.glob("bench_*.py")))
        sys.exit(f"no benchmark {lacking[0]}; there are {there}")
    rows = [row for script in chosen for row in rows_of(script)]
    shown = [list(HEAD), *table(rows)]
    widths = [max(len(row[place]) for row in shown) for place in range(len(HEAD))]
    for row in shown:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if not sys.argv[1:]:
        PAGE.write_text(page(rows, datetime.now(UTC)), encoding="utf-8")
        print(f"page: {PAGE}")
    sys.exit(any("failed: exit code" in row["name"] for row in rows))


if __name__ == "__main__":
    main()
