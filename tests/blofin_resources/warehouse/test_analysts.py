"""Ways into the warehouse from elsewhere, as docs/WAREHOUSE.md tells them."""

import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import duckdb
import polars as pl
import pytest
from support.warehouses import new_warehouse

from blofin_resources.warehouse import Warehouse
from blofin_resources.warehouse._place import Place, load_for

PAGE: Final = (Path(__file__).resolve().parents[3] / "docs" / "WAREHOUSE.md").read_text(encoding="utf-8")
PROGRAMS: Final = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
STATEMENTS: Final = re.findall(r"```\n(INSTALL.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def ranked(tmp_path: Path) -> Path:
    """Return the folder of a warehouse with one rank, which is open for writing meanwhile."""
    row = {"as_of": datetime(2026, 3, 1, tzinfo=UTC), "kind": "strategy", "rank": 1, "name": "first", "version": "v"}
    folder = tmp_path / "warehouse"
    with new_warehouse(folder) as store, store.transaction("r") as tx:
        tx.append("research.ranking_history", pl.DataFrame([{**row, "trades": 3, "status": "active"}]))
    return folder


@pytest.mark.parametrize("program", PROGRAMS, ids=["the platform's own", "DuckDB alone"])
def test_a_program_of_the_page_reads_it_beside_a_writer(program: str, ranked: Path) -> None:
    with Warehouse.open(ranked, market="sample", market_id="seed=7"):
        answer = subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, "BLOFIN_WAREHOUSE": str(ranked)}, cwd=ranked.parent,
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert "first" in answer.stdout


def test_the_statements_of_the_page_attach_it_and_cannot_write(ranked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ranked.parent)
    [text] = STATEMENTS
    with duckdb.connect() as connection:
        load_for(connection, Place.of(ranked, None))  # nothing is fetched in a test
        for statement in text.split(";"):
            if statement.strip() and not statement.strip().startswith(("INSTALL", "LOAD")):
                found = connection.execute(statement)
        assert found.fetchall()[0][:3] == ("strategy", 1, "first")
        with pytest.raises(duckdb.Error, match="read-only"):
            connection.execute("DELETE FROM research.ranking_history")
