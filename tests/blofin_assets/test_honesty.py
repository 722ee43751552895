"""What a cycle refuses, and what it counts: the faults that would make a number wrong without a sound."""

import json
from datetime import timedelta

import polars as pl
import pytest
from support.platform import AS_OF, START, Platform

from blofin_assets.assets.common import require_market_data, withdraw
from blofin_assets.assets.library import validated
from blofin_assets.plan import ML_CYCLE, REPORT, STRATEGY_CYCLE
from blofin_assets.progress import DATASETS
from blofin_assets.trials import count_trials
from blofin_resources.errors import BlofinError
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
    assert platform.progress.succeeded(REPORT) == frozenset()
