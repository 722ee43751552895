"""Every strategy of the library is causal and knows no prices by heart; those that are not are caught."""

import polars as pl
import pytest

from features.engine import compute
from features.market import Market, example_market
from strategies.base import Features, Signal, Strategy
from strategies.language import Value, previous
from strategies.registry import load_library
from strategies.validation import causality_of, price_memory_of, signals_of, validate, validate_all

LIBRARY = load_library()


@pytest.fixture(scope="session")
def market() -> Market:
    return example_market(16_000)


class Seer(Strategy):
    """Buys before a rise."""

    name = "seer"
    timeframes = ("5m",)

    def detect(self, f: Features) -> Signal:
        tomorrow = Value(pl.col("close").shift(-1), "number")
        return Signal(long_entry=tomorrow > f.close * 1.002)


class Averager(Strategy):
    """Buys below a mean that holds the future."""

    name = "averager"
    timeframes = ("5m",)

    def detect(self, f: Features) -> Signal:
        return Signal(long_entry=f.close < Value(pl.col("close").mean(), "number"))


class Memory(Strategy):
    """Knows a price at which it was good to buy."""

    name = "memory"
    timeframes = ("5m",)

    def detect(self, f: Features) -> Signal:
        return Signal(long_entry=(f.close > 95) & (previous(f.close) < 105))


def test_every_strategy_of_the_library_may_be_ranked(market: Market) -> None:
    found = validate_all(LIBRARY, market, cuts=1, timeframes=("5m",))
    refused = {each.name: findings for each, findings in zip(LIBRARY, found, strict=True) if findings}
    assert refused == {}
    entries = [signals["long_entry"].sum() for signals in signals_of(LIBRARY, market, "5m")]
    silent = [each.name for each, number in zip(LIBRARY, entries, strict=True) if not number]
    assert silent == [], "the checks above had nothing to see"


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
    assert price_memory_of([memory], market, "5m")[0] > 0.02
    assert [each.check for each in validate(memory, market, cuts=1)] == ["price memory"]


@pytest.mark.parametrize("end", ["low", "high"])
def test_every_corner_of_the_ranges_is_a_strategy(end: str, market: Market) -> None:
    corners = [
        each.with_parameters(**{name: getattr(given, end) for name, given in each.ranges().items()}) for each in LIBRARY
    ]
    same = [each.name for each, corner in zip(LIBRARY, corners, strict=True) if corner.version == each.version]
    assert same == []
    heights = {signals.height for signals in signals_of(corners, market, "5m")}
    assert heights == {market.candles["5m"].height}
