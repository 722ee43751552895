"""The sample market's universe: causal, consistent with the minutes, alive, and paying what it says."""

import math
from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from backtester.resampling import aggregate
from blofin_resources.errors import MarketError
from blofin_resources.market import checks
from blofin_resources.market import source as base
from blofin_resources.market.sample import SampleMarket, Variant
from blofin_resources.market.sample._factor import COLUMN, WIDTH, walk_factor
from blofin_resources.market.sample._process import NULL, first_state, walk, world
from blofin_resources.market.sample._seats import BASE_RATE, FOUNDERS, NOTICE_HOURS, SEATS
from calibration.universe import BOOKS, Panel, carry, momentum, panel, reversal, volatility, weights
from features.bars import CANDLE_SCHEMA, FUNDING_SCHEMA

EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
START = datetime(2020, 2, 10, tzinfo=UTC)
END = datetime(2021, 8, 10, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@cache
def market(variant: Variant = "plain", seed: int = 7) -> SampleMarket:
    return SampleMarket(seed, variant, clock=lambda: END)


@cache
def listings(variant: Variant = "plain") -> pl.DataFrame:
    found = market(variant).listings()
    return found.filter(~pl.col("symbol").is_in(list(market(variant).symbols())))


@cache
def candles(variant: Variant = "plain") -> pl.DataFrame:
    return market(variant).candles(listings(variant)["symbol"].to_list(), "60m", EPOCH, END)


@cache
def funding(variant: Variant = "plain") -> pl.DataFrame:
    return market(variant).funding(listings(variant)["symbol"].to_list(), EPOCH, END)


@cache
def arrays(variant: Variant) -> Panel:
    return panel(candles(variant), funding(variant), EPOCH, END)


def test_thirty_symbols_and_more_come_and_go() -> None:
    listed = listings()
    assert len(listed) > SEATS
    for month in range(20):
        day = EPOCH + 30 * month * DAY
        here = listed.filter(
            pl.col("list_time") <= day, (pl.col("delist_time") > day) | pl.col("delist_time").is_null()
        )
        assert 30 <= len(here) <= SEATS
    assert (listed["list_time"] == EPOCH).sum() == FOUNDERS
    gone = listed.filter(pl.col("state") == base.DELISTED)
    assert len(gone) > 5
    assert set(market().listings()["symbol"]) - set(listed["symbol"]) == {"BTC-USDT", "ETH-USDT", "SOL-USDT"}


def test_bars_and_payments_are_there_from_listing_to_delisting() -> None:
    assert candles().schema == CANDLE_SCHEMA
    assert funding().schema == FUNDING_SCHEMA
    until = pl.col("delist_time").fill_null(END)
    bars = candles().group_by("symbol").agg(first=pl.col("ts").min(), last=pl.col("ts").max(), bars=pl.len())
    spans = listings().join(bars, on="symbol", how="left").with_columns(length=(until - pl.col("list_time")))
    assert (spans["first"] == spans["list_time"]).all()
    assert spans.select((pl.col("last") + HOUR == until).all()).item()
    assert (spans["bars"] == spans["length"].dt.total_hours()).all()
    paid = funding().group_by("symbol").agg(first=pl.col("ts").min(), last=pl.col("ts").max(), paid=pl.len())
    spans = listings().join(paid, on="symbol")
    assert (spans["first"] == spans["list_time"] + 8 * HOUR).all()
    ended = spans.filter(pl.col("delist_time").is_not_null() & (pl.col("delist_time") <= END))
    assert (ended["last"] == ended["delist_time"] - 8 * HOUR).all()
    assert (spans["paid"] == (spans["last"] - spans["first"]).dt.total_hours() // 8 + 1).all()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 400 * 24), st.integers(1, 90 * 24), st.sampled_from(["plain", "null", "edge"]))
def test_what_has_happened_does_not_depend_on_the_rest(first: int, length: int, variant: Variant) -> None:
    start, now = START + first * HOUR, START + (first + length) * HOUR
    early = SampleMarket(7, variant, clock=lambda: now + timedelta(minutes=17))
    symbols = early.listings().filter(~pl.col("symbol").is_in(list(early.symbols())))["symbol"].to_list()[::12]
    seen = early.candles(symbols, "60m", start, END)
    known = market(variant).candles(symbols, "60m", EPOCH, END)
    inside = known.filter(pl.col("ts") >= start, pl.col("ts") + HOUR <= now)
    assert_frame_equal(seen, inside, check_exact=True)
    paid = market(variant).funding(symbols, EPOCH, END).filter(pl.col("ts").is_between(start, now))
    assert_frame_equal(early.funding(symbols, start, END), paid, check_exact=True)


@pytest.mark.parametrize("variant", ["plain", "null", "edge"])
def test_a_listing_is_known_when_it_is_and_a_delisting_a_week_ahead(variant: Variant) -> None:
    now = END
    told = SampleMarket(7, variant, clock=lambda: now)
    later, notice = told.listings(), timedelta(hours=NOTICE_HOURS)
    delisted = later["delist_time"].drop_nulls().to_list()
    turns = [*later["list_time"].unique(), *delisted, *(time - notice for time in delisted)]
    assert len(turns) > 20
    for turn in turns:
        # What this market has worked out reaches beyond all of these times; a fresh one would have less to tell.
        for now in (max(turn - HOUR, EPOCH), turn):
            expected = later.filter(pl.col("list_time") <= now).with_columns(
                delist_time=pl.when(pl.col("delist_time") - notice <= now).then("delist_time"),
                state=pl.when(pl.col("delist_time") <= now).then(pl.lit(base.DELISTED)).otherwise(pl.lit("live")),
            )
            assert_frame_equal(told.listings(), expected)


def test_the_order_of_requests_changes_nothing() -> None:
    symbols = listings()["symbol"].to_list()
    fresh = SampleMarket(7, clock=lambda: END)
    one = fresh.candles(symbols[-1:], "60m", END - 100 * DAY, END)
    other = fresh.candles(symbols[:1], "60m", EPOCH, EPOCH + 50 * DAY)
    assert_frame_equal(one, candles().filter(pl.col("symbol") == symbols[-1], pl.col("ts") >= END - 100 * DAY))
    assert_frame_equal(
        other, candles().filter(pl.col("symbol") == symbols[0], pl.col("ts") < EPOCH + 50 * DAY), check_exact=True
    )


@pytest.mark.parametrize("timeframe", ["4h", "1d"])
def test_longer_bars_are_what_the_hours_make(timeframe: str) -> None:
    symbols, end = listings()["symbol"].to_list()[::5], END - 3 * HOUR
    made = market().candles(symbols, timeframe, START, end)  # type: ignore[arg-type]
    hours = market().candles(symbols, "60m", START, end)
    assert_frame_equal(made, aggregate(hours, timeframe, end), check_exact=True)  # type: ignore[arg-type]


@pytest.mark.parametrize("timeframe", ["5m", "60m", "1d"])
def test_longer_bars_of_symbols_with_minutes_are_what_the_minutes_make(timeframe: str) -> None:
    market = SampleMarket(3, "edge")
    start, end = START + timedelta(hours=5), START + timedelta(days=62, minutes=30)
    minutes = market.candles(["BTC-USDT", "DOGE-USDT"], "1m", START, end)
    made = market.candles(["BTC-USDT", "DOGE-USDT"], timeframe, start, end)  # type: ignore[arg-type]
    expected = aggregate(minutes, timeframe, end).filter(pl.col("ts") >= start)  # type: ignore[arg-type]
    assert_frame_equal(made, expected, check_exact=True)


def test_the_factor_by_the_hour_is_the_sum_of_the_factor_by_the_minute() -> None:
    hours = 24 * 20
    out, walked = np.empty((hours, WIDTH)), np.empty((hours * 60, 4))
    constants = world("BTC-USDT", 7, NULL)
    walk_factor(first_state(constants)[0], constants, 0, out)
    alone = constants._replace(beta=1.0, own_sd=0.0)
    rates = np.empty(hours // 8)
    walk(first_state(alone)[0], alone, 0, walked, rates)
    opening, change, variance = walked[:, 0], walked[:, 1], walked[:, 2]
    shock = (change + 0.5 * variance).reshape(hours, 60).sum(axis=1)
    assert out[:, COLUMN.shock] == pytest.approx(shock, abs=1e-12)
    assert out[:, COLUMN.variance] == pytest.approx(variance.reshape(hours, 60).sum(axis=1), rel=1e-12)
    steps = np.diff(opening + change, prepend=alone.level) - change
    steps[::480] += np.log1p(-rates)
    jumps = out[:, COLUMN.jump] - 0.5 * out[:, COLUMN.jump_variance]
    assert steps.reshape(hours, 60).sum(axis=1) == pytest.approx(jumps, abs=1e-10)
    assert (out[:, COLUMN.jump_variance] > 0).any()


def test_the_universe_moves_with_the_symbols_that_have_minutes() -> None:
    btc = market().candles(["BTC-USDT"], "60m", START, START + 60 * DAY).select("ts", btc=pl.col("close").log().diff())
    moves = candles().select("symbol", "ts", move=pl.col("close").log().diff().over("symbol")).join(btc, on="ts")
    known = moves.drop_nulls().group_by("symbol").agg(pl.corr("move", "btc"), pl.len()).filter(pl.col("len") > 1000)
    assert len(known) > 30
    assert known["move"].min() > 0.3  # type: ignore[operator]
    assert known["move"].max() < 0.9  # type: ignore[operator]


def test_volatility_clusters_and_is_that_of_real_markets() -> None:
    for _, bars in candles().group_by("symbol"):
        if len(bars) < 5000:
            continue
        returns = bars.sort("ts")["close"].log().diff().drop_nulls().to_numpy()
        size = np.abs(returns)
        assert 0.004 < returns.std() < 0.016
        assert np.corrcoef(size[1:], size[:-1])[0, 1] > 0.1
        assert np.corrcoef(size[24:], size[:-24])[0, 1] > 0.05
        assert abs(np.corrcoef(returns[1:], returns[:-1])[0, 1]) < 0.08
        assert ((returns - returns.mean()) ** 4).mean() / returns.var() ** 2 > 4


def test_ranks_by_volume_change() -> None:
    volumes = candles().group_by("symbol", pl.col("ts").dt.truncate("30d")).agg(pl.col("quote_volume").sum() / 30)
    ranked = volumes.with_columns(rank=pl.col("quote_volume").rank(descending=True).over("ts"))
    months = ranked["ts"].unique().sort()
    first, last = (ranked.filter(pl.col("ts") == months[k]) for k in (1, -2))
    both = first.join(last, on="symbol")
    moved = (both["rank"] - both["rank_right"]).abs()
    assert 2 < moved.mean() < 12  # type: ignore[operator]
    assert 1e5 < volumes["quote_volume"].min() < 5e7  # type: ignore[operator]
    assert 3e8 < volumes["quote_volume"].max() < 2e10  # type: ignore[operator]


@pytest.mark.slow
def test_funding_is_crowded_for_days_and_follows_the_trend() -> None:
    rates = (
        funding()
        .with_columns(**{f"lag{lag}": pl.col("rate").shift(lag).over("symbol") for lag in (1, 21, 90)})
        .drop_nulls()
    )
    now, soon, later = (rates.select(pl.corr("rate", f"lag{lag}")).item() for lag in (1, 21, 90))
    assert now > 0.5
    assert now > soon > later
    assert abs(later) < 0.15
    closes = candles().select("symbol", ts=pl.col("ts") + HOUR, move=pl.col("close").log().diff(72).over("symbol"))
    assert rates.join(closes, on=["symbol", "ts"]).drop_nulls().select(pl.corr("rate", "move")).item() > 0.15
    assert rates["rate"].mean() == pytest.approx(BASE_RATE, abs=1e-5)
    assert 5e-5 < rates["rate"].std() < 3e-4  # type: ignore[operator]


def test_a_long_of_the_null_market_gets_at_a_payment_what_it_pays() -> None:
    steps = (
        candles("null")
        .select("symbol", "ts", step=pl.col("open") / pl.col("close").shift(1).over("symbol") - 1)
        .join(funding("null"), on=["symbol", "ts"])
    )
    assert (steps["step"] - steps["rate"]).abs().median() < 1e-5  # type: ignore[operator]
    carried = (
        candles("edge")
        .select("symbol", "ts", step=pl.col("open") / pl.col("close").shift(1).over("symbol") - 1)
        .join(funding("edge"), on=["symbol", "ts"])
    )
    assert (carried["step"] - BASE_RATE).abs().median() < 1e-5  # type: ignore[operator]


def daily_book(bars: Panel, score: np.ndarray, after: int = 24) -> np.ndarray:
    """Return the gains of a book decided each midnight and held from the next open for some hours, before costs."""
    opens, sigma = bars.opens, volatility(bars.closes)
    gains = []
    for close in range(40 * 24 - 1, len(opens) - after - 2, 24):
        entry, end = close + 1, close + 1 + after
        moved = opens[end] / opens[entry] - 1
        paid = (bars.rates[entry + 1 : end + 1] * opens[entry + 1 : end + 1]).sum(axis=0) / opens[entry]
        chosen = np.where(np.isfinite(moved) & np.isfinite(paid), score[close], np.nan)
        gains.append(np.nansum(weights(chosen, sigma[close]) * (moved - paid)))
    return np.array(gains)


@pytest.mark.parametrize("score", [momentum, carry])
def test_the_planted_edges_pay_in_one_market_and_nothing_pays_in_the_null_market(score: object) -> None:
    for variant, least, most in (("edge", 3.0, 8.0), ("null", -2.5, 2.5)):
        bars = arrays(variant)  # type: ignore[arg-type]
        gains = daily_book(bars, score(bars))  # type: ignore[operator]
        assert least < gains.mean() / gains.std() * math.sqrt(365) < most


def test_the_decoy_pays_less_than_its_costs() -> None:
    gains = daily_book(arrays("edge"), reversal(arrays("edge")), after=8)
    assert gains.mean() / gains.std() * math.sqrt(len(gains)) > 2
    assert gains.mean() < 0.0008
    idle = daily_book(arrays("null"), reversal(arrays("null")), after=8)
    assert abs(idle.mean() / idle.std() * math.sqrt(len(idle))) < 3


def test_total_return_of_the_null_market_is_fair_for_every_symbol_whether_it_survived_or_not() -> None:
    bars = arrays("null")
    gains = np.log(bars.opens[1:] * (1 - bars.rates[1:])) - np.log(bars.opens[:-1])
    pooled = np.expm1(gains)
    daily = np.nanmean(pooled[: len(pooled) // 24 * 24].reshape(-1, 24, pooled.shape[1]), axis=(1, 2))
    assert abs(daily.mean() / daily.std() * math.sqrt(len(daily))) < 3


def test_bars_pass_the_checks_of_real_bars_and_lie_on_the_tick() -> None:
    assert checks.unsound(candles(), "60m") == {}
    symbol = listings().filter(pl.col("delist_time").is_null())["symbol"][0]
    bars = market().candles([symbol], "60m", END - DAY, END)
    instrument = market().instruments([symbol], END - HOUR).row(0, named=True)
    for price in checks.PRICES:
        ticks = bars[price] / instrument["tick_size"]
        assert (ticks - ticks.round()).abs().max() < 1e-4
    lots = bars["contracts"] / instrument["lot_size"]
    assert (lots - lots.round()).abs().max() < 1e-6


def test_instruments_of_the_universe_say_when_they_were_listed_and_whether_they_are_gone() -> None:
    gone = listings().filter(pl.col("state") == base.DELISTED).row(0, named=True)
    rows = [market().instruments([gone["symbol"], "BTC-USDT"], day) for day in (gone["list_time"], END)]
    assert [row.filter(pl.col("symbol") == gone["symbol"])["state"].item() for row in rows] == ["live", base.DELISTED]
    assert rows[0].filter(pl.col("symbol") == gone["symbol"])["list_time"].item() == gone["list_time"]
    assert rows[0].schema == base.INSTRUMENT_SCHEMA
    assert market().coverage(gone["symbol"]) == base.Coverage(gone["list_time"], gone["delist_time"])
    assert market().first_ts(gone["symbol"]) == gone["list_time"]


def test_a_symbol_without_minutes_or_not_yet_listed_is_refused_by_name() -> None:
    assert {market().shortest(symbol) for symbol in listings()["symbol"]} == {"60m"}
    assert market().shortest("BTC-USDT") == "1m"
    symbol = listings()["symbol"][0]
    with pytest.raises(MarketError, match=rf"{symbol} of the sample market has no 1m bars; request 60m, 4h or 1d"):
        market().candles([symbol], "1m", START, END)
    newest = listings().sort("list_time").row(-1, named=True)
    before = SampleMarket(7, clock=lambda: newest["list_time"] - HOUR)
    with pytest.raises(MarketError, match=rf"unknown symbol {newest['symbol']}"):
        before.candles([newest["symbol"]], "60m", START, END)


def test_every_book_of_the_calibration_is_one_of_those_documented() -> None:
    assert set(BOOKS) == {"momentum", "carry", "decoy"}
