"""Every strategy of the library is causal and knows no prices by heart; those that are not are caught."""

import polars as pl
import pytest

from features.engine import compute
from features.market import Market, example_market
from strategies.language.strategy import Features, Signal, Strategy
from strategies.language.values import previous
from strategies.registry import load_library
from strategies.untrusted.compiler import compile_strategy
from strategies.validation.checks import (
    causality_of,
    factors,
    price_memory_of,
    scaled,
    signals_of,
    validate,
    validate_all,
)

LIBRARY = load_library()


@pytest.fixture(scope="session")
def market() -> Market:
    return example_market(16_000)


class Seer(Strategy):
    """Buys before a rise."""

    name = "seer"
    timeframes = ("5m",)

    def detect(self, f: Features) -> Signal:
        return Signal(long_entry=f.close > 0)

    def signals(self, frame: pl.DataFrame) -> pl.DataFrame:
        rise = pl.Series((frame["close"].shift(-1) > frame["close"] * 1.002).fill_null(value=False))
        return super().signals(frame).with_columns(rise.alias("long_entry"))


class Averager(Strategy):
    """Buys below a mean that holds the future."""

    name = "averager"
    timeframes = ("5m",)

    def detect(self, f: Features) -> Signal:
        return Signal(long_entry=f.close > 0)

    def signals(self, frame: pl.DataFrame) -> pl.DataFrame:
        below = frame.select(pl.col("close") < pl.col("close").mean().over("symbol")).to_series()
        return super().signals(frame).with_columns(below.alias("long_entry"))


class Memory(Strategy):
    """Knows a price at which it was good to buy."""

    name = "memory"
    timeframes = ("5m",)

    def detect(self, f: Features) -> Signal:
        return Signal(long_entry=(f.close > 95) & (previous(f.close) < 105))


@pytest.mark.slow
def test_every_strategy_of_the_library_may_be_ranked(market: Market) -> None:
    found = validate_all(LIBRARY, market, cuts=1, timeframes=("5m",))
    refused = {each.name: findings for each, findings in zip(LIBRARY, found, strict=True) if findings}
    assert refused == {}
    entries = [signals["long_entry"].sum() for signals in signals_of(LIBRARY, market, "5m")]
    silent = [each.name for each, number in zip(LIBRARY, entries, strict=True) if not number]
    assert silent == [], "the checks above had nothing to see"


@pytest.mark.slow
def test_judged_together_each_is_judged_as_alone(market: Market) -> None:
    among = [LIBRARY[0], Seer(), LIBRARY[1], Memory(), Averager()]
    together = validate_all(among, market, cuts=2, seed=3)
    assert together == [validate(each, market, cuts=2, seed=3) for each in among]
    assert [{each.check for each in findings} for findings in together] == [
        set(), {"causality"}, set(), {"price memory"}, {"causality"},
    ]  # fmt: skip


@pytest.mark.parametrize("strategy", LIBRARY, ids=lambda strategy: strategy.name)
def test_signals_do_not_depend_on_where_the_data_starts(strategy: Strategy, market: Market) -> None:
    candles, steps = market.candles["5m"], pl.int_range(pl.len()).over("symbol") // 96
    frame = compute(candles, strategy.features("5m"), market.funding, timeframe="5m", others=market.candles)
    if "funding_rate" in frame.columns:  # paid each eight hours, of every size
        frame = frame.with_columns(funding_rate=(steps * 7919 % 101).cast(pl.Float64) * 1.7e-6 - 8e-5)
    whole = strategy.signals(frame)
    for start in (1, 37, 211):
        begun = candles["ts"].unique().sort()[start]
        later = strategy.signals(frame.filter(pl.col("ts") >= begun))
        settled = candles["ts"].unique().sort()[start + strategy.lookback]
        conditions = pl.selectors.boolean() | pl.selectors.by_name("symbol", "ts")
        assert (
            later.filter(pl.col("ts") >= settled)
            .select(conditions)
            .equals(whole.filter(pl.col("ts") >= settled).select(conditions))
        )


@pytest.mark.parametrize("strategy", [Seer(), Averager()], ids=lambda strategy: strategy.name)
def test_a_look_ahead_is_caught(strategy: Strategy, market: Market) -> None:
    cuts = [market.candles["5m"]["ts"][500], market.candles["5m"]["ts"][1500]]
    [seen] = causality_of([strategy], market, "5m", cuts)
    assert [each.column for each in seen] == ["long_entry"]
    found = validate(strategy, market, cuts=2)
    assert "causality" in {each.check for each in found}


def test_prices_known_by_heart_are_caught(market: Market) -> None:
    memory = Memory()
    assert signals_of([memory], market, "5m")[0]["long_entry"].any()
    assert price_memory_of([memory, LIBRARY[0]], market, "5m") == [True, False]
    assert [each.check for each in validate(memory, market, cuts=1)] == ["price memory"]


BY_HEART = {
    "thresholds written twice, for one other unit": "long_entry=((f.close > 95) & (f.close < 105))"
    " | ((f.close > 161.5) & (f.close < 178.5)) | ((f.close > 190) & (f.close < 210))",
    "exit": "long_entry=rise, long_exit=f.close > 100",
    "stop": "long_entry=rise, stop=where(f.close > 100, 0.002, 0.05), time_stop=200",
    "target": "long_entry=rise, target=where(f.close > 100, 0.002, 0.05), time_stop=200",
    "trail": "long_entry=rise, trail=where(f.close > 100, 0.002, 0.05), time_stop=200",
    "time stop": "long_entry=rise, time_stop=where(f.close > 100, 2, 50)",
    "size": "long_entry=rise, size=where(f.close > 100, 1, 0.2), time_stop=20",
    "leverage": "long_entry=rise, leverage=where(f.close > 100, 1, 5), time_stop=20",
    "distance in prices": "long_entry=rise, stop=1 / f.close, time_stop=200",
}
TEXT = '''class Heart(Strategy):
    """Made to be seen through."""

    name = "heart"
    timeframes = ("5m",)

    def detect(self, f):
        rise = crossed_above(f.close, f.ema_20)
        return Signal({parts})
'''


@pytest.mark.parametrize("name", sorted(BY_HEART))
def test_what_is_traded_by_heart_is_caught_wherever_it_stands(name: str, market: Market) -> None:
    heart = compile_strategy(TEXT.format(parts=BY_HEART[name]))
    [seen] = validate(heart, market, cuts=1)
    assert seen.check == "price memory"
    assert not any(character.isdigit() for character in seen.detail), "no reason tells how to get round it"


def test_relative_parts_of_every_kind_are_free(market: Market) -> None:
    parts = (
        "long_entry=rise, long_exit=f.close > f.ema_20 * 1.01, stop=f.atr_14 / f.close, target=0.02, trail=0.03, "
        "size=where(f.rsi_14 > 50, 1, 0.2), leverage=where(f.rsi_14 > 60, 1, 3), time_stop=where(f.rsi_14 > 50, 20, 90)"
    )
    free = compile_strategy(TEXT.format(parts=parts))
    assert signals_of([free], market, "5m")[0]["long_entry"].sum() > 20
    assert validate(free, market, cuts=1) == []


def test_the_other_prices_depend_on_seed_and_prices_alone(market: Market) -> None:
    drawn = factors(market, 1)
    assert drawn == factors(market, 1) != factors(market, 2)
    assert 1 / 6 <= drawn[0] <= 1 / 1.3 < 1.3 <= drawn[1] <= 6
    assert factors(scaled(market, 2.0), 1) != drawn


@pytest.mark.parametrize("end", ["low", "high"])
def test_every_corner_of_the_ranges_is_a_strategy(end: str, market: Market) -> None:
    corners = [
        each.with_parameters(**{name: getattr(given, end) for name, given in each.ranges().items()}) for each in LIBRARY
    ]
    same = [each.name for each, corner in zip(LIBRARY, corners, strict=True) if corner.version == each.version]
    assert same == []
    heights = {signals.height for signals in signals_of(corners, market, "5m")}
    assert heights == {market.candles["5m"].height}
