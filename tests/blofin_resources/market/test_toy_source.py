"""A further exchange is one entry: docs/extending/exchange.md, followed once."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest
from support.platform import AS_OF, keep_surroundings_out, platforms

from backtester.resampling import aggregate
from blofin_assets.scheduling.runner import execute
from blofin_assets.shared.cadences import MARKET_DATA
from blofin_resources.errors import MarketError, SettingsError
from blofin_resources.market import MARKETS, is_synthetic, open_market
from blofin_resources.market import source as base
from blofin_resources.market.registry import Entry
from blofin_resources.settings import Settings
from features.bars import CANDLE_SCHEMA, FUNDING_SCHEMA, TIMEFRAMES, TS, Timeframe

pytestmark = pytest.mark.slow

MINUTE = timedelta(minutes=1)
SYMBOLS = ("BTC-USDT", "ETH-USDT")

ASSETS = {
    dg.AssetKey(name)
    for name in ("instruments", "funding_rates", "market_gaps", *(f"candles_{timeframe}" for timeframe in TIMEFRAMES))
}
FIRST = datetime(2026, 2, 1, tzinfo=UTC)
START = date(2026, 3, 10)


class ToyMarket:
    """Prices on a slow wave, one symbol like the other; ETH-USDT lacks the first ten minutes of each day."""

    name = "toy"
    identity = "toy waves"
    synthetic = False

    def __init__(self, clock: base.Clock) -> None:
        self._clock = clock

    def symbols(self) -> tuple[str, ...]:
        return SYMBOLS

    def shortest(self, symbol: str) -> Timeframe:
        base.require_known([symbol], SYMBOLS, "the toy market")
        return "1m"

    def first_ts(self, symbol: str) -> datetime:
        base.require_known([symbol], SYMBOLS, "the toy market")
        return FIRST

    def coverage(self, symbol: str) -> base.Coverage:
        return base.Coverage(self.first_ts(symbol), self._clock())

    def instruments(self, symbols: Sequence[str], as_of: datetime) -> pl.DataFrame:
        base.require_known(symbols, SYMBOLS, "the toy market")
        return pl.DataFrame(
            [
                {
                    "symbol": symbol, "as_of": as_of, "base_currency": symbol[:3], "quote_currency": "USDT",
                    "list_time": FIRST, "state": "live", "origin": self.name,
                }
                for symbol in sorted(symbols)
            ],
            schema=base.INSTRUMENT_SCHEMA,
        )  # fmt: skip

    def listings(self) -> pl.DataFrame:
        rows = {"symbol": SYMBOLS, "list_time": FIRST, "delist_time": None, "state": "live"}
        return pl.DataFrame(rows, schema=base.LISTING_SCHEMA)

    def candles(self, symbols: Sequence[str], timeframe: Timeframe, start: datetime, end: datetime) -> pl.DataFrame:
        base.require_known(symbols, SYMBOLS, "the toy market")
        base.require_range(start, end)
        base.require_begun(dict.fromkeys(symbols, FIRST), end, "the toy market")
        if timeframe != "1m":  # it has nothing but minutes
            return aggregate(self.candles(symbols, "1m", start, end), timeframe, end)
        opens = pl.datetime_range(max(start, FIRST), end - MINUTE, MINUTE, time_unit="us", eager=True)
        phase = opens.dt.epoch("s").to_numpy() / 7200.0
        close, before = 100.0 + np.sin(phase), 100.0 + np.sin(phase - 60 / 7200.0)
        one = pl.DataFrame(
            {
                "ts": opens.cast(TS), "open": before, "close": close,
                "high": np.maximum(before, close) + 0.01, "low": np.minimum(before, close) - 0.01,
                "volume": np.full(len(close), 5.0), "quote_volume": 5.0 * close,
            }
        ).with_columns(
            contracts=pl.lit(None, pl.Float64), minutes=pl.lit(1, pl.Int32), origin=pl.lit(self.name),
            flag=pl.lit(None, pl.String),
        )  # fmt: skip
        late = pl.col("ts").dt.hour().eq(0) & pl.col("ts").dt.minute().lt(10)
        frames = [
            one.filter(~late if symbol == "ETH-USDT" else True).with_columns(symbol=pl.lit(symbol))
            for symbol in sorted(symbols)
        ]
        return pl.concat(frames).select(CANDLE_SCHEMA.names()).cast(CANDLE_SCHEMA)

    def funding(self, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        base.require_known(symbols, SYMBOLS, "the toy market")
        paid = pl.datetime_range(start, end, MINUTE, time_unit="us", eager=True).alias("ts").to_frame()
        paid = paid.filter(pl.col("ts").dt.hour() % 8 == 0, pl.col("ts").dt.minute() == 0)
        frames = [paid.with_columns(symbol=pl.lit(symbol), rate=pl.lit(1e-4)) for symbol in sorted(symbols)]
        return pl.concat(frames).select(FUNDING_SCHEMA.names()).cast(FUNDING_SCHEMA)

    def mark_candles_1m(self, symbols: Sequence[str], start: datetime, end: datetime) -> pl.DataFrame:
        base.require_known(symbols, SYMBOLS, "the toy market")
        base.require_range(start, end)
        return base.no_marks()


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    keep_surroundings_out(monkeypatch, tmp_path)
    entry = Entry("a market of plain waves, for tests", lambda given: ToyMarket(given.clock), lambda _: "waves")
    monkeypatch.setitem(MARKETS, "toy", entry)


def test_the_settings_know_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOFIN_MARKET", "toy")
    settings = Settings()
    assert (settings.market, settings.market_id) == ("toy", "waves")
    assert not is_synthetic("toy")
    monkeypatch.setenv("BLOFIN_MARKET", "toys")
    with pytest.raises(SettingsError, match=r"'toys' cannot be used; give one of .*, toy \(did you mean toy\?\)"):
        Settings()
    assert open_market("toy", archive=None, api_url=None, seed=0).name == "toy"
    with pytest.raises(MarketError, match=r"is one of: .*, toy"):
        open_market("toys", archive=None, api_url=None, seed=0)


def test_a_setting_that_it_needs_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Entry("", lambda given: ToyMarket(given.clock), lambda _: "", needs=("api_url",))
    monkeypatch.setitem(MARKETS, "toy", entry)
    with pytest.raises(SettingsError, match="BLOFIN_MARKET=toy needs BLOFIN_API_URL: an http"):
        Settings(market="toy")


def test_it_comes_in_and_passes_the_checks(tmp_path: Path) -> None:
    with platforms(tmp_path) as make:
        toy = make("toy", market="toy", start=START)
        (step,) = [step for step in toy.plan().steps if step.job == MARKET_DATA]
        market = toy.defs.resolve_job_def(MARKET_DATA).get_subset(asset_selection=ASSETS)
        outcome = execute(step, market, toy.instance)
        logs = toy.instance.all_logs(outcome.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    assert outcome.errors == ()
    told = [log.dagster_event.asset_check_evaluation_data for log in logs if log.dagster_event]
    passed = {(each.asset_key.to_user_string(), each.check_name): each.passed for each in told}
    assert all(passed[f"candles_{timeframe}", "sound_candles"] for timeframe in TIMEFRAMES)
    assert not passed["candles_1m", "complete_and_fresh"]  # it lacks minutes, which is a warning
    days = (AS_OF.date() - START).days
    stored = toy.warehouse.read(
        "SELECT symbol, origin, count(*) AS bars FROM market.candles_1m GROUP BY ALL ORDER BY 1"
    )
    assert stored.rows() == [("BTC-USDT", "toy", days * 1440), ("ETH-USDT", "toy", days * 1430)]
    gaps = toy.warehouse.read("SELECT DISTINCT symbol, strftime(from_ts, '%H:%M') AS time, bars FROM market.gaps")
    assert gaps.rows() == [("ETH-USDT", "00:00", 10)]
    paid = toy.warehouse.read("SELECT count(*) AS payments FROM market.funding_rates WHERE rate = 1e-4").item()
    assert paid == 2 * (3 * days + 1)
    kept = toy.warehouse.read("SELECT value FROM meta.settings WHERE key = 'market_id'").item()
    assert kept == "waves"
