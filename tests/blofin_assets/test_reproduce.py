"""Reports made again: all values the same, and the one that is not is named."""

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from support.platform import AS_OF, Platform
from typer.testing import CliRunner

from blofin_assets import reproduction
from blofin_assets.cli.main import app
from blofin_assets.code_version import code_version
from blofin_assets.reproduction import Difference, compare_documents, original_of, reproduce, require_same_code
from blofin_resources.errors import BlofinError


def stored_report(platform: Platform) -> dict[str, Any]:
    text = platform.warehouse.read("SELECT report_json FROM reports.daily_reports WHERE as_of = ?", [AS_OF])
    found: dict[str, Any] = json.loads(text["report_json"].item())
    return found


def test_a_difference_is_called_by_the_names_in_the_report() -> None:
    old = {"a": {"top": [{"name": "x", "score": 1.0}, {"name": "y", "score": 2.0}]}, "provenance": {"snapshot": 1}}
    new = copy.deepcopy(old)
    new["a"]["top"][1]["score"] = 2.5  # type: ignore[index]
    new["provenance"] = {"snapshot": 2}
    assert compare_documents(old, old) == (4, [])
    assert compare_documents(old, new) == (4, [Difference("a.top[y].score", 2.0, 2.5)])
    assert str(compare_documents(old, new)[1][0]) == "a.top[y].score: stored 2.0, computed again 2.5"
    assert next(each.where for each in compare_documents(old, {})[1]) == "a.top[x].name"


def test_a_report_of_other_code_or_without_a_snapshot_is_refused() -> None:
    document = {"report_date": "2026-03-12", "as_of": AS_OF.isoformat(), "provenance": {"snapshot": 3}}
    with pytest.raises(BlofinError, match=r"code version unknown.*--force"):
        require_same_code(original_of(document))
    document["provenance"]["code_version"] = code_version()  # type: ignore[index]
    require_same_code(original_of(document))
    with pytest.raises(BlofinError, match="names no snapshot"):
        original_of({"report_date": "2026-03-12"})


def test_the_code_version_changes_with_the_code_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "a.py").write_text("x = 1\n")
    version = code_version.__wrapped__
    monkeypatch.setattr("blofin_assets.code_version.PROJECT", tmp_path)
    first = version()
    (tmp_path / "features" / "notes.txt").write_text("nothing")
    assert version() == first
    (tmp_path / "features" / "a.py").write_text("x = 2\n")
    assert version() != first


def test_a_day_without_a_report_and_a_file_that_is_none_are_one_line(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BLOFIN_WAREHOUSE", str(platform.settings.warehouse))
    answer = CliRunner().invoke(app, ["reproduce", "2026-03-12"])
    assert "there is no report of 2026-03-12" in str(answer.exception)
    (tmp_path / "report.json").write_text("[1]")
    answer = CliRunner().invoke(app, ["reproduce", str(tmp_path / "report.json")])
    assert "it holds list" in str(answer.exception)


@pytest.mark.long
def test_a_report_is_reproduced_and_a_changed_number_or_candle_is_named(done: Platform, tmp_path: Path) -> None:
    document = stored_report(done)
    told: list[str] = []

    # the report as it is, but for one number that somebody changed
    changed = copy.deepcopy(document)
    first = changed["performance"]["top_5_strategies"][0]
    true_score, first["score"] = first["score"], first["score"] + 0.5
    original = original_of(changed)
    made = reproduce(done.warehouse, done.settings, original, tmp_path / "number", tell=told.append)
    where = f"performance.top_5_strategies[{first['name']}].score"
    assert made.differences == (Difference(where, first["score"], true_score),)
    assert made.values > 10_000
    assert [line.partition(" ")[0] for line in told] == ["strategy_cycle", "ml_cycle", "report"]

    # its strategy cycle, on a market in which one candle was changed later
    traded = done.warehouse.read(
        "SELECT name, symbol, entry_ts FROM research.trades WHERE kind = 'strategy' AND timeframe = '1m' "
        "ORDER BY name, entry_ts LIMIT 1"
    ).row(0, named=True)
    candles = "SELECT * EXCLUDE (run_id) FROM market.candles_1m WHERE symbol = ? AND ts = ?"
    candle = done.warehouse.read(candles, [traded["symbol"], traded["entry_ts"]])
    with done.warehouse.transaction("revision") as tx:
        pulled = candle.with_columns(pl.col("open") * 1.001, high=pl.max_horizontal("high", pl.col("open") * 1.001))
        tx.replace("market.candles_1m", pulled, ts=traded["entry_ts"], symbol=traded["symbol"])
    assert reproduction.market_seen(done.warehouse, original, original.steps[0]) < tx.snapshot  # type: ignore[operator]
    cycle = dataclasses.replace(original, steps=original.steps[:1])
    again = reproduce(done.warehouse, done.settings, cycle, tmp_path / "candle", market_snapshot=tx.snapshot)
    named = [each.where for each in again.differences]
    assert any(where.startswith("research.trades[") and traded["name"] in where for where in named), named[:20]
