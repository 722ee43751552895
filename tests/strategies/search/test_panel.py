"""The panel gives the numbers of `backtester.evaluate`, reads nothing after its window, and keeps within its memory."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from backtester import Costs, evaluate
from backtester.evaluation.robustness import scored_lanes, zero_cost_returns
from backtester.resampling import aggregate
from backtester.statistics.overfitting import LAGS, episodes_of, sharpe_se_newey_west
from backtester.statistics.windows import Window
from blofin_resources.market.registry import open_market
from features.bars import DEFAULT_TIMEFRAMES, FUNDING_SCHEMA, TIMEFRAMES, FrameSource, Timeframe
from features.engine import compute
from features.feature_manager import FeatureManager
from features.market import Market
from strategies.language.strategy import Strategy, StrategyError
from strategies.registry import load_library
from strategies.search.panel import Panel
from strategies.untrusted.compiler import compile_strategy
from strategies.validation.duplicates import positions, resemblance

pytestmark = pytest.mark.slow

END = datetime(2025, 6, 12, tzinfo=UTC)
WINDOW = Window(END - timedelta(days=6), END - timedelta(days=1))
SYMBOLS = ("BTC-USDT", "SOL-USDT")
LIBRARY = load_library()
TFS = TIMEFRAMES
NONE_PAID = pl.DataFrame(schema=FUNDING_SCHEMA)


@pytest.fixture(scope="module")
def market() -> Market:
    source = open_market("sample", archive=None, api_url="", seed=7)
    minutes = source.candles(SYMBOLS, "1m", END - timedelta(days=36), END)
    # flagged and missing bars, as a real market has them
    flagged = pl.when(pl.int_range(pl.len()) % 997 == 5).then(pl.lit("repaired"))
    minutes = minutes.with_columns(flag=flagged).filter(pl.int_range(pl.len()) % 1499 != 7)
    candles = {timeframe: aggregate(minutes, timeframe, END) for timeframe in TFS}
    candles["1m"] = minutes
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
        run = panel.run(strategy, evidence=True)
        pooled = expected.pooled
        assert pooled is not None
        assert (run.name, run.version, run.timeframes) == (expected.name, expected.version, expected.timeframes)
        assert run.lane_trades == {(lane.symbol, lane.timeframe): lane.trades for lane in expected.lanes}
        assert run.trades == pooled.trades
        for name in ("score", "sharpe", "win_rate", "avg_pnl_pct", "max_drawdown", "turnover", "exposure"):
            assert near(getattr(run.pooled, name), getattr(pooled, name)), name
        np.testing.assert_allclose(run.returns, pooled.returns, rtol=0, atol=1e-12)
        assert near(run.gross_se, sharpe_se_newey_west(zero_cost_returns(scored_lanes(expected)), LAGS))
        same = expected.scored_trades
        assert run.episodes.tolist() == episodes_of(same).tolist()
        if run.trades:
            assert resemblance(panel.positions(strategy), positions(same, WINDOW.start, WINDOW.end)) > 1 - 1e-12


def on(*timeframes: Timeframe) -> Strategy:
    names = "".join(f'"{timeframe}", ' for timeframe in timeframes)
    return compile_strategy(
        f'''class Follow(Strategy):
    """Follow the last bars. Edge: none. Fails: always."""

    name = "follow_{"_".join(timeframes)}"
    timeframes = ({names})

    def detect(self, f):
        up = (f.returns > 0) & (f["1d:close"] > 0)
        return Signal(long_entry=up, short_entry=f.returns < 0, stop=0.01, target=0.01)
'''
    )


@pytest.mark.parametrize("timeframes", [("15m",), ("4h",), ("15m", "60m", "1d")])
def test_a_strategy_on_any_timeframe_is_run_beside_the_others_and_changes_none_of_them(
    timeframes: tuple[Timeframe, ...], manager: FeatureManager
) -> None:
    other, strategy = LIBRARY[0], on(*timeframes)
    both = Panel.read(manager, SYMBOLS, WINDOW)
    alone, first = Panel.read(manager, SYMBOLS, WINDOW).run(other), both.run(other)
    run, again = both.run(strategy, evidence=True), both.run(other)
    assert (alone.lane_trades, again.lane_trades) == (first.lane_trades, first.lane_trades)
    np.testing.assert_array_equal(again.returns, alone.returns)
    mine, beside = evaluate([strategy, other], manager, SYMBOLS, WINDOW.start, WINDOW.end, replays=False)
    (single,) = evaluate([other], manager, SYMBOLS, WINDOW.start, WINDOW.end, replays=False)
    assert beside.trades.equals(single.trades)
    assert {lane.timeframe for lane in beside.lanes} == set(DEFAULT_TIMEFRAMES)
    assert {lane.timeframe for lane in mine.lanes} == {*DEFAULT_TIMEFRAMES, *timeframes}
    assert {lane.timeframe for lane in mine.scored} == set(timeframes)
    assert run.lane_trades == {(lane.symbol, lane.timeframe): lane.trades for lane in mine.lanes}
    assert all(lane.trades for lane in mine.scored if lane.timeframe != "1d")  # no day is without a hole here
    assert mine.pooled is not None
    assert near(run.score, mine.pooled.score)
    np.testing.assert_allclose(run.returns, mine.pooled.returns, rtol=0, atol=1e-12)


def test_a_feature_of_a_longer_timeframe_runs_on_those_bars_alone_that_can_read_it(manager: FeatureManager) -> None:
    code = '''class Narrow(Strategy):
    """Follow the quarter of an hour. Edge: none. Fails: always."""

    name = "narrow"
    timeframes = ("5m",)

    def detect(self, f):
        return Signal(long_entry=f["15m:returns"] > 0, long_exit=f["15m:returns"] < 0)
'''
    narrow = compile_strategy(code)
    (found,) = evaluate([narrow], manager, SYMBOLS, WINDOW.start, WINDOW.end, replays=False)
    assert {lane.timeframe for lane in found.lanes} == {"1m", "5m"}
    wide = Panel.read(manager, SYMBOLS, WINDOW)
    wide.run(on("4h"))
    run = wide.run(narrow)
    assert found.pooled is not None
    assert (run.trades, near(run.score, found.pooled.score)) == (found.pooled.trades, True)
    with pytest.raises(StrategyError, match="60m bars cannot read 15m:returns; only a longer timeframe can be read"):
        compile_strategy(code.replace('("5m",)', '("5m", "60m")'))


LEVERED = '''class Levered(Strategy):
    """Follow the last bars with all one has, five times over. Edge: none. Fails: always."""

    name = "levered"

    def detect(self, f):
        return Signal(long_entry=f.close > mean(f.close, 30), short_entry=f.close < mean(f.close, 30), leverage=50)
'''


def test_what_leverage_does_is_beside_the_score_and_not_in_the_panels_numbers(manager: FeatureManager) -> None:
    levered = compile_strategy(LEVERED)
    run = Panel.read(manager, SYMBOLS, WINDOW, lookback=levered.lookback).run(levered)
    (expected,) = evaluate([levered], manager, SYMBOLS, WINDOW.start, WINDOW.end, replays=False)
    found = {(lane.symbol, lane.liquidation_price) for lane in expected.lanes}
    assert found == {("BTC-USDT", "last"), ("SOL-USDT", "mixed")}
    assert expected.pooled is not None
    assert expected.pooled.liquidation_price == "mixed"
    assert expected.pooled.declared_liquidations is not None
    assert expected.pooled.declared_liquidations > expected.pooled.liquidations == run.pooled.liquidations
    assert (run.score, run.trades) == (expected.pooled.score, expected.pooled.trades)
    np.testing.assert_allclose(run.returns, expected.pooled.returns, rtol=0, atol=1e-12)
    bare = FeatureManager(FrameSource({tf: manager.source.candles(SYMBOLS, tf, None, END) for tf in TFS}), END)
    (last,) = evaluate([levered], bare, SYMBOLS, WINDOW.start, WINDOW.end, replays=False, funding=NONE_PAID)
    assert last.pooled is not None
    assert last.pooled.declared_liquidations is not None
    assert last.pooled.declared_liquidations < expected.pooled.declared_liquidations
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
    names = ["rsi_14", "ema_200", "sma_1900", "60m:rsi_14", "is_squeeze", "BTC-USDT:returns_5", "funding_rate"]
    together = Panel.read(manager, SYMBOLS, WINDOW)
    tiny, lane_by_lane = (Panel.read(manager, SYMBOLS, WINDOW, cache_bytes=size) for size in (1, 10**9))
    at_once = together.columns(names, together.lanes)
    for name in [*names, *names]:
        alone = Panel.read(manager, SYMBOLS, WINDOW).columns([name], together.lanes)
        small = tiny.columns([name], tiny.lanes)
        for key in together.lanes:
            single = lane_by_lane.columns([name], [key])[key][name]
            for other in (alone[key][name], small[key][name], single):
                np.testing.assert_array_equal(other, at_once[key][name])


def test_values_do_not_depend_on_how_many_symbols_are_computed_at_once(
    manager: FeatureManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, rows = ["rsi_14", "sma_1900", "60m:rsi_14", "BTC-USDT:returns_5", "funding_rate"], []
    together = Panel.read(manager, SYMBOLS, WINDOW)
    at_once = together.columns(names, together.lanes)

    def counted(candles: pl.DataFrame, *args: object, **options: object) -> pl.DataFrame:
        rows.append(candles["symbol"].n_unique())
        return compute(candles, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("strategies.search.panel.compute", counted)
    monkeypatch.setattr("strategies.search.panel.ROWS_AT_ONCE", 1)
    alone = Panel.read(manager, SYMBOLS, WINDOW).columns(names, together.lanes)
    assert set(rows) == {1}
    for key in together.lanes:
        for name in names:
            np.testing.assert_array_equal(alone[key][name], at_once[key][name])


def test_a_column_is_computed_once_and_for_the_lanes_asked_alone(
    manager: FeatureManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel, rows = Panel.read(manager, SYMBOLS, WINDOW), []

    def counted(candles: pl.DataFrame, names: Sequence[str], *args: object, **options: object) -> pl.DataFrame:
        rows.append((candles["symbol"].unique().sort().to_list(), options["timeframe"], list(names)))
        return compute(candles, names, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("strategies.search.panel.compute", counted)
    panel.columns(["rsi_14"], [("BTC-USDT", "5m")])
    panel.columns(["rsi_14", "ema_9"], panel.lanes_of(timeframes=["5m"]))
    panel.columns(["ema_9", "rsi_14"], panel.lanes_of(timeframes=["5m"]))
    assert rows == [
        (["BTC-USDT"], "5m", ["rsi_14"]),
        (["BTC-USDT"], "5m", ["ema_9"]),
        (["SOL-USDT"], "5m", ["rsi_14", "ema_9"]),
    ]


def test_a_cache_that_holds_nothing_computes_each_column_of_a_call_once(
    manager: FeatureManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel, calls = Panel.read(manager, SYMBOLS, WINDOW, cache_bytes=1), []
    monkeypatch.setattr(
        "strategies.search.panel.compute", lambda *args, **options: calls.append(1) or compute(*args, **options)
    )
    panel.columns(["rsi_14", "is_squeeze"], panel.lanes)
    assert len(calls) == len({timeframe for _, timeframe in panel.lanes})
    calls.clear()
    panel.run(LIBRARY[0])
    assert len(calls) == len({timeframe for _, timeframe in panel.lanes})


def test_columns_hold_the_sound_bars_lane_by_lane(panel: Panel) -> None:
    columns = panel.columns(["close", "is_squeeze"], panel.lanes)
    for key, lane in panel.lanes.items():
        sound = lane.bars.close if lane.place is None else lane.bars.close[lane.place]
        np.testing.assert_array_equal(columns[key]["close"][lane.lead :], sound, err_msg=str(key))
        assert columns[key]["is_squeeze"].dtype == np.bool_
        with pytest.raises(ValueError, match="read-only"):
            columns[key]["close"][0] = 1.0


def test_the_cache_keeps_within_its_bound(manager: FeatureManager) -> None:
    bound = 3_000_000
    panel = Panel.read(manager, SYMBOLS, WINDOW, cache_bytes=bound)
    for n in range(5, 25):
        panel.columns([f"rsi_{n}"], panel.lanes)
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
