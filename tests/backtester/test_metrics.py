"""Metrics against their definitions, on whole equity curves, and at their edges."""

import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lane_cases import random_case

from backtester import LaneResult, pool, ranking_key, run_lanes, score
from backtester.bars import hour_rows
from backtester.metrics import Moments, bars_per_year, max_drawdown, returns_of


@settings(max_examples=150, deadline=None)
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
    net = trades["pnl"] - trades["fees"] - trades["funding"]
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
    assert pooled.ranking_key == (2, 0.0)


def test_what_was_not_kept_is_not_made_up() -> None:
    result = run_lanes([random_case(1).lane])[0]
    with pytest.raises(ValueError, match="trades=True"):
        result.trades_frame()
    with pytest.raises(ValueError, match="equity=True"):
        result.equity_frame()


def test_the_score_is_the_formula_verbatim() -> None:
    assert score(0.55, 0.12, 1.4, 0.08) == pytest.approx(40 * 0.55 + 30 * 0.12 + 20 * 1.4 - 10 * 0.08)
    assert score(None, 0.1, 1.0, 0.1) is None
    assert score(0.5, 0.1, None, 0.1) is None


def test_scores_rank_by_evidence_first() -> None:
    few, many, none, poor = (90.0, 9), (10.0, 10), (None, 500), (-5.0, 10)
    assert sorted([none, few, poor, many], key=lambda each: ranking_key(*each)) == [many, poor, few, none]


def test_pooling_is_the_mean_of_capital_and_all_trades() -> None:
    cases = [random_case(seed).lane for seed in range(40)]
    same = [lane for lane in cases if lane.bars.timeframe == "5m" and len(lane.bars) > 30]
    start, end = min(lane.bars.start for lane in same), max(lane.bars.end for lane in same)
    lanes = [
        replace(
            lane,
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
    assert pooled.win_rate == pytest.approx(((trades["pnl"] - trades["fees"] - trades["funding"]) > 0).mean())
    returns = np.diff(pooled.equity) / pooled.equity[:-1]
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
    with pytest.raises(ValueError, match="no lane to pool"):
        pool([])


def test_zero_variance_has_no_sharpe() -> None:
    moments = Moments.of(np.full(10, 0.001))
    assert (moments.sharpe, moments.annual_sharpe(8760), moments.annual_sharpe_se(8760)) == (None, None, None)
    assert Moments.of(np.empty(0)).sharpe is None
    assert Moments.of(np.array([0.1])).sharpe is None


def test_standard_error_of_a_normal_sharpe_is_the_textbook_one() -> None:
    rng = np.random.default_rng(5)
    ratios = [Moments.of(rng.normal(0.05, 1.0, 400)).sharpe for _ in range(3000)]
    said = Moments.of(rng.normal(0.05, 1.0, 100_000)).annual_sharpe_se(1.0) * math.sqrt(100_000 / 400)
    assert np.std(ratios) == pytest.approx(said, rel=0.05)


def test_drawdown_edges() -> None:
    assert max_drawdown(np.empty(0)) == 0.0
    assert max_drawdown(np.array([1.0, 2.0, 1.0, 3.0, 0.0])) == 1.0
    assert max_drawdown(np.array([1.0, -1.0])) == 1.0
