"""`blofin sql`: what it cannot show is told in a line, and the prompt goes on."""

import io
from pathlib import Path

import pytest

from blofin_assets.cli.sql import run_sql
from blofin_resources.warehouse import Warehouse

ANSWERED = ("SELECT 40 + 2", "SELECT DATE '20000-01-01' AS far", "SELECT NULL::DATE AS none")
EMPTY = ("-- a comment", "/* one */", ";;")
REFUSED = (
    "SELECT now() - now() AS odd",
    "SELECT 'infinity'::DATE AS odd",
    "SELECT 1 AS fine, '-infinity'::TIMESTAMPTZ AS odd",
    "SELECT '290000-01-01'::TIMESTAMP AS odd",
)


def test_the_prompt_outlives_what_it_cannot_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BLOFIN_WAREHOUSE", str(tmp_path / "w"))
    Warehouse.open(tmp_path / "w", market="sample").close()
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join((*REFUSED, *EMPTY, *ANSWERED, ".quit"))))
    run_sql(None)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert len(lines) == len(REFUSED)
    assert all("column odd" in line and line.endswith("cast it: ...::VARCHAR") for line in lines)
    assert out.count("no rows") == len(EMPTY) - 1, "of the last, the prompt itself leaves nothing"
    assert "42" in out
    assert "20000-01-01" in out


def test_an_empty_statement_has_no_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BLOFIN_WAREHOUSE", str(tmp_path / "w"))
    Warehouse.open(tmp_path / "w", market="sample").close()
    run_sql("")
    assert capsys.readouterr().out == "no rows\n"


def test_many_columns_are_shown_one_below_the_other_and_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BLOFIN_WAREHOUSE", str(tmp_path / "w"))
    monkeypatch.setenv("COLUMNS", "80")
    Warehouse.open(tmp_path / "w", market="sample").close()
    run_sql("SELECT * FROM research.llm_calls")
    assert capsys.readouterr().out.startswith("no rows of id, role, model")
    columns = ", ".join(f"{n} AS c{n}" for n in range(9))
    run_sql(f"SELECT {columns}, NULL AS absent, repeat('long\n', 99) AS text FROM range(2)")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "row 1 of 2"
    assert lines[1].split() == ["c0", "0"]
    assert lines[10].split() == ["absent", "null"]
    assert lines[11].split()[:3] == ["text", "long", "long"]
    assert len(lines[11]) == 80
    assert lines[12] == "row 2 of 2"
    assert max(map(len, lines)) == 80
