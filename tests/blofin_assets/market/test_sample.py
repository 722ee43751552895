"""Market data of a platform, on the sample market: what is fetched again and what is not, coverage, checks."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import polars as pl
import pytest
from support.platform import Platform, content, differing

from blofin_assets.scheduling.runner import CONSOLE, execute
from blofin_assets.shared.cadences import MARKET_DATA
from blofin_resources.dagster_resources import AS_OF_TAG
from features.bars import TIMEFRAMES

NOON = datetime(2026, 3, 3, 12, tzinfo=UTC)
DAY = timedelta(days=1)
TABLES = (
    *(f"market.candles_{timeframe}" for timeframe in TIMEFRAMES), "market.mark_candles_1m",
    "market.funding_rates", "market.coverage", "market.gaps",
    "features.features_1m", "features.features_5m", "features.features_60m",
)  # fmt: skip


def everything(platform: Platform) -> dict[str, pl.DataFrame]:
    return {table: content(platform.warehouse, table) for table in TABLES}


def same(left: dict[str, pl.DataFrame], right: dict[str, pl.DataFrame]) -> None:
    assert {table: differing(left[table], right[table]) for table in TABLES} == {table: [] for table in TABLES}


def by_hand(platform: Platform, key: str, as_of: datetime) -> dg.ExecuteInProcessResult:
    """Materialise one partition as a person does: without a plan's step."""
    job = platform.defs.resolve_job_def(MARKET_DATA)
    tags = {AS_OF_TAG: as_of.isoformat()}
    return job.execute_in_process(
        instance=platform.instance, partition_key=key, tags=tags, run_config=CONSOLE, raise_on_error=False
    )


def fetched(platform: Platform, run_id: str) -> int:
    records = platform.instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION).records
    made = [record.asset_materialization for record in records]
    value = next(each.metadata["fetched"].value for each in made if each and each.asset_key.path == ["candles_1m"])
    assert isinstance(value, int)
    return value


@pytest.mark.long
def test_a_run_fetches_what_is_lacking_and_an_earlier_one_takes_nothing_back(platform: Platform) -> None:
    (first,) = platform.run(NOON, (MARKET_DATA,))
    assert fetched(platform, first.run_id) == 2 * int(2.5 * 1440)
    (second,) = platform.run(NOON + timedelta(hours=3), (MARKET_DATA,))
    assert fetched(platform, second.run_id) == 2 * (60 + 180)
    after = everything(platform)
    assert platform.plan(NOON + timedelta(hours=3)).steps[0].job != MARKET_DATA

    earlier = by_hand(platform, "2026-03-03", NOON - timedelta(hours=5, minutes=3))
    assert earlier.success
    assert fetched(platform, earlier.run_id) == 2 * (6 * 60 + 57)
    same(everything(platform), after)
    again = by_hand(platform, "2026-03-02", NOON + timedelta(hours=3))
    assert fetched(platform, again.run_id) == 2 * 1440
    same(everything(platform), after)
    assert content(platform.warehouse, "market.candle_revisions").is_empty()
    spans = platform.warehouse.read("SELECT DISTINCT dataset FROM market.coverage_span")["dataset"].to_list()
    assert sorted(spans) == sorted({"gaps", *(table.split(".")[1] for table in TABLES)} - {"coverage"})


@pytest.mark.slow
def test_wrong_bars_stop_what_follows_and_missing_ones_warn(platform: Platform) -> None:
    platform.run(NOON - 2 * DAY, (MARKET_DATA,))
    store = platform.warehouse
    bars = store.candles(["BTC-USDT"], "1m", NOON - 2.5 * DAY, NOON - 2 * DAY)
    spoilt = bars.with_columns(high=pl.when(pl.int_range(pl.len()) == 7).then(pl.col("low") / 2).otherwise("high"))
    kept = spoilt.filter(~pl.int_range(pl.len()).is_between(600, 629) & (pl.int_range(pl.len()) < 690))
    with store.transaction("spoil") as tx:
        tx.replace("market.candles_1m", kept, NOON - 2.5 * DAY, NOON - 2 * DAY, symbol="BTC-USDT")
    step = next(iter(platform.plan(NOON - 2 * DAY + timedelta(hours=1)).steps))
    job = platform.defs.resolve_job_def(MARKET_DATA)
    outcome = execute(step, job, platform.instance)
    assert "candles_1m" in outcome.errors[0]
    assert "ohlc_order: 1 bars, first BTC-USDT 2026-03-01T00:07Z" in outcome.errors[0]
    assert "\n" not in outcome.errors[0]
    found = {
        record.check_name: record
        for record in (
            event.dagster_event.asset_check_evaluation_data
            for event in platform.instance.all_logs(outcome.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
            if event.dagster_event
        )
    }
    assert not found["sound_candles"].passed
    assert found["complete_and_fresh"].severity == dg.AssetCheckSeverity.WARN
    through = store.read("SELECT max(through) FROM market.coverage WHERE dataset = 'candles_5m'").item()
    assert through == NOON - 2 * DAY
