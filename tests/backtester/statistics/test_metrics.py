"""Metrics against their definitions, on whole equity curves, and at their edges."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
import scipy.stats
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lane_cases import random_case

from backtester import LaneResult, pool, run_lanes
from backtester.simulation.bar_arrays import hour_rows
from backtester.statistics.metrics import Moments, alpha_and_beta, bars_per_year, fall, hourly_returns, max_drawdown
from backtester.statistics.overfitting import _sharpes
from features.array_types import FloatArray
from features.bars import HOUR_US
from strategies.search.map_elites.trials import sharpe_of


def returns_of(equity: FloatArray) -> FloatArray:
    """Return the returns of an equity curve; 0 after equity has reached zero or less."""
    return np.array([b / a - 1.0 if a > 0.0 else 0.0 for a, b in pairwise(equity)])


@settings(max_examples=150)
@given(st.integers(0, 2**32 - 1))
def test_lane_metrics_are_what_the_curve_and_the_trades_say(seed: int) -> None:
    lane = random_case(seed).lane
    result = run_lanes([lane], trades=True, equity=True)[0]
    curve = np.concatenate([[1.0], result.equity])
    returns = returns_of(curve)
    year = bars_per_year(lane.bars.timeframe)
    moments = Moments.of(returns)
    for name in ("mean", "deviation", "skew", "kurtosis", "downside"):
        expected = getattr(moments, name)
        assert getattr(result.moments, name) == pytest.approx(expected, rel=1e-6, abs=1e-12), name
    assert (result.sharpe is None) == (moments.sharpe is None)
    if result.sharpe is not None:
        assert result.sharpe == pytest.approx(returns.mean() / returns.std(ddof=1) * math.sqrt(year), rel=1e-6)
        assert result.sharpe_se == pytest.approx(moments.annual_sharpe_se(year), rel=1e-5)
    assert result.max_drawdown == pytest.approx(max_drawdown(curve), abs=1e-12)
    assert result.total_pnl_pct == pytest.approx(100 * (curve[-1] - 1), abs=1e-10)
    trades = result.trades_frame()
    net = trades["pnl"]
    sides = trades["side"].replace_strict({"long": 1.0, "short": -1.0}, return_dtype=pl.Float64)
    gross = sides * (trades["exit_price"] - trades["entry_price"]) * trades["quantity"]
    assert net.to_list() == pytest.approx((gross - trades["fees"] - trades["funding"]).to_list(), abs=1e-6)
    notional = trades["entry_price"] * trades["quantity"]
    assert trades["pnl_pct"].to_list() == pytest.approx((100 * net / notional).to_list(), rel=1e-9, abs=1e-9)
    assert result.trades == len(trades)
    assert result.wins == (net > 0).sum()
    if result.trades:
        assert result.avg_pnl_pct == pytest.approx(trades["pnl_pct"].mean(), rel=1e-9, abs=1e-12)
        assert result.win_rate == (net > 0).mean()
        lost = net.filter(net <= 0).sum()
        if lost < 0:
            assert result.profit_factor == pytest.approx(net.filter(net > 0).sum() / -lost, rel=1e-9)
        else:
            assert result.profit_factor is None
    for name in ("fees", "slippage", "funding"):
        total = getattr(result, f"{name}_pct")
        assert total == pytest.approx(100 * trades[name].sum() / result.capital, rel=1e-9, abs=1e-9)
    assert 0.0 <= result.max_drawdown <= 1.0
    assert 0.0 <= result.exposure <= 1.0
    assert result.worst_pnl_pct <= result.total_pnl_pct <= result.best_pnl_pct


@settings(max_examples=100)
@given(st.integers(0, 2**32 - 1))
@example(101473)  # a thousand times as much mean as spread
def test_metrics_of_a_fixed_lane_are_of_the_pnl_of_each_hour_over_its_capital(seed: int) -> None:
    lane = replace(random_case(seed).lane, fixed=True)
    (result,) = run_lanes([lane], trades=True, equity=True)
    closes, curve = result.times + result.step, [0.0, *(result.equity - 1.0)]
    hours = [int(hour) for hour in lane.bars.hours]
    summed = [curve[int(np.searchsorted(closes, hour, side="right"))] for hour in hours]
    ends = hours[1:] if lane.bars.start in hours else hours
    there = [any(ts < end and ts + result.step > end - HOUR_US for ts in lane.bars.ts.tolist()) for end in ends]
    gained = [b - a for a, b in pairwise(summed if lane.bars.start in hours else [0.0, *summed])]
    steps = [gain for gain, has_bars in zip(gained, there, strict=True) if has_bars]
    mean = sum(steps) / len(steps) if steps else 0.0
    spread = math.sqrt(sum((x - mean) ** 2 for x in steps) / (len(steps) - 1)) if len(steps) > 1 else 0.0
    assert (result.sharpe is None) == (spread < max(1e-14, abs(mean) / 1000.0))
    if result.sharpe is not None:
        assert result.sharpe == pytest.approx(mean / spread * math.sqrt(8760), rel=1e-6)
    peak = deepest = 0.0
    for value in summed:
        peak = max(peak, value)
        deepest = max(deepest, peak - value)
    assert result.max_drawdown == pytest.approx(min(deepest, 1.0), abs=1e-12)
    pooled = pool([result])
    assert (pooled.sharpe, pooled.max_drawdown, pooled.score) == (result.sharpe, result.max_drawdown, result.score)


def flat() -> LaneResult:
    lane = random_case(1).lane
    empty = type(lane)(lane.bars, type(lane.signals)(np.zeros(len(lane.bars), dtype=np.uint8)))
    return run_lanes([empty], trades=True)[0]


def test_without_trades_there_is_no_score() -> None:
    result = flat()
    assert (result.trades, result.win_rate, result.avg_pnl_pct, result.sharpe, result.score) == (
        0,
        None,
        None,
        None,
        None,
    )
    assert (result.total_pnl_pct, result.max_drawdown, result.exposure, result.profit_factor) == (0.0, 0.0, 0.0, None)
    assert result.funding_known is None
    assert result.trades_frame().is_empty()
    pooled = pool([result])
    assert (pooled.score, pooled.sharpe, pooled.score_win_rate, pooled.trades) == (None, None, None, 0)


def test_what_was_not_kept_is_not_made_up() -> None:
    result = run_lanes([random_case(1).lane])[0]
    with pytest.raises(ValueError, match="trades=True"):
        result.trades_frame()
    with pytest.raises(ValueError, match="equity=True"):
        result.equity_frame()


def test_pooling_is_the_mean_of_capital_and_all_trades() -> None:
    cases = [random_case(seed).lane for seed in range(40)]
    same = [lane for lane in cases if lane.bars.timeframe == "5m" and len(lane.bars) > 30]
    start, end = min(lane.bars.start for lane in same), max(lane.bars.end for lane in same)
    lanes = [
        replace(
            lane,
            fixed=True,
            bars=replace(lane.bars, start=start, end=end, hour_row=hour_rows(lane.bars.ts, lane.bars.step, start, end)),
        )
        for lane in same
    ]
    results = run_lanes(lanes, trades=True, equity=True)
    pooled = pool(results)
    hourly = []
    for result in results:
        closes = result.times + result.step
        steps = np.concatenate([[1.0], result.equity])
        hourly.append(steps[np.searchsorted(closes, pooled.hours, side="right")])
    assert pooled.equity == pytest.approx(np.mean(hourly, axis=0), abs=1e-12)
    trades = pl.concat([r.trades_frame() for r in results])
    assert pooled.trades == len(trades) > 30
    assert pooled.avg_pnl_pct == pytest.approx(trades["pnl_pct"].mean())
    assert pooled.win_rate == pytest.approx((trades["pnl"] > 0).mean())
    returns = np.diff(pooled.equity)
    assert pooled.sharpe == pytest.approx(returns.mean() / returns.std(ddof=1) * math.sqrt(8760))
    assert pooled.score == pytest.approx(
        40 * pooled.win_rate + 30 * pooled.avg_pnl_pct + 20 * pooled.sharpe - 10 * pooled.max_drawdown
    )
    terms = (pooled.score_win_rate, pooled.score_avg_pnl, pooled.score_sharpe, pooled.score_drawdown)
    assert sum(terms) == pytest.approx(pooled.score)
    idle = [replace(results[0], scored=False), *results[1:]]
    assert pool(idle).lanes == len(results) - 1
    assert pooled.equity_frame()["equity"].len() == len(pooled.hours)


def test_lanes_of_different_windows_are_not_pooled() -> None:
    one, two = (run_lanes([random_case(seed).lane])[0] for seed in (3, 4))
    with pytest.raises(ValueError, match="different windows"):
        pool([one, two])
    with pytest.raises(ValueError, match="no scored lane to pool"):
        pool([])


def test_zero_variance_has_no_sharpe() -> None:
    moments = Moments.of(np.full(10, 0.001))
    assert (moments.sharpe, moments.annual_sharpe(8760), moments.annual_sharpe_se(8760)) == (None, None, None)
    assert Moments.of(np.empty(0)).sharpe is None
    assert Moments.of(np.array([0.1])).sharpe is None


def from_sums(returns: np.ndarray) -> Moments:
    powers = tuple(float(np.sum(returns**power)) for power in range(1, 5))
    return Moments.from_sums(len(returns), powers, float(np.sum(np.minimum(returns, 0.0) ** 2)))  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [2, 10, 168, 40_320])
@pytest.mark.parametrize("value", [0.001, -0.0037, 1e-9, 0.3])
def test_constant_returns_have_no_sharpe_by_sums_either(count: int, value: float) -> None:
    for moments in (from_sums(np.full(count, value)), Moments.of(np.full(count, value))):
        assert (moments.deviation, moments.sharpe, moments.skew, moments.kurtosis) == (0.0, None, 0.0, 3.0)
    paths = np.full((count, 1), value)
    assert _sharpes(paths.sum(axis=0), (paths**2).sum(axis=0), count).tolist() == [0.0]
    assert sharpe_of(np.full(count, value)) == 0.0


@settings(max_examples=150)
@given(st.integers(0, 2**32 - 1), st.floats(-12, 0), st.floats(-6, 0), st.integers(2, 5000))
def test_sums_and_returns_say_the_same(seed: int, spread: float, size: float, count: int) -> None:
    """Down to differences that are rounding: null for both, or the same ratio."""
    rng = np.random.default_rng(seed)
    returns = 10.0**size * (1.0 + 10.0**spread * rng.standard_normal(count))
    sums, whole = from_sums(returns), Moments.of(returns)
    ratio = abs(returns.mean()) / returns.std()
    if ratio > 1001.0:
        assert (sums.sharpe, whole.sharpe) == (None, None)
    elif ratio < 999.0:
        assert sums.sharpe == pytest.approx(whole.sharpe, rel=1e-6)
    if ratio < 10.0:  # the fourth moment of sums holds fewer digits
        assert sums.annual_sharpe_se(8760) == pytest.approx(whole.annual_sharpe_se(8760), rel=1e-5)


def test_standard_error_of_a_normal_sharpe_is_the_textbook_one() -> None:
    rng = np.random.default_rng(5)
    ratios = [Moments.of(rng.normal(0.05, 1.0, 400)).sharpe for _ in range(3000)]
    said = Moments.of(rng.normal(0.05, 1.0, 100_000)).annual_sharpe_se(1.0) * math.sqrt(100_000 / 400)
    assert np.std(ratios) == pytest.approx(said, rel=0.05)


def test_drawdown_edges() -> None:
    assert max_drawdown(np.empty(0)) == 0.0
    assert max_drawdown(np.array([1.0, 2.0, 1.0, 3.0, 0.0])) == 1.0
    assert max_drawdown(np.array([1.0, -1.0])) == 1.0
    assert fall(np.empty(0)) == 0.0
    assert fall(np.array([0.9, 0.95])) == pytest.approx(0.1)
    assert fall(np.array([1.0, 1.5, 1.2, 2.0, 1.4])) == pytest.approx(0.6), "of the capital, not of the peak"
    assert fall(np.array([1.0, -3.0])) == 1.0


def test_a_window_that_starts_inside_an_hour_begins_with_its_part() -> None:
    curve = np.array([1.1, 1.0, 1.3])
    assert hourly_returns(curve, 0) == pytest.approx([-0.1, 0.3])
    assert hourly_returns(curve, 60_000_000) == pytest.approx([0.1, -0.1, 0.3])


@pytest.mark.parametrize("count", [3, 40, 5_000])
def test_alpha_and_beta_are_those_of_least_squares(count: int) -> None:
    rng = np.random.default_rng(count)
    market = rng.normal(1e-4, 0.01, count)
    returns = 0.7 * market + rng.normal(0.0, 0.02, count)
    fit = scipy.stats.linregress(market, returns)
    expected = (fit.intercept * 365.0, fit.intercept_stderr * 365.0, fit.slope)
    assert alpha_and_beta(market, returns, 365.0) == pytest.approx(expected, rel=1e-9)
