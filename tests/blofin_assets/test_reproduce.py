"""Reports made again: all values the same, and the one that is not is named."""

import copy
import dataclasses
import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from support.platform import AS_OF, Platform
from support.warehouses import new_warehouse
from typer.testing import CliRunner

from blofin_assets import reproduction
from blofin_assets.cli.main import app
from blofin_assets.reproduction import RESULTS, compare_rows, know_users_trials, original_of, other_code, reproduce
from blofin_assets.shared.code_version import code_version
from blofin_assets.shared.coverage import DATASETS
from blofin_assets.shared.differences import Difference, compare_documents
from blofin_assets.shared.partitions import DAY
from blofin_resources.errors import BlofinError
from features.bars import TS


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
    assert compare_documents(old, {**old, "a_later_section": {"value": 1.0}}) == (4, [])
    assert compare_documents(old, new) == (4, [Difference("a.top[y].score", 2.0, 2.5)])
    assert str(compare_documents(old, new)[1][0]) == "a.top[y].score: stored 2.0, computed again 2.5"
    assert next(each.where for each in compare_documents(old, {})[1]) == "a.top[x].name"


def test_a_report_of_other_code_is_compared_and_one_without_a_snapshot_is_refused() -> None:
    document = {"report_date": "2026-03-12", "as_of": AS_OF.isoformat(), "provenance": {"snapshot": 3}}
    assert other_code(original_of(document)) == f"it was made by code version unknown, this is {code_version()}"
    document["provenance"]["code_version"] = "0123"  # type: ignore[index]
    assert other_code(original_of(document)) == f"it was made by code version 0123, this is {code_version()}"
    document["provenance"]["code_version"] = code_version()  # type: ignore[index]
    assert other_code(original_of(document)) is None
    with pytest.raises(BlofinError, match="has no snapshot"):
        original_of({"report_date": "2026-03-12"})


def test_sentences_of_other_code_may_be_worded_otherwise_but_state_the_same_numbers() -> None:
    first, second = "score 12.5 on the exam, 3 trades", "on the holdout: 3 trades, score 12.5"
    assert Difference("research.ranking_history[a].reason", first, second).wording
    assert not Difference("research.ranking_history[a].reason", first, second.replace("12.5", "12.6")).wording
    assert not Difference("research.strategies[a].code", first, second).wording, "no sentence"
    assert not Difference("research.ranking_history[a].reason", first, None).wording
    assert not Difference("research.ranking_history[a].score", 12.5, 12.6).wording


def test_a_key_of_an_older_report_is_compared_by_its_word_of_today() -> None:
    old, new = (
        {"luck": {"overfitting": {"trials_today": {f"library ({word})": 3, "tuner (search)": 2}}, "note": "x"}}
        for word in ("exam", "holdout")
    )
    assert compare_documents(old, new) == (3, [])
    new["luck"]["overfitting"]["trials_today"]["library (holdout)"] = 4  # type: ignore[index]
    assert [str(each) for each in compare_documents(old, new)[1]] == [
        "luck.overfitting.trials_today.library (holdout): stored 3, computed again 4"
    ]


def test_the_code_version_changes_with_the_code_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "a.py").write_text("x = 1\n")
    version = code_version.__wrapped__
    monkeypatch.setattr("blofin_assets.shared.code_version.PROJECT", tmp_path)
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


@pytest.mark.slow
def test_a_column_that_is_younger_than_the_cycle_is_not_compared(tmp_path: Path) -> None:
    row = {"kind": "model", "name": "one", "version": "1", "as_of": AS_OF, "ts": AS_OF, "equity": 1.0}
    frame = pl.DataFrame([row]).with_columns(pl.col(pl.Datetime).cast(TS))
    with new_warehouse(tmp_path / "stored") as store, new_warehouse(tmp_path / "scratch") as scratch:
        seen = store.snapshot_id()
        with store.transaction("then") as tx:
            tx.append("research.equity", frame)
        for warehouse in (store, scratch):
            warehouse._connection.execute("ALTER TABLE research.equity ADD COLUMN younger BOOLEAN")
        with scratch.transaction("now") as tx:
            tx.append("research.equity", frame.with_columns(pl.lit(value=True).alias("younger")))
        newest = store.snapshot_id()
        values, found = reproduction.compare_rows(store, newest, scratch, {"then"}, "now", known_at=seen)
        assert (values > 0, found) == (True, [])
        again = reproduction.compare_rows(store, newest, scratch, {"then"}, "now", known_at=newest)
        assert [str(each) for each in again[1]] == [
            f"research.equity[model, one, {AS_OF}].younger: stored None, computed again True"
        ]


def test_datasets_that_are_younger_than_a_snapshot_are_completed(tmp_path: Path) -> None:
    older, day = ("candles_1m", "candles_5m"), AS_OF.date() - DAY
    row = {"symbol": "BTC-USDT", "day": day, "through": AS_OF, "rows": 60}
    stored = pl.DataFrame([{"dataset": dataset, **row} for dataset in older])
    opened = [AS_OF - timedelta(minutes=number) for number in range(60, 0, -1)]
    prices = {"open": 1.0, "high": 2.0, "low": 0.5, "close": 1.5, "volume": 3.0, "quote_volume": 4.0}
    bars = pl.DataFrame({"symbol": "BTC-USDT", "ts": opened, **prices, "minutes": 1, "origin": "t"})
    with new_warehouse(tmp_path / "scratch") as scratch:
        with scratch.transaction("copied") as tx:
            tx.append("market.coverage", stored.with_columns(pl.col("through").cast(TS)))
            tx.append("market.candles_1m", bars.with_columns(pl.col("ts").cast(TS)))

        def missing() -> dict[str, list[date]]:
            return scratch.missing_days(DATASETS, ["BTC-USDT"], day, day + DAY, AS_OF)

        assert {dataset for dataset, days in missing().items() if days} == set(DATASETS) - set(older)
        reproduction.complete_younger_datasets(scratch)
        assert not any(missing().values())
        kept = scratch.read("SELECT dataset, rows FROM market.coverage WHERE run_id = 'copied' ORDER BY 1").rows()
        assert kept == [(dataset, 60) for dataset in older]
        made = scratch.read("SELECT ts, high, volume FROM market.candles_15m ORDER BY 1").rows()
        assert made == [(AS_OF - timedelta(minutes=each), 2.0, 45.0) for each in (60, 45, 30, 15)]
        assert scratch.read("SELECT count(*) FROM market.candles_5m").item() == 0, "those that it had are left alone"


def test_a_cycle_that_is_repeated_counts_no_trial_that_a_user_made_after_it(tmp_path: Path) -> None:
    def trial(key: str, author: str) -> pl.DataFrame:
        row = {"id": key, "kind": "strategy", "author": author, "name": "momentum", "version": key}
        times = dict.fromkeys(("as_of", "window_start", "window_end"), AS_OF)
        return pl.DataFrame({**row, **times}).with_columns(pl.col(times).cast(TS))

    with new_warehouse(tmp_path / "stored") as store, new_warehouse(tmp_path / "scratch") as scratch:
        with store.transaction("user") as tx:
            tx.append("research.trials", trial("before", "user"))
        known = store.snapshot_id()
        with store.transaction("user") as tx:
            tx.append("research.trials", trial("after", "user"))
        scratch.copy_from(store, store.snapshot_id(), RESULTS)
        with scratch.transaction("cycle") as tx:
            tx.append("research.trials", trial("own", "library"))
        for at, ids in ((known, ["before", "own"]), (store.snapshot_id(), ["after", "before", "own"])):
            know_users_trials(store, at, scratch)
            assert scratch.read("SELECT id FROM research.trials ORDER BY id")["id"].to_list() == ids


def test_what_a_later_version_added_to_the_report_is_not_compared() -> None:
    lane = {"symbol": "BTC-USDT", "timeframe": "1m", "bars": 5}
    old = {
        "market": {"coverage": [lane, lane | {"symbol": "ETH-USDT"}]},
        "top": [{"name": "x", "score": 1.0, "live": None}],
        "tuned": [],
        "trials_today": {"tuner (search)": 2},
    }
    new: dict[str, Any] = copy.deepcopy(old)
    new["market"]["coverage"].insert(1, lane | {"timeframe": "15m", "bars": 0})
    new["top"][0] |= {"coverage": 1.0}
    assert compare_documents(old, new) == (10, [])
    new["top"][0]["live"] = {"days": 1.0}
    new["tuned"] = [{"name": "y", "score": 3.0}]
    new["trials_today"]["library (search)"] = 4
    new["market"]["coverage"][2]["bars"] = 6
    assert [each.where for each in compare_documents(old, new)[1]] == [
        "market.coverage[ETH-USDT 1m].bars", "top[x].live.days", "tuned[y].name", "tuned[y].score",
        "trials_today.library (search)",
    ]  # fmt: skip


def test_numbers_that_other_code_rounds_otherwise_agree_to_twelve_digits() -> None:
    assert Difference("research.trades[a].pnl_pct", -0.405928480498197, -0.4059284804981971).rounding
    assert not Difference("research.trades[a].pnl_pct", -0.4059284804, -0.4059284805).rounding
    assert not Difference("research.trades[a].trades", 3, 4).rounding
    assert not Difference("research.trades[a].pnl_pct", None, 0.5).rounding
    assert [Difference(where, 1, 2).what for where in ("research.trades[a].pnl", "top[x].score")] == [
        "research.trades", "top"
    ]  # fmt: skip


@pytest.mark.long
def test_a_report_is_reproduced_and_a_changed_number_or_candle_is_named(done: Platform, tmp_path: Path) -> None:
    document = stored_report(done)
    told: list[str] = []

    # the report as it is, but for one number that somebody changed
    changed = copy.deepcopy(document)
    first = changed["performance"]["top_5_strategies"][0]
    true_score, first["score"] = first["score"], first["score"] + 0.5
    original = original_of(changed)
    made = reproduce(done.warehouse, done.settings, original, tmp_path / "number", on_progress=told.append)
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


@pytest.mark.slow
def test_a_lesson_that_is_worded_otherwise_is_the_same_row(platform: Platform) -> None:
    rows = {
        "id": ["1", "2"], "category": ["lesson", "lesson"], "strategy": ["momentum", None],
        "source": ["tuner", "ranking"], "content": ["It lost 3 % net.", "The best earned 2 %."],
    }  # fmt: skip
    lessons = pl.DataFrame(rows).with_columns(
        *(pl.lit(AS_OF).cast(TS).alias(name) for name in ("timestamp", "as_of", "window_start", "window_end"))
    )
    reworded = lessons.with_columns(
        id=pl.Series(["3", "4"]), content=pl.Series(["Net, it lost 3 %.", "The best earned 5 %."])
    )
    with platform.warehouse.transaction("then") as tx:
        tx.append("research.knowledge_entries", lessons)
    with platform.warehouse.transaction("now") as tx:
        tx.append("research.knowledge_entries", reworded)
    snapshot = platform.warehouse.snapshot_id()
    _, differences = compare_rows(platform.warehouse, snapshot, platform.warehouse, {"then"}, "now", known_at=snapshot)
    assert [(each.stored, each.again) for each in differences if not each.wording] == [
        ("The best earned 2 %.", "The best earned 5 %.")
    ]
