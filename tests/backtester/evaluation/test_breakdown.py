"""A strategy's result taken apart adds up to the whole, and an order of days changes its drawdown alone."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from toy import START, SYMBOLS, Momentum, ToyManager, toy_source

from backtester import Evaluation, evaluate
from backtester.evaluation.breakdown import (
    TREND,
    breakdown,
    drawdown_band,
    hour_ends,
    market_average,
    quarter_parts,
    regime_parts,
)
from backtester.evaluation.robustness import buy_and_hold, scored_lanes
from backtester.statistics.bootstrap import reordered
from backtester.statistics.metrics import fall, falls
from features.bars import HOUR_US

DAYS = 40
END = START + timedelta(days=DAYS)


@pytest.fixture(scope="module")
def candles() -> pl.DataFrame:
    return toy_source(DAYS).candles(SYMBOLS, "60m", None, END)


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return evaluate([Momentum(timeframes=("60m",))], ToyManager(toy_source(DAYS)), SYMBOLS, START, END)[0]


def test_parts_add_up_to_the_whole(evaluation: Evaluation, candles: pl.DataFrame) -> None:
    assert evaluation.pooled is not None
    parts = breakdown(evaluation, candles, seed=7)
    total = evaluation.pooled.total_pnl_pct
    assert parts.quarters["period"].to_list() == ["2025 Q2", "2025 Q3"]
    assert parts.quarters["return_pct"].sum() == pytest.approx(total)
    assert parts.sessions["return_pct"].sum() == pytest.approx(total)
    assert parts.sessions["days"].to_list() == pytest.approx([DAYS / 3] * 3)
    assert parts.symbols["total_pnl_pct"].mean() == pytest.approx(total)
    assert parts.symbols["trades"].sum() == evaluation.pooled.trades
    days = dict(parts.regimes.select("period", "days").iter_rows())
    assert days["up"] + days["down"] == pytest.approx(DAYS - 30, abs=0.1)
    assert days["calm"] + days["wild"] == pytest.approx(DAYS - 7, abs=0.1)
    assert parts.holding[-1] == pytest.approx(1.0 + buy_and_hold(scored_lanes(evaluation)).total_pnl_pct / 100.0)
    assert breakdown(evaluation, seed=7).regimes.is_empty()


def test_a_regime_is_of_the_time_before() -> None:
    rng = np.random.default_rng(5)
    average = rng.normal(0.0, 0.01, 1_500)
    before, after = (regime_parts(values, 100, timedelta(hours=1)) for values in (average, average.copy()))
    changed = average.copy()
    changed[1_200:] = 0.05
    later = regime_parts(changed, 100, timedelta(hours=1))
    assert np.array_equal(before["up"], after["up"])
    assert np.array_equal(before["up"][:1_101], later["up"][:1_101])
    hours = TREND // timedelta(hours=1)
    for place in (hours + 5, 1_000):
        assert before["up"][place - 100] == (average[place - hours : place].sum() > 0.0)


def test_the_average_of_the_market_is_that_of_a_plain_loop(evaluation: Evaluation, candles: pl.DataFrame) -> None:
    assert evaluation.pooled is not None
    ends = hour_ends(evaluation.pooled)[:50]
    closes = {
        symbol: dict(zip(part["ts"].dt.epoch("us").to_list(), part["close"].to_list(), strict=True))
        for (symbol,), part in candles.partition_by("symbol", as_dict=True).items()
    }
    expected = []
    for end in ends.tolist():
        now, before = end - HOUR_US, end - 2 * HOUR_US
        moves = [of[now] / of[before] - 1.0 for of in closes.values() if now in of and before in of]
        expected.append(sum(moves) / len(moves) if moves else 0.0)
    np.testing.assert_allclose(market_average(candles, ends), expected, rtol=1e-12)


def test_other_orders_hold_each_return_once() -> None:
    series = np.arange(50, dtype=np.float64)
    orders = reordered(series, 24, draws=20, rng=np.random.default_rng(1))
    assert orders.shape == (20, 50)
    assert (np.sort(orders, axis=1) == series).all()
    assert len({tuple(order) for order in orders}) > 1
    blocks = {tuple(series[:24]), tuple(series[24:48])}
    for order in orders:
        assert any(tuple(order[place : place + 24]) in blocks for place in (0, 2, 24, 26))


def test_the_band_is_of_falls_and_needs_no_returns() -> None:
    rng = np.random.default_rng(2)
    returns = rng.normal(0.0, 0.01, 24 * 20)
    low, middle, high = drawdown_band(returns, seed=3)
    assert 0.0 < low < middle < high < 1.0
    assert (low, middle, high) == drawdown_band(returns, seed=3)
    curves = 1.0 + np.cumsum(rng.normal(0.0, 0.02, (30, 100)), axis=1)
    np.testing.assert_array_equal(falls(curves), [fall(curve) for curve in curves])
    assert drawdown_band(np.empty(0), seed=3) == (0.0, 0.0, 0.0)


def test_quarters_are_of_the_calendar() -> None:
    times = pl.datetime_range(START, START + timedelta(days=40), "12h", eager=True)
    parts = quarter_parts(times.dt.epoch("us").to_numpy())
    assert {name: int(inside.sum()) for name, inside in parts.items()} == {"2025 Q2": 60, "2025 Q3": 21}
