"""A sweep gives each point the numbers that it has alone, and every point once."""

from datetime import UTC, datetime, timedelta
from itertools import product

import numpy as np
import pytest
from support.invented_universe import START as INVENTED
from support.invented_universe import invented

from backtester.evaluation.book_evaluation import PreparedMarket
from backtester.resampling import aggregate
from backtester.statistics.windows import Window
from blofin_resources.market.registry import open_market
from features.feature_manager import FeatureManager
from features.market import Market
from strategies.registry import BOOKS, LIBRARY, load_book, load_file
from strategies.search.panel import Panel
from strategies.search.sweep import METRICS, Axis, grid, sobol, step_of, sweep, sweep_book

END = datetime(2025, 6, 12, tzinfo=UTC)
SYMBOLS = ("BTC-USDT", "SOL-USDT")
STRATEGY = load_file(LIBRARY / "ema_crossover.py")
AXES = [Axis("fast", (5.0, 8.0, 30.0)), Axis("stop_width", (1.0, 4.5)), Axis("ratio", (3.0,))]


@pytest.fixture(scope="module")
def panel() -> Panel:
    source = open_market("sample", archive=None, api_url="", seed=7)
    minutes = source.candles(SYMBOLS, "5m", END - timedelta(days=20), END)
    candles = {timeframe: aggregate(minutes, timeframe, END) for timeframe in ("60m",)}
    market = Market({**candles, "5m": minutes}, source.funding(SYMBOLS, END - timedelta(days=20), END))
    return Panel.read(
        FeatureManager(market.source(), END), SYMBOLS, Window(END - timedelta(days=6), END), timeframes=("60m",)
    )


def test_each_point_has_the_numbers_that_it_has_alone(panel: Panel) -> None:
    swept = sweep(panel, STRATEGY, AXES, grid(AXES))
    assert swept.frame.height == 6
    for row, (fast, width, ratio) in enumerate(product(*(axis.values for axis in AXES))):
        version = STRATEGY.with_parameters(fast=fast, stop_width=width, ratio=ratio)
        alone = panel.run(version)
        assert swept.parameters(row) == {"fast": fast, "stop_width": width, "ratio": ratio}
        assert swept.frame["version"][row] == version.version
        assert {name: swept.frame[name][row] for name in METRICS} == {
            name: getattr(alone.pooled, name) for name in METRICS
        }


def test_a_point_that_cannot_be_run_is_counted(panel: Panel) -> None:
    axes = [Axis("fast", (5.0, 1e6))]
    swept = sweep(panel, STRATEGY, axes, grid(axes))
    assert swept.frame["fast"].to_list() == [5.0]
    assert list(swept.refused.values()) == [1]
    assert swept.places.tolist() == [[0]]


def test_a_sample_has_each_point_once_the_same_for_a_seed_and_covers_each_axis() -> None:
    axes = [Axis("a", tuple(range(10))), Axis("b", tuple(range(8)))]
    places = sobol(axes, 40, seed=3)
    assert len(np.unique(places, axis=0)) == len(places) > 30
    assert np.array_equal(places, sobol(axes, 40, seed=3))
    assert not np.array_equal(places[:20], sobol(axes, 40, seed=4)[:20])
    assert [len(np.unique(column)) for column in places.T] == [10, 8]
    assert len(sobol(axes, 5_000, seed=3)) == 80


def test_the_step_of_a_range_without_one_is_that_of_tuning() -> None:
    assert step_of(STRATEGY.ranges()["fast"]) == 1.0
    assert step_of(STRATEGY.ranges()["stop_width"]) == pytest.approx(0.125)


def test_the_best_needs_trades(panel: Panel) -> None:
    swept = sweep(panel, STRATEGY, AXES, grid(AXES))
    best = swept.best
    enough = swept.frame.filter(swept.frame["trades"] >= 10)
    assert (best is None) == enough.is_empty()
    if best is not None:
        assert swept.frame["sharpe"][best] == enough["sharpe"].max()


def test_each_point_of_a_book_has_the_numbers_that_it_has_alone() -> None:
    market = invented(800)
    prepared = PreparedMarket.of("60m", market.candles["60m"], market.funding)
    book = load_book(BOOKS / "short_term_reversal.py")
    axes = [Axis("hours", (6.0, 24.0, 1e6)), Axis("share", (0.2, 0.3))]
    start = INVENTED + timedelta(hours=500)
    seen: list[int] = []
    swept = sweep_book(prepared, book, axes, grid(axes), start=start, ran=seen.append)
    assert sum(swept.refused.values()) == 2
    assert sum(seen) == 6
    for row, (hours, share) in enumerate(product((6.0, 24.0), (0.2, 0.3))):
        version = book.with_parameters(hours=hours, share=share)
        alone = prepared.backtest(version, start=start).metrics()
        assert swept.parameters(row) == {"hours": hours, "share": share}
        assert {name: swept.frame[name][row] for name in METRICS} == {name: alone[name] for name in METRICS}
    assert len(set(swept.frame["total_pnl_pct"])) == 4
