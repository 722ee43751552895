"""The maintenance asset: once a day, and what goes with `BLOFIN_KEEP`. The rest is in `test_upkeep`, `test_pass`."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import polars as pl
import pytest
from support.platform import Make, Platform

from blofin_assets.maintenance import delete_old_runs, drop_old
from blofin_resources.settings import HISTORY

DAY = datetime(2026, 3, 13, 1, 30, tzinfo=UTC)
END = datetime(2026, 3, 13, tzinfo=UTC)
KEEP = timedelta(days=60)


def test_it_is_due_once_a_day(platform: Platform) -> None:
    with dg.build_schedule_context(instance=platform.instance, scheduled_execution_time=DAY) as context:
        result = platform.defs.resolve_schedule_def("maintenance_schedule").evaluate_tick(context)
    assert [request.run_key for request in result.run_requests or []] == ["maintenance:2026-03-13"]


def store_years(platform: Platform) -> None:
    """Store a bar a day of 200 days, of minutes and of hours, and a feature of them."""
    days = [END - timedelta(days=age) for age in range(200)]
    bars = pl.DataFrame({"symbol": "BTC-USDT", "ts": days}).with_columns(
        open=1.0, high=2.0, low=0.5, close=1.0, volume=9.0, origin=pl.lit("sample")
    )
    feature = pl.DataFrame({"symbol": "BTC-USDT", "ts": days, "rsi_14": 50.0, "definitions_hash": "h"})
    platform.warehouse.ensure_features_table("1m", {"rsi_14": "an index"})
    with platform.warehouse.transaction("before") as tx:
        for timeframe, minutes in (("1m", 1), ("60m", 60)):
            tx.append(f"market.candles_{timeframe}", bars.with_columns(minutes=minutes))
        tx.append("features.features_1m", feature)


def follow(platform: Platform, since: datetime) -> None:
    row = {
        "kind": "strategy", "name": "n", "version": "1", "activated_at": since, "state": "followed", "days": 1.0,
        "trades": 0, "open_positions": 0, "compared": 0, "data_revisions": 0, "version_changes": 0, "look_ahead": 0,
        "engine": "e", "as_of": END,
    }  # fmt: skip
    with platform.warehouse.transaction("followed") as tx:
        tx.append("research.forward_runs", pl.DataFrame([row]))


def oldest(platform: Platform, table: str) -> datetime:
    moment = platform.warehouse.read(f"SELECT min(ts) AS ts FROM {table}")["ts"][0]
    assert isinstance(moment, datetime)
    return moment


def test_minutes_and_their_features_go_and_hours_stay(platform: Platform) -> None:
    store_years(platform)
    dropped = drop_old(platform.warehouse, KEEP, "drop")
    assert dropped["market.candles_1m"] == dropped["features.features_1m"] == 200 - 61
    assert oldest(platform, "market.candles_1m") == oldest(platform, "features.features_1m") == END - KEEP
    assert oldest(platform, "market.candles_60m") == END - timedelta(days=199)
    assert not any(drop_old(platform.warehouse, KEEP, "again").values())


def test_what_the_forward_ledger_replays_again_stays(platform: Platform) -> None:
    store_years(platform)
    follow(platform, END - timedelta(days=90))
    drop_old(platform.warehouse, KEEP, "drop")
    assert oldest(platform, "market.candles_1m") == END - timedelta(days=90) - HISTORY
    assert oldest(platform, "features.features_1m") == END - KEEP


def test_an_empty_warehouse_has_nothing_to_drop(platform: Platform) -> None:
    assert drop_old(platform.warehouse, KEEP, "drop") == {}


def test_finished_runs_go_when_they_are_old(platform: Platform) -> None:
    job = platform.defs.resolve_job_def("maintenance")
    finished, unfinished = (platform.instance.create_run_for_job(job) for _ in range(2))
    platform.instance.report_run_failed(finished)
    now = datetime.now(UTC)
    assert delete_old_runs(platform.instance, now - timedelta(days=1)) == 0
    assert delete_old_runs(platform.instance, now + timedelta(days=1)) == 1
    left = {record.dagster_run.run_id for record in platform.instance.get_run_records()}
    assert left == {unfinished.run_id}


@pytest.mark.parametrize("keep", [None, 60])
def test_something_goes_only_where_a_time_is_stated(make_platform: Make, keep: int | None) -> None:
    platform = make_platform(keep=keep, start=None)
    store_years(platform)
    result = platform.defs.resolve_job_def("maintenance").execute_in_process(instance=platform.instance)
    assert result.success
    metadata = result.asset_materializations_for_node("warehouse_maintenance")[0].metadata
    assert ("dropped: market.candles_1m" in metadata) == (keep is not None)
    if keep is not None:
        assert metadata["dropped: runs of Dagster"].value == 0  # the run itself is of today
        assert metadata["dropped: market.candles_1m"].value == 200 - 61
