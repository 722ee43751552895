"""Every strategy of the library is causal and knows no prices by heart; those that are not are caught."""

import polars as pl
import pytest

from features.market import Market, example_market
from strategies.base import Features, Signal, Strategy
from strategies.language import Value, previous
from strategies.registry import load_library
from strategies.validation import causality, price_memory, signals_on, validate

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


@pytest.mark.parametrize("strategy", LIBRARY, ids=lambda strategy: strategy.name)
def test_every_strategy_of_the_library_may_be_ranked(strategy: Strategy, market: Market) -> None:
    assert validate(strategy, market, cuts=1, timeframes=("5m",)) == []
    entries = signals_on(strategy, market, "5m").select(pl.col("long_entry").sum()).item()
    assert entries > 0, "the checks above had nothing to see"


@pytest.mark.parametrize("strategy", [Seer(), Averager()], ids=lambda strategy: strategy.name)
def test_a_look_ahead_is_caught(strategy: Strategy, market: Market) -> None:
    cuts = [market.candles["5m"]["ts"][500], market.candles["5m"]["ts"][1500]]
    seen = causality(strategy, market, "5m", cuts)
    assert [each.column for each in seen] == ["long_entry"]
    found = validate(strategy, market, cuts=2)
    assert "causality" in {each.check for each in found}


def test_prices_known_by_heart_are_caught(market: Market) -> None:
    memory = Memory()
    assert signals_on(memory, market, "5m")["long_entry"].any()
    assert price_memory(memory, market, "5m") > 0.02
    assert [each.check for each in validate(memory, market, cuts=1)] == ["price memory"]


@pytest.mark.parametrize("strategy", LIBRARY, ids=lambda strategy: strategy.name)
@pytest.mark.parametrize("end", ["low", "high"])
def test_every_corner_of_the_ranges_is_a_strategy(strategy: Strategy, end: str, market: Market) -> None:
    corner = strategy.with_parameters(**{name: getattr(given, end) for name, given in strategy.ranges().items()})
    assert corner.version != strategy.version
    assert signals_on(corner, market, "5m").height == market.candles["5m"].height
