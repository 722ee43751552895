"""Nothing looks ahead, and the test that says so catches what does."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest

from features import STANDARD_SET, Registry, feature, standard_registry
from features.bars import DEFAULT_TIMEFRAMES, MINUTES, TIMEFRAMES, Timeframe
from features.causality import feature_look_ahead, look_ahead, telling_cuts
from features.definition import Definition
from features.market import Market, example_market

ACROSS = [
    *("15m:returns", "60m:trend_direction", "60m:close", "4h:rsi_7", "4h:close", "1d:close", "1d:returns"),
    *("AAA-USDT:returns", "BBB-USDT:60m:rsi_7", "AAA-USDT:4h:close", "AAA-USDT:vwap"),
]


def market_of(timeframe: Timeframe, bars: int, seed: int = 7) -> Market:
    """Return a market with about so many bars of a timeframe, and without the shorter ones, which it cannot read."""
    whole = example_market(max(4000, bars * MINUTES[timeframe]), seed)
    kept = {each: whole.candles[each] for each in TIMEFRAMES[TIMEFRAMES.index(timeframe) :]}
    return replace(whole, candles=kept)


@pytest.fixture(scope="module")
def market() -> Market:
    return example_market(4000)


@pytest.fixture(scope="module")
def every_name() -> list[str]:
    examples = [definition.example for definition in standard_registry()]
    return list(dict.fromkeys([*STANDARD_SET, *examples, *ACROSS]))


def readable(names: list[str], timeframe: Timeframe) -> list[str]:
    """Return the names that bars of a timeframe can read: nothing of shorter ones."""
    shorter = set(TIMEFRAMES[: TIMEFRAMES.index(timeframe)])
    return [name for name in names if not shorter.intersection(name.split(":"))]


@pytest.mark.parametrize(
    "timeframe", [pytest.param(each, marks=pytest.mark.slow if each in ("1m", "15m") else ()) for each in TIMEFRAMES]
)
def test_no_feature_looks_ahead(timeframe: Timeframe, every_name: list[str]) -> None:
    market = market_of(timeframe, 100)
    cuts = telling_cuts(market, timeframe, 4 if timeframe in DEFAULT_TIMEFRAMES else 1, seed=20250612)
    assert [str(seen) for seen in feature_look_ahead(readable(every_name, timeframe), market, timeframe, cuts)] == []


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=pytest.mark.slow if seed < 2 else pytest.mark.long) for seed in range(5)]
)
def test_no_feature_looks_ahead_at_many_cuts(timeframe: Timeframe, seed: int, every_name: list[str]) -> None:
    market = market_of(timeframe, 200, seed)
    cuts = telling_cuts(market, timeframe, 20, seed)
    assert [str(seen) for seen in feature_look_ahead(readable(every_name, timeframe), market, timeframe, cuts)] == []


def offender(formula: Callable[[], pl.Expr]) -> Definition:
    def build() -> pl.Expr:
        """Look ahead."""
        return formula()

    return feature("offender", unit="any", warmup=0)(build)


close = pl.col("close")
OFFENDERS = {
    "the next bar": lambda: close.shift(-1),
    "a window around the bar": lambda: close.rolling_mean(5, center=True),
    "the mean of everything": lambda: close / close.mean(),
    "the extremes of everything": lambda: close.rank() / pl.len(),
    "a backward fill": lambda: pl.col("volume").fill_null(strategy="backward"),
    "a backward fill over still prices": lambda: pl.col("bbands_percent").fill_null(strategy="backward"),
    "interpolation": lambda: pl.col("volume").interpolate(),
    "the value to come of another feature": lambda: pl.col("rsi_14").shift(-3),
    "the last row": lambda: close - close.last(),
    "a reversed sum": lambda: close.cum_sum(reverse=True),
}


@pytest.mark.parametrize("kind", OFFENDERS)
def test_offenders_are_caught(kind: str, market: Market) -> None:
    registry = standard_registry().extended([offender(OFFENDERS[kind])])
    cuts = telling_cuts(market, "1m", 3, seed=1)
    assert [seen.column for seen in feature_look_ahead(["offender"], market, "1m", cuts, registry)] == ["offender"]


@pytest.mark.parametrize("hours_late", [0, 1])
def test_a_higher_bar_read_before_it_closed_is_caught(hours_late: int, market: Market) -> None:
    """The 60m bar that a 5m bar lies in ends up to 55 minutes later; the one before it is closed."""

    def by_opening_time(given: Market) -> pl.DataFrame:
        hours = given.candles["60m"].select(
            "symbol", pl.col("ts") + timedelta(hours=hours_late), pl.col("close").alias("hourly")
        )
        bars = given.candles["5m"].select("symbol", "ts")
        return bars.sort("ts").join_asof(hours.sort("ts"), on="ts", by="symbol", check_sortedness=False)

    cuts = telling_cuts(market, "5m", 6, seed=2)
    assert bool(look_ahead(by_opening_time, market, "5m", cuts)) == (hours_late == 0)


def test_funding_of_the_next_payment_is_caught(market: Market) -> None:
    def next_payment(given: Market) -> pl.DataFrame:
        bars = given.candles["5m"].select("symbol", "ts").sort("ts")
        return bars.join_asof(
            given.funding.sort("ts"), on="ts", by="symbol", strategy="forward", check_sortedness=False
        )

    cuts = telling_cuts(market, "5m", 6, seed=2)
    assert [seen.column for seen in look_ahead(next_payment, market, "5m", cuts)] == ["rate"]


def test_a_sound_computation_over_rows_is_not_accused(market: Market) -> None:
    def trailing(given: Market) -> pl.DataFrame:
        return given.candles["5m"].select("symbol", "ts", pl.col("close").shift(1).over("symbol"))

    assert look_ahead(trailing, market, "5m", telling_cuts(market, "5m", 6, seed=4)) == []


def test_rows_that_depend_on_the_future_are_an_error(market: Market) -> None:
    def last_rows(given: Market) -> pl.DataFrame:
        return given.candles["5m"].select("symbol", "ts", "close").tail(400)

    with pytest.raises(ValueError, match="the rows before"):
        look_ahead(last_rows, market, "5m", telling_cuts(market, "5m", 4, seed=5))


def test_registry_type_is_a_value() -> None:
    assert isinstance(standard_registry().extended([offender(lambda: close)]), Registry)
    assert "offender" not in STANDARD_SET
