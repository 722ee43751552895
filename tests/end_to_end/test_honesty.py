"""What a cycle refuses, and what it counts: the faults that would make a number wrong without a sound."""

import json
from collections.abc import Callable
from datetime import timedelta

import dagster as dg
import polars as pl
import pytest
from support.platform import AS_OF, START, Platform

from blofin_assets.scheduling.runner import execute
from blofin_assets.shared.cadences import ML_CYCLE, REPORT, STRATEGY_CYCLE, Step
from blofin_assets.shared.coverage import DATASETS, require_market_data, withdraw
from blofin_assets.shared.cycle_events import mark_done
from blofin_assets.shared.partitions import HALF_DAY_FORMAT
from blofin_assets.shared.trial_ledger import count_trials
from blofin_assets.strategy_cycle.library import validated
from blofin_resources.errors import BlofinError
from blofin_resources.market import ingestion
from features import definitions_hash
from strategies.registry import load_library

WEEK = timedelta(days=7)


def cover(platform: Platform) -> None:
    """Say that everything was asked for, without a single bar."""
    days = pl.DataFrame({"day": pl.date_range(START, AS_OF.date(), eager=True)})
    frame = pl.DataFrame({"dataset": list(DATASETS)}).join(days, how="cross")
    frame = frame.join(pl.DataFrame({"symbol": list(platform.settings.symbols)}), how="cross")
    ends = pl.col("day").cast(pl.Datetime("us")).dt.replace_time_zone("UTC") + timedelta(days=1)
    with platform.warehouse.transaction("test") as tx:
        tx.append("market.coverage", frame.with_columns(ends.alias("through"), pl.lit(0).alias("rows")))


def test_a_window_that_was_asked_for_but_has_no_bars_is_refused(platform: Platform) -> None:
    cover(platform)
    with pytest.raises(BlofinError, match="BTC-USDT has 0 of"):
        require_market_data(platform.warehouse, platform.settings.symbols, AS_OF - WEEK, AS_OF)


def test_withdrawn_coverage_is_due_again(platform: Platform) -> None:
    cover(platform)
    assert list(platform.progress.missing_days(START, AS_OF)) == []
    window = (AS_OF - timedelta(days=2), AS_OF)
    withdraw(platform.warehouse, "features_5m", platform.settings.symbols, window, "test")
    assert len(platform.progress.missing_days(START, AS_OF)) == 2


def test_only_what_was_validated_may_be_ranked() -> None:
    first, second = load_library()[:2]
    judged = {(first.name, first.version): "validated", (second.name, second.version): "refused"}
    assert validated([first, second], judged) == [first]
    with pytest.raises(BlofinError, match=second.name):
        validated([first, second], {(first.name, first.version): "validated"})


def test_trials_count_lanes_but_not_another_kind_of_the_same_moment(platform: Platform) -> None:
    rows = [("strategy", "a", "1", "BTC:5m"), ("strategy", "a", "1", "BTC:60m"), ("model", "m", "1", "BTC:5m")]
    frame = pl.DataFrame(rows, schema=["kind", "name", "version", "lanes"], orient="row").with_columns(
        pl.Series("id", ["1", "2", "3"]), pl.lit("test").alias("author"), pl.lit(AS_OF).alias("as_of"),
        pl.lit(AS_OF - WEEK).alias("window_start"), pl.lit(AS_OF).alias("window_end"),
    )  # fmt: skip
    with platform.warehouse.transaction("test") as tx:
        tx.append("research.trials", frame)
    assert count_trials(platform.warehouse, "strategy", AS_OF - WEEK, AS_OF) == 2
    assert count_trials(platform.warehouse, "strategy", AS_OF - WEEK, AS_OF + timedelta(hours=1)) == 3


def test_a_report_made_before_its_cycles_is_due_again(platform: Platform) -> None:
    shown = json.dumps({"cycles": {STRATEGY_CYCLE: None, ML_CYCLE: None}})
    report = pl.DataFrame({"id": ["1"], "report_date": [START], "report_json": [shown]})
    times = [pl.lit(AS_OF).alias("timestamp"), pl.lit(AS_OF).alias("as_of")]
    ranking = pl.DataFrame({"kind": ["strategy"], "name": ["a"], "version": ["1"], "rank": [1], "status": ["active"]})
    with platform.warehouse.transaction("test") as tx:
        tx.append("reports.daily_reports", report.with_columns(times))
    assert platform.progress.succeeded(REPORT) == {AS_OF}
    with platform.warehouse.transaction("test") as tx:
        tx.append("research.ranking_history", ranking.with_columns(pl.lit(AS_OF).alias("as_of")))
    assert platform.progress.succeeded(STRATEGY_CYCLE) == frozenset(), "a ranking alone is no whole cycle"
    with platform.warehouse.transaction("test") as tx:
        mark_done(tx, STRATEGY_CYCLE, "a key", AS_OF)
    assert platform.progress.succeeded(STRATEGY_CYCLE) == {AS_OF}
    assert platform.progress.succeeded(REPORT) == frozenset()


def test_features_that_are_defined_anew_are_due_again(platform: Platform) -> None:
    cover(platform)
    day = AS_OF - timedelta(days=3)
    platform.warehouse.ensure_features_table("5m", {"rsi_14": "relative strength index, 0 to 100"})
    rows = pl.DataFrame({"symbol": ["BTC-USDT"] * 2, "ts": [day, day + timedelta(days=1)], "rsi_14": [50.0, 51.0]})
    hashes = pl.Series("definitions_hash", ["of another time", definitions_hash()])
    with platform.warehouse.transaction("test") as tx:
        tx.append("features.features_5m", rows.with_columns(hashes))
    assert list(platform.progress.missing_days(START, AS_OF)) == [day.date()]


def test_a_ranking_without_all_its_models_is_refused(platform: Platform) -> None:
    job = platform.defs.resolve_job_def(ML_CYCLE).get_subset(asset_selection={dg.AssetKey("model_ranking")})
    key = AS_OF.strftime(HALF_DAY_FORMAT)
    outcome = execute(Step(ML_CYCLE, key, key, AS_OF), job, platform.instance)
    (line,) = outcome.errors
    assert "not trained as of 2026-03-13T00:00Z" in line
    assert "materialise this cycle's models first" in line
    assert platform.warehouse.read("SELECT * FROM research.ranking_history").is_empty()


def test_how_far_a_day_reaches_is_read_when_nobody_else_can_commit(platform: Platform) -> None:
    store, symbol, midnight = platform.warehouse, "BTC-USDT", AS_OF - timedelta(days=1)
    counted = pl.DataFrame({"symbol": [symbol], "day": [midnight.date()], "rows": [60]})

    def reach(hours: int, during: Callable[[], None] = lambda: None) -> None:
        end = midnight + timedelta(hours=hours)
        with store.transaction(f"to {hours}") as tx:
            ingestion.record_coverage(tx, store, "candles_1m", [symbol], midnight, end, counted)
            during()

    reach(6, during=lambda: reach(18))  # another run goes further while this one computes
    assert store.covered("candles_1m", [symbol], midnight.date(), AS_OF.date())["through"].to_list() == [
        midnight + timedelta(hours=18)
    ]
