"""The forward ledger on stored data: what changes under it is noted and explained, at every later key as well."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from support.platform import AS_OF, Make, Platform

from blofin_assets.forward.replays import common_inputs
from blofin_assets.scheduling.runner import execute
from blofin_assets.shared.cadences import CADENCES, FORWARD, MARKET_DATA

HALF_DAY = timedelta(hours=12)
KEYS = [AS_OF + n * HALF_DAY for n in range(5)]
HOUR = AS_OF + timedelta(hours=5)
"""Begin of the hour that is revised."""


@pytest.fixture
def begun(passed: Platform) -> Platform:
    """A platform whose first pass made something active, with market data of two days more."""
    passed.run(KEYS[-1], (MARKET_DATA,))
    return passed


def follow(platform: Platform, *keys: datetime) -> None:
    cadence = next(each for each in CADENCES if each.job == FORWARD)
    for key in keys:
        done = execute(cadence.step(key), platform.defs.resolve_job_def(FORWARD), platform.instance)
        assert not done.errors, done.errors


def revise(platform: Platform) -> None:
    """Let one hour of one symbol be another than it was."""
    with platform.warehouse.transaction("revision") as tx:
        for timeframe in ("1m", "5m", "60m"):
            table = f"market.candles_{timeframe}"
            rows = platform.warehouse.read(f"SELECT * EXCLUDE (run_id) FROM {table} WHERE symbol = 'BTC-USDT'")
            hour = pl.col("ts").is_between(HOUR, HOUR + timedelta(hours=1), closed="left")
            prices = pl.col("open", "high", "low", "close")
            other = rows.with_columns(pl.when(hour).then(prices * 1.01).otherwise(prices))
            tx.replace(table, other, symbol="BTC-USDT")


def verdicts(platform: Platform) -> dict[datetime, dict[str, int]]:
    rows = platform.warehouse.read(
        "SELECT as_of, sum(compared)::INT AS compared, sum(data_revisions)::INT AS data_revisions, "
        "sum(version_changes)::INT AS version_changes, sum(look_ahead)::INT AS look_ahead "
        "FROM research.forward_runs GROUP BY as_of ORDER BY as_of"
    )
    return {row.pop("as_of"): row for row in rows.iter_rows(named=True)}


@pytest.mark.long
def test_a_revision_is_explained_at_every_later_key_and_when_an_earlier_one_is_made_again(begun: Platform) -> None:
    follow(begun, *KEYS[:2])
    revise(begun)
    follow(begun, *KEYS[2:4], KEYS[1], KEYS[4])
    found = verdicts(begun)
    assert found[KEYS[4]]["compared"] > found[KEYS[2]]["compared"] > 0
    assert all(found[key]["data_revisions"] > 0 for key in KEYS[2:])
    assert [each["look_ahead"] for each in found.values()] == [0] * len(found)
    noted = begun.warehouse.read("SELECT difference, attribution FROM research.forward_validation")
    assert "only in replay" in set(noted["difference"])
    assert set(noted["attribution"]) == {"data revision"}


@pytest.mark.slow
def test_symbols_may_leave_and_come_back(begun: Platform, make_platform: Make) -> None:
    follow(begun, *KEYS[:2])
    fewer = make_platform(symbols="BTC-USDT")
    follow(fewer, KEYS[2])
    follow(begun, *KEYS[3:])
    found = verdicts(begun)
    assert [each["look_ahead"] for each in found.values()] == [0] * len(found)
    assert found[KEYS[3]]["version_changes"] > 0, "what ETH did meanwhile was not lived"
    rows = begun.warehouse.read("SELECT reason FROM research.forward_validation")
    assert rows["reason"].unique().to_list() == ["ETH-USDT was not among the symbols tracked then"]


def test_what_counts_as_size_one_is_that_of_the_holdout_whatever_is_asked_for_later(platform: Platform) -> None:
    store, start = platform.warehouse, datetime(2025, 6, 1, tzinfo=UTC)
    rows = [
        {
            "id": f"{version}{symbol}{at}", "strategy_name": "geared", "version": version, "timestamp": at, "as_of": at,
            "backtest_period": "7d", "symbol": symbol, "timeframe": symbol, "window_start": at, "window_end": at,
            "largest_size": largest,
        }
        for version, symbol, at, largest in (
            ("a", "*", start - timedelta(days=2), 2.0), ("a", "*", start, 3.0),
            ("a", "*", start + timedelta(days=2), 9.0),
            ("a", "A-USDT", start, 7.0), ("b", "*", start, None),
        )
    ]  # fmt: skip
    with store.transaction("test") as tx:
        tx.append("research.strategy_backtest_results", pl.DataFrame(rows, infer_schema_length=None))
    common = common_inputs(store, ("A-USDT",), start + timedelta(days=5))
    assert common.largest("strategy", "geared", "a", start) == 3.0
    assert common.largest("strategy", "geared", "b", start) == 1.0, "a row of before knows none"
    assert common.largest("model", "geared", "a", start) == 1.0
