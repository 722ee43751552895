"""Deep history as assets: what a pass on an archive of hours makes by midnight, with its checks and line of status."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from support.platform import Make, Platform, content

from blofin_assets.health import collect_health
from blofin_assets.scheduling.runner import Outcome, execute
from blofin_assets.shared.cadences import DEEP_HISTORY, Step
from blofin_resources.errors import SettingsError
from blofin_resources.settings import Settings
from features.bars import Timeframe

START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
SPANS = {"AA": (0, 70), "BB": (0, 50), "CC": (20, 70), "DD": (35, 70)}
"""First and last day of each symbol; the volume grows with the letter."""


def write(folder: Path, until: int = 70) -> Path:
    folder.mkdir(exist_ok=True)
    for level, (name, (first, last)) in enumerate(SPANS.items(), start=1):
        begin, end = START + first * DAY, START + min(last, until) * DAY
        if begin >= end:
            continue
        ts = pl.datetime_range(begin, end, HOUR, time_unit="us", closed="left", eager=True)
        bars = pl.DataFrame({"ts": ts, "open": 10.0, "high": 12.0, "low": 9.0, "close": 11.0, "volume": 10.0 * level})
        bars.write_parquet(folder / f"{name}-USDT_1h.parquet")
        paid = pl.DataFrame({"ts": ts.gather_every(8), "rate": 1e-4})
        paid.write_parquet(folder / f"{name}-USDT_funding.parquet")
    return folder


def made(make: Make, archive: Path, folder: str = "deep", **changes: object) -> Platform:
    given: Mapping[str, object] = {"universe": "top:1", "symbols": "AA-USDT", "start": "2024-02-01", **changes}
    return make(folder, market="archive", archive=archive, **given)


def bring(platform: Platform, day: int) -> Outcome:
    as_of = START + day * DAY
    key = as_of.date().isoformat()
    job = platform.defs.resolve_job_def(DEEP_HISTORY)
    return execute(Step(DEEP_HISTORY, key, key, as_of), job, platform.instance)


def members(platform: Platform) -> dict[str, tuple[int, int]]:
    """Return the first and last day of each member, counted from the start."""
    rows = platform.warehouse.read(
        "SELECT symbol, min(day) AS first, max(day) AS last FROM market.universe WHERE member GROUP BY symbol"
    )
    return {symbol: ((first - START.date()).days, (last - START.date()).days) for symbol, first, last in rows.rows()}


@pytest.mark.slow
def test_a_pass_fills_an_archive_without_minutes_and_is_done_until_the_next_midnight(
    make_platform: Make, tmp_path: Path
) -> None:
    platform = made(make_platform, write(tmp_path / "archive"))
    as_of = START + 70 * DAY + 9 * HOUR
    (step,) = [step for step in platform.plan(as_of).steps if step.job == DEEP_HISTORY]
    assert (step.first_key, step.as_of) == ("2024-03-11", START + 70 * DAY)
    outcome = execute(step, platform.defs.resolve_job_def(DEEP_HISTORY), platform.instance)
    assert outcome.errors == ()
    # CC is new until it has been listed for 30 days, DD too; BB trades more than AA until it ends
    assert members(platform) == {"BB-USDT": (30, 49), "CC-USDT": (50, 64), "DD-USDT": (65, 70)}
    stored = platform.warehouse.read("SELECT symbol, count(*) AS n FROM market.deep_60m GROUP BY 1 ORDER BY 1").rows()
    assert stored == [("BB-USDT", 50 * 24), ("CC-USDT", 50 * 24), ("DD-USDT", 35 * 24)]
    paid = platform.warehouse.read("SELECT symbol, count(*) AS n FROM market.deep_funding GROUP BY 1 ORDER BY 1").rows()
    assert paid == [("BB-USDT", 150), ("CC-USDT", 150), ("DD-USDT", 105)]
    days = platform.warehouse.read("SELECT count(*) AS n FROM market.deep_1d").item()
    assert days == 70 + 50 + 50 + 35
    checks = platform.instance.all_logs(outcome.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    told = [log.dagster_event.asset_check_evaluation_data for log in checks if log.dagster_event]
    assert {(each.asset_key.to_user_string(), each.check_name) for each in told if each.passed} == {
        ("deep_1d", "sound_candles"), ("deep_1d", "complete_and_fresh"), ("universe", "sound_membership"),
        ("deep_60m", "sound_candles"), ("deep_60m", "complete_and_fresh"), ("deep_60m", "agrees_with_minutes"),
    }  # fmt: skip
    event = platform.instance.get_latest_materialization_event(dg.AssetKey("universe"))
    assert event is not None
    assert event.asset_materialization is not None
    assert "data:image/png" in str(event.asset_materialization.metadata["membership"].value)
    assert not platform.progress.deep_due(START + 70 * DAY)
    assert platform.progress.deep_due(START + 71 * DAY)
    (item,) = [
        item
        for item in collect_health(platform.warehouse, None, platform.settings, as_of)
        if item.name == "universe"
    ]  # fmt: skip
    assert item.ok
    assert item.detail == "top:1: 1 members of 4 symbols on 2024-03-11"


@pytest.mark.slow
def test_a_range_is_brought_up_to_its_last_day_a_failed_check_is_not_passed_over_and_old_gaps_are_not_told_again(
    make_platform: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(candles: pl.DataFrame, _: Timeframe) -> dict[str, pl.DataFrame]:
        wrong = candles.filter(pl.col("symbol") == "BB-USDT").select("symbol", "ts", detail=pl.lit("spoiled"))
        return {"positive_prices": wrong} if wrong.height else {}

    def run(first: int, last: int) -> Outcome:
        keys = [(START + day * DAY).date().isoformat() for day in (first, last)]
        return execute(Step(DEEP_HISTORY, *keys, START + last * DAY), job, platform.instance)

    def fresh(outcome: Outcome) -> bool:
        checks = platform.instance.all_logs(outcome.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        told = [log.dagster_event.asset_check_evaluation_data for log in checks if log.dagster_event]
        return {each.check_name: each.passed for each in told}["complete_and_fresh"]

    archive = write(tmp_path / "archive")
    bars = pl.read_parquet(archive / "AA-USDT_1h.parquet")
    bars.filter(pl.col("ts").dt.date() != (START + 9 * DAY).date()).write_parquet(archive / "AA-USDT_1h.parquet")
    platform = made(make_platform, archive)
    keys = {dg.AssetKey(name) for name in ("listings", "deep_1d")}
    job = platform.defs.resolve_job_def(DEEP_HISTORY).get_subset(asset_selection=keys)
    with monkeypatch.context() as spoiled:
        spoiled.setattr("blofin_resources.market.checks.unsound", spoil)
        for _ in range(2):
            (error,) = run(28, 30).errors
            assert error.startswith("deep_1d fails sound_candles: positive_prices: 30 bars, first BB-USDT 2024-01-01")
    mended = run(28, 30)
    assert (mended.errors, fresh(mended)) == ((), False)
    covered = platform.warehouse.read("SELECT DISTINCT requested_to, sound_to FROM market.deep_coverage").rows()
    assert covered == [(START + 30 * DAY, START + 30 * DAY)]
    assert fresh(run(31, 31))


@pytest.mark.slow
def test_the_universe_of_a_past_day_is_the_same_whatever_was_imported_later(
    make_platform: Make, tmp_path: Path
) -> None:
    growing = made(make_platform, write(tmp_path / "archive", until=45))
    assert bring(growing, 45).errors == ()
    early = content(growing.warehouse, "market.universe")
    write(tmp_path / "archive")
    growing = made(make_platform, tmp_path / "archive")
    assert bring(growing, 70).errors == ()
    late = content(growing.warehouse, "market.universe")
    assert late.filter(pl.col("day") <= early["day"].max()).equals(early)
    fresh = made(make_platform, tmp_path / "archive", "fresh")
    assert bring(fresh, 70).errors == ()
    for table in ("universe", "deep_1d", "deep_60m", "deep_funding", "deep_coverage"):
        assert content(fresh.warehouse, f"market.{table}").equals(content(growing.warehouse, f"market.{table}")), table


@pytest.mark.slow
def test_another_rule_is_effective_with_the_next_run_and_a_list_says_that_it_was_chosen_today(
    make_platform: Make, tmp_path: Path
) -> None:
    platform = made(make_platform, write(tmp_path / "archive"))
    assert bring(platform, 70).errors == ()
    chosen = made(make_platform, tmp_path / "archive", universe="cc-usdt,AA-USDT")
    assert chosen.progress.deep_due(START + 70 * DAY)
    assert bring(chosen, 70).errors == ()
    assert members(chosen) == {"AA-USDT": (30, 70), "CC-USDT": (50, 70)}
    reasons = chosen.warehouse.read("SELECT DISTINCT reason FROM market.universe WHERE member")["reason"].to_list()
    assert reasons == ["chosen_today"]
    names = [item.name for item in collect_health(chosen.warehouse, None, chosen.settings, START + 70 * DAY)]
    assert "universe (chosen today)" in names
    (error, *_) = bring(made(make_platform, tmp_path / "archive", universe="ZZ-USDT"), 70).errors
    assert "unknown symbol ZZ-USDT in archive" in error


@pytest.mark.parametrize("value", ["top", "top:0", "BTCUSDT"])
def test_a_universe_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match=f"BLOFIN_UNIVERSE='{value}' cannot be used; give top:N, all, off, or"):
        Settings(universe=value)
