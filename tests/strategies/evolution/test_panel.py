"""The panel gives the numbers of `backtester.evaluate`, reads nothing after its window, and keeps within its memory."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from backtester import Costs, evaluate
from backtester.aggregator import aggregate
from backtester.evidence import scored_lanes, zero_cost_returns
from backtester.overfitting import sharpe_se_newey_west
from backtester.windows import Window
from blofin_resources.market.factory import open_market
from features.bars import FUNDING_SCHEMA, FrameSource, Timeframe
from features.feature_manager import FeatureManager
from features.market import Market
from strategies.compiler import compile_strategy
from strategies.duplicates import positions, resemblance
from strategies.evolution.panel import Panel
from strategies.registry import load_library

END = datetime(2025, 6, 12, tzinfo=UTC)
WINDOW = Window(END - timedelta(days=6), END - timedelta(days=1))
SYMBOLS = ("BTC-USDT", "SOL-USDT")
LIBRARY = load_library()
TFS: tuple[Timeframe, ...] = ("1m", "5m", "60m", "1d")
NONE_PAID = pl.DataFrame(schema=FUNDING_SCHEMA)


@pytest.fixture(scope="module")
def market() -> Market:
    source = open_market("sample", archive=None, api_url="", seed=7)
    minutes = source.candles_1m(SYMBOLS, END - timedelta(days=36), END)
    # flagged and missing bars, as a real market has them
    flagged = pl.when(pl.int_range(pl.len()) % 997 == 5).then(pl.lit("repaired"))
    minutes = minutes.with_columns(flag=flagged).filter(pl.int_range(pl.len()) % 1499 != 7)
    longer: tuple[Timeframe, ...] = ("5m", "60m", "1d")
    candles = {"1m": minutes, **{timeframe: aggregate(minutes, timeframe, END) for timeframe in longer}}
    # mark prices of one symbol swing further than its candles, but for an hour; the other has none
    other = minutes.filter(pl.col("symbol") == "SOL-USDT", pl.col("ts").dt.hour() != pl.lit(3))
    swung = other.select("symbol", "ts", "open", pl.col("high") * 1.013, pl.col("low") * 0.987, "close")
    return Market(candles, source.funding(SYMBOLS, END - timedelta(days=36), END), marks=swung)


@pytest.fixture(scope="module")
def manager(market: Market) -> FeatureManager:
    return FeatureManager(market.source(), END)


@pytest.fixture(scope="module")
def panel(manager: FeatureManager) -> Panel:
    # as far back as `evaluate` reads for them: a rolling mean rounds by where its sums begin
    return Panel.read(manager, SYMBOLS, WINDOW, lookback=max(strategy.lookback for strategy in LIBRARY))


def near(one: float | None, other: float | None) -> bool:
    return one is None if other is None else one == pytest.approx(other, rel=1e-9, abs=1e-12)


def test_the_numbers_are_those_of_evaluate(panel: Panel, manager: FeatureManager) -> None:
    full = evaluate(LIBRARY, manager, SYMBOLS, WINDOW.start, WINDOW.end, replays=False)
    for strategy, expected in zip(LIBRARY, full, strict=True):
        run = panel.run(strategy, gross=True)
        pooled = expected.pooled
        assert pooled is not None
        assert (run.name, run.version, run.timeframes) == (expected.name, expected.version, expected.timeframes)
        assert run.lane_trades == {(lane.symbol, lane.timeframe): lane.trades for lane in expected.lanes}
        assert run.trades == pooled.trades
        for name in ("score", "sharpe", "win_rate", "avg_pnl_pct", "max_drawdown", "turnover", "exposure"):
            assert near(getattr(run.pooled, name), getattr(pooled, name)), name
        np.testing.assert_allclose(run.returns, pooled.returns, rtol=0, atol=1e-12)
        assert near(run.gross_se, sharpe_se_newey_west(zero_cost_returns(scored_lanes(expected))))
        same = expected.trades.filter(pl.col("timeframe").is_in(strategy.timeframes))
        if run.trades:
            assert resemblance(panel.positions(strategy), positions(same, WINDOW.start, WINDOW.end)) > 1 - 1e-12


LEVERED = '''class Levered(Strategy):
    """Follow the last bars with all one has, five times over. Edge: none. Fails: always."""

    name = "levered"

    def detect(self, f):
        return Signal(long_entry=f.close > mean(f.close, 30), short_entry=f.close < mean(f.close, 30), leverage=50)
'''


def test_leveraged_lanes_are_liquidated_as_evaluate_does(manager: FeatureManager) -> None:
    levered = compile_strategy(LEVERED)
    run = Panel.read(manager, SYMBOLS, WINDOW, lookback=levered.lookback).run(levered)
    (expected,) = evaluate([levered], manager, SYMBOLS, WINDOW.start, WINDOW.end, replays=False)
    found = {(lane.symbol, lane.liquidation_price) for lane in expected.lanes}
    assert found == {("BTC-USDT", "last"), ("SOL-USDT", "mixed")}
    assert expected.pooled is not None
    assert run.pooled.liquidation_price == expected.pooled.liquidation_price == "mixed"
    assert run.pooled.liquidations == expected.pooled.liquidations > 0
    np.testing.assert_allclose(run.returns, expected.pooled.returns, rtol=0, atol=1e-12)
    bare = FeatureManager(FrameSource({tf: manager.source.candles(SYMBOLS, tf, None, END) for tf in TFS}), END)
    (last,) = evaluate([levered], bare, SYMBOLS, WINDOW.start, WINDOW.end, replays=False, funding=NONE_PAID)
    assert last.pooled is not None
    assert last.pooled.liquidations < expected.pooled.liquidations
    assert last.pooled.liquidation_price == "last"


def test_costs_are_those_given(panel: Panel) -> None:
    strategy = LIBRARY[0]
    free = panel.run(strategy, costs=Costs.free())
    assert free.pooled.fees_pct == 0.0
    assert panel.run(strategy).pooled.fees_pct > 0.0


def test_nothing_after_the_window_is_read(panel: Panel, market: Market) -> None:
    noised = market.noised(WINDOW.end, seed=3)
    reach = max(strategy.lookback for strategy in LIBRARY)
    other = Panel.read(FeatureManager(noised.source(), END), SYMBOLS, WINDOW, lookback=reach)
    for strategy in LIBRARY:
        np.testing.assert_array_equal(panel.run(strategy).returns, other.run(strategy).returns)


def test_values_do_not_depend_on_what_was_asked_before(manager: FeatureManager) -> None:
    names = ["rsi_14", "ema_200", "sma_1900", "60m:rsi_14", "is_squeeze", "BTC-USDT:returns_5"]
    alone = {name: Panel.read(manager, SYMBOLS, WINDOW).column(name) for name in names}
    together = Panel.read(manager, SYMBOLS, WINDOW)
    together.require(names)
    tiny = Panel.read(manager, SYMBOLS, WINDOW, cache_bytes=1)
    for name in [*names, *names]:
        np.testing.assert_array_equal(together.column(name), alone[name])
        np.testing.assert_array_equal(tiny.column(name), alone[name])


def test_columns_hold_the_sound_bars_lane_by_lane(panel: Panel) -> None:
    close = panel.column("close")
    assert close.shape == (panel.rows,)
    for key, lane in panel.lanes.items():
        inside = close[lane.rows][lane.lead :]
        sound = lane.bars.close if lane.place is None else lane.bars.close[lane.place]
        np.testing.assert_array_equal(inside, sound, err_msg=str(key))
    assert panel.column("is_squeeze").dtype == np.bool_
    with pytest.raises(ValueError, match="read-only"):
        close[0] = 1.0


def test_the_cache_keeps_within_its_bound(manager: FeatureManager) -> None:
    bound = 3_000_000
    panel = Panel.read(manager, SYMBOLS, WINDOW, cache_bytes=bound)
    for n in range(5, 25):
        panel.column(f"rsi_{n}")
        assert panel.cached_bytes <= bound


def test_a_strategy_that_looks_back_further_makes_the_panel_read_more(manager: FeatureManager) -> None:
    text = '''class Far(Strategy):
    """Buy above the mean of many bars. Edge: none. Fails: always."""

    name = "far"
    timeframes = ("5m",)

    def detect(self, f):
        return Signal(long_entry=f.close > mean(f.close, 900), long_exit=f.close < mean(f.close, 900))
'''
    far = compile_strategy(text)
    run = Panel.read(manager, SYMBOLS, WINDOW, lookback=50).run(far)
    (expected,) = evaluate([far], manager, SYMBOLS, WINDOW.start, WINDOW.end, replays=False)
    assert expected.pooled is not None
    assert run.trades == expected.pooled.trades > 0
    np.testing.assert_allclose(run.returns, expected.pooled.returns, rtol=0, atol=1e-12)


def test_a_window_after_the_as_of_is_refused(manager: FeatureManager) -> None:
    with pytest.raises(ValueError, match="as-of"):
        Panel.read(manager, SYMBOLS, Window(END, END + timedelta(days=1)))


def test_a_strategy_of_other_timeframes_is_refused(manager: FeatureManager) -> None:
    hourly = Panel.read(FeatureManager(manager.source, END), SYMBOLS, WINDOW, timeframes=("1m",))
    with pytest.raises(ValueError, match="the panel has 1m"):
        hourly.run(LIBRARY[0])


def test_a_source_without_a_symbol_says_so() -> None:
    with pytest.raises(LookupError):
        Panel.read(FeatureManager(FrameSource({}), END), ("NONE-USDT",), WINDOW)
